package upload

import (
	"context"
	"maps"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/ebbgate/ebbgate/bridge"
)

// lasting is a memoryShelf whose clock goes on.
type lasting struct {
	*memoryShelf
	late time.Duration
}

func (l *lasting) Age() time.Duration { return l.memoryShelf.Age() + l.late }

// TestRemovedAtOnce: of a transfer that is given up, aborted or too old, nothing goes
// before its end is durable. Killed before, or where the disk refuses it, the next start
// has it as it was: above all, one that is verified with all that it is made of (F40).
func TestRemovedAtOnce(t *testing.T) {
	for name, c := range map[string]struct {
		fin bool
		end func(*yard) error
	}{
		"given up while it waits":   {true, func(y *yard) error { return y.GiveUp(y.t.Context(), "c", "f") }},
		"given up while it is open": {false, func(y *yard) error { return y.GiveUp(y.t.Context(), "c", "f") }},
		"aborted":                   {false, func(y *yard) error { return y.send("$file/f/abort", "") }},
		"too old": {false, func(y *yard) error {
			y.mu.Lock()
			y.deps.Shelf.(*lasting).late = 10_000 * time.Hour
			y.mu.Unlock()
			y.Sweep()
			return y.durable("c") // behind it
		}},
	} {
		for _, refused := range []bool{false, true} {
			t.Run(name+map[bool]string{false: ", killed", true: ", refused"}[refused], func(t *testing.T) {
				shelf, left, dir := &memoryShelf{values: map[string][]byte{}}, &memoryShelf{values: map[string][]byte{}}, t.TempDir()
				y := openYard(t, func(y *yard) {
					y.opts.Export.Mode = modeSpooled
					y.opts.MaxTTL = 20_000 * time.Hour
					y.deps.Shelf, y.deps.Target = &lasting{memoryShelf: shelf}, &observed{FileTarget: heldTarget{plainFolder(y.exports)}, of: y.Service}
					y.now = y.deps.Shelf.Age
					y.sync.commit = func(b *bridge.Batch, done func(bridge.Seq, error)) {
						if !slices.ContainsFunc(b.Puts, func(p bridge.Put) bool { return p.Namespace == shelfTransfer && p.Value == nil }) {
							shelf.Commit(b, done)
							return
						}
						shelf.mu.Lock()
						left.values = maps.Clone(shelf.values)
						shelf.mu.Unlock()
						if err := os.CopyFS(dir, os.DirFS(y.opts.Dir)); err != nil {
							t.Error(err)
						}
						if refused {
							done(0, errAway)
							return
						}
						shelf.Commit(b, done)
					}
				})
				y.ok("$file/f/init", `{"name":"a.bin"}`)
				y.ok("$file/f/6", "second")
				y.ok("$file/f/0", "first ")
				if c.fin {
					y.ok("$file/f/fin/12", "")
				}
				there := y.names()
				err := c.end(y)
				switch {
				case refused && name != "too old" && err == nil:
					t.Error("it is said to be removed")
				case refused:
					left, dir = shelf, y.opts.Dir
				case err != nil:
					t.Fatal(err)
				case len(y.names()) > 0 || len(shelf.values) > 0:
					t.Errorf("there are still %q and %q", y.names(), slices.Sorted(maps.Keys(shelf.values)))
				}
				if len(there) != 1 || len(y.transfers()) > 0 || y.all != (usage{}) {
					t.Errorf("%q of %v, of which %+v count", there, y.transfers(), y.all)
				}

				y.opts.Dir, y.opts.Export.Mode = dir, modeDirect // whose fin waits for the export
				z := y.openOn(left)
				ctx, stop := context.WithCancel(t.Context())
				ended := make(chan error, 1)
				go func() { ended <- z.Run(ctx) }()
				z.ok("$file/f/fin/12", "")
				z.exported("first second")
				stop()
				if err := <-ended; err != nil {
					t.Error(err)
				}
			})
		}
	}
}
