package upload

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"testing"

	"github.com/ebbgate/ebbgate/bridge"
)

// movingFolder is a target that takes files by their names, and tells how it finds
// them. Its caller is the one who may take them away.
type movingFolder struct {
	plainFolder
	moved  chan bool          // of each file that is put
	placed func(place string) // called once it is in its place
}

func (m movingFolder) Put(_ context.Context, f *bridge.File) (string, error) {
	m.moved <- f.Moved
	place := filepath.Join(string(m.plainFolder), f.FileID)
	if f.Moved {
		return place, nil
	}
	if err := f.Moving(); err != nil {
		return "", err
	}
	if err := os.Rename(f.Path, place); err != nil {
		return "", err
	}
	m.placed(place)
	return place, nil
}

// TestTakenBeforeItsRecord: whoever waits for files at the folder takes one with all
// that is beside it, and the gateway ends before it has a record of the export. The
// next start knows that the file was on its way and is gone from here (F40, F52): it
// is exported, and does not fail for ever.
func TestTakenBeforeItsRecord(t *testing.T) {
	moved, left := make(chan bool, 10), make(chan map[string][]byte, 1)
	var target bridge.FileTarget
	y := openYard(t, func(y *yard) {
		shelf := y.deps.Shelf.(*memoryShelf)
		target = movingFolder{plainFolder(y.exports), moved, func(place string) {
			if err := os.Remove(place); err != nil {
				t.Error(err)
			}
			shelf.mu.Lock()
			left <- maps.Clone(shelf.values)
			shelf.mu.Unlock()
		}}
		y.deps.Target = &observed{of: y.Service, FileTarget: target}
	})
	y.ok("$file/f/init", `{"name":"a.bin"}`)
	y.ok("$file/f/0", "first")
	y.ok("$file/f/fin/5", "")
	if <-moved {
		t.Error("the first attempt is told of one before it")
	}

	z := &yard{t: t, health: &bridge.Health{}, exports: y.exports}
	var err error
	z.Service, err = Open(y.opts, Deps{
		Shelf: &memoryShelf{values: <-left}, Target: target, Tell: func(*bridge.Message) {}, Drops: new(bridge.DropLog), Health: z.health,
		Log: slog.New(slog.DiscardHandler), Wall: y.deps.Wall, Messages: func() int64 { return 0 },
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- z.Run(ctx) }()
	defer func() {
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}()
	if !<-moved {
		t.Error("the next start does not know that the file was on its way")
	}
	z.ok("$file/f/fin/5", "")
	if all, err := z.Show("c", "f"); err != nil || len(all) != 1 || all[0].State != StateExported {
		t.Errorf("%+v, %v", all, err)
	}
}

// TestShownOnce: while the record of an export is on the shelf and its transfer not
// yet forgotten, it is shown once; an open one of the same id beside it too (F34).
func TestShownOnce(t *testing.T) {
	shown := make(chan string, 10)
	y := openYard(t, func(y *yard) {
		y.opts.Export.Mode = modeSpooled
		commit := y.sync.commit
		y.sync.commit = func(b *bridge.Batch, done func(bridge.Seq, error)) {
			commit(b, func(seq bridge.Seq, err error) {
				for _, p := range b.Puts {
					if p.Namespace == shelfFile {
						var states []State
						all, err := y.Show("c", "f")
						for _, d := range all {
							states = append(states, d.State)
						}
						shown <- fmt.Sprint(states, err)
					}
				}
				done(seq, err)
			})
		}
	})
	y.ok("$file/f/init", `{"name":"a.bin"}`)
	y.ok("$file/f/0", "first")
	y.ok("$file/f/fin/5", "")
	if got := <-shown; got != "[exported] <nil>" {
		t.Errorf("shown as %s", got)
	}
	y.ok("$file/f/init", `{"name":"a.bin"}`)
	if all, err := y.Show("c", "f"); err != nil || len(all) != 2 || all[0].State != StateOpen || all[1].State != StateExported {
		t.Errorf("%+v, %v", all, err)
	}
}

// TestReopenedNote: a note that a file was on its way goes with an attempt that has
// failed and left the file here; what is lost after that is not taken as exported.
func TestReopenedNote(t *testing.T) {
	y := openYard(t, func(y *yard) {
		y.deps.Target = &observed{of: y.Service, FileTarget: notingTarget{plainFolder(y.exports)}}
	})
	y.ok("$file/f/init", `{"name":"a.bin"}`)
	y.ok("$file/f/0", "first")
	y.refused(y.send("$file/f/fin/5", ""), "internal_error", 0x80)
	y.mu.Lock()
	defer y.mu.Unlock()
	if t2 := y.open[pair{"c", "f"}]; t2 == nil || t2.moving {
		t.Errorf("%+v", t2)
	}
}

// notingTarget notes, and fails then.
type notingTarget struct{ plainFolder }

func (notingTarget) Put(_ context.Context, f *bridge.File) (string, error) {
	if err := f.Moving(); err != nil {
		return "", err
	}
	return "", errAway
}
