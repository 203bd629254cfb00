package upload

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ebbgate/ebbgate/bridge"
)

// gated is a target that holds each file until it is told what becomes of it.
type gated struct {
	plainFolder
	mu   sync.Mutex
	here map[string]chan error // by file
	most int
}

func (g *gated) Put(ctx context.Context, f *bridge.File) (string, error) {
	let := make(chan error)
	g.mu.Lock()
	g.here[f.FileID] = let
	g.most = max(g.most, len(g.here))
	g.mu.Unlock()
	var err error
	select {
	case err = <-let:
	case <-ctx.Done():
		err = ctx.Err()
	}
	g.mu.Lock()
	delete(g.here, f.FileID)
	g.mu.Unlock()
	if err != nil {
		return "", err
	}
	return g.plainFolder.Put(ctx, f)
}

// gate puts such a target in front of a yard's, spooled.
func (y *yard) gate() *gated {
	g := &gated{plainFolder: plainFolder(y.exports), here: map[string]chan error{}}
	y.deps.Target = &observed{FileTarget: g, of: y.Service}
	y.opts.Export.Mode = modeSpooled
	y.sync.pacer.messages = func() int64 { return 0 } // else what becomes durable takes its time
	return g
}

// under fails unless these files are being exported.
func (g *gated) under(t *testing.T, want ...string) {
	t.Helper()
	synctest.Wait()
	g.mu.Lock()
	defer g.mu.Unlock()
	var got []string
	for f := range g.here {
		got = append(got, f)
	}
	if slices.Sort(got); !slices.Equal(got, want) {
		t.Errorf("%q are being exported, want %q", got, want)
	}
}

// let ends attempts.
func (g *gated) let(t *testing.T, err error, files ...string) {
	t.Helper()
	for _, f := range files {
		g.mu.Lock()
		c := g.here[f]
		g.mu.Unlock()
		if c == nil {
			t.Fatalf("%s is not being exported", f)
		}
		c <- err
		synctest.Wait()
	}
}

// TestExportsBeside: once the target has taken a file, small ones of other clients are
// exported beside the first, a few at a time, and those of a client in their order. A
// large one waits until it is the first, and keeps no small ones waiting then.
func TestExportsBeside(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var g *gated
		y := openYard(t, func(y *yard) { g = y.gate() })
		y.takes("a", "a0", "a1")
		y.takes("b", "b1")
		g.under(t, "a0") // nothing is known of the target
		g.let(t, nil, "a0")
		g.under(t, "a1", "b1")
		y.takes("a", "a2")
		y.takes("b", "b2")
		for _, command := range [][2]string{{"init", `{"name":"a.bin"}`}, {"0", strings.Repeat("x", besideMost)}, {fmt.Sprint(besideMost), "x"}, {fmt.Sprint("fin/", besideMost+1), ""}} {
			if err := y.sendAs("c", "$file/large/"+command[0], command[1]); err != nil {
				t.Fatal(err)
			}
		}
		y.takes("c", "c1")
		y.takes("d", "d1")
		y.takes("e", "e1")
		y.takes("f", "f1")
		g.under(t, "a1", "b1", "d1", "e1")
		g.let(t, nil, "b1")
		g.under(t, "a1", "b2", "d1", "e1")
		g.let(t, nil, "a1")
		g.under(t, "a2", "b2", "d1", "e1")
		g.let(t, nil, "b2", "a2")
		g.under(t, "d1", "e1", "f1", "large")
		g.let(t, nil, "d1", "e1", "f1")
		y.takes("d", "d2")
		g.under(t, "d2", "large")
		g.let(t, nil, "d2", "large")
		g.under(t, "c1")
		g.let(t, nil, "c1")
		y.wantLeft()
		if g.most != exportsAtOnce {
			t.Errorf("%d at a time", g.most)
		}
	})
}

// TestAsideWhatFails: a file that fails beside another holds up its own client's only,
// until it is the first and is found out about; while the target is away one file is
// tried at a time, and the rest of a window's files wait for the next.
func TestAsideWhatFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var g *gated
		y := openYard(t, func(y *yard) { g = y.gate() })
		y.takes("a", "a0", "a1", "a2")
		g.under(t, "a0")
		g.let(t, nil, "a0")
		y.takes("b", "b1", "b2")
		y.takes("c", "c1", "c2")
		g.under(t, "a1", "b1", "c1")
		g.let(t, errReset, "b1")
		g.under(t, "a1", "c1") // nothing new is begun
		g.let(t, nil, "c1")
		g.under(t, "a1", "c2") // it was not the target
		if left := y.transfers()["b1"]; left.State != StateQueued || left.Attempts != 0 {
			t.Errorf("%+v", left)
		}
		g.let(t, nil, "c2", "a1")
		g.under(t, "a2") // b1 fails beside others
		g.let(t, nil, "a2")
		g.under(t, "b1")
		g.let(t, errReset, "b1")
		g.under(t)
		y.takes("d", "d1")
		g.under(t, "b1") // one at a time
		g.let(t, errReset, "b1")
		g.under(t)
		time.Sleep(2 * exportFirst)
		g.under(t, "b1")
		g.let(t, nil, "b1")
		g.under(t, "b2", "d1")
		g.let(t, bridge.Errorf(bridge.OpExport, bridge.Unavailable, "%w: a window", bridge.ErrHeld), "d1")
		y.takes("e", "e1")
		g.under(t, "b2")
		g.let(t, nil, "b2")
		g.under(t, "d1", "e1")
		g.let(t, nil, "d1", "e1")
		y.wantLeft()
		if y.warned(warningExport) {
			t.Error(y.health.Warnings())
		}
	})
}

// TestPokedWhileOneRuns: what changes the queue while one file has failed and another is
// still being exported is looked at when that ends, not when it is tried again.
func TestPokedWhileOneRuns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var g *gated
		y := openYard(t, func(y *yard) { g = y.gate() })
		y.takes("a", "a0", "a1")
		y.takes("b", "b1")
		g.under(t, "a0")
		g.let(t, nil, "a0")
		g.under(t, "a1", "b1")
		g.let(t, errors.New("of neither"), "a1")
		y.takes("c", "c1")
		g.under(t, "b1")
		if err := y.GiveUp(t.Context(), "a", "a1"); err != nil {
			t.Fatal(err)
		}
		g.under(t, "b1")
		g.let(t, nil, "b1")
		g.under(t, "c1") // at once
		g.let(t, nil, "c1")
		y.wantLeft()
		if y.warned(warningExport) {
			t.Error(y.health.Warnings())
		}
	})
}

// TestRefusedAndGivenUp: what the target refuses for what it is, beside another too, is
// told of until it is given up.
func TestRefusedAndGivenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var c *cutting
		y := openYard(t, func(y *yard) { c = y.cut() })
		refused := bridge.Errorf(bridge.OpExport, bridge.TooLarge, "too large")
		c.fail(nil, map[string]error{"b1": refused, "c1": refused})
		y.takes("a", "a0", "a1")
		y.takes("b", "b1", "b2")
		y.takes("c", "c1")
		synctest.Wait()
		y.wantLeft("b1", "c1")
		for i, one := range []pair{{"c", "c1"}, {"b", "b1"}} {
			if text := y.warns(warningRefused); !strings.Contains(text, fmt.Sprintf("%d finished files are refused", 2-i)) || i == 1 && !strings.Contains(text, "the last one a.bin of b") {
				t.Errorf("it warns: %s", text)
			}
			if err := y.GiveUp(t.Context(), one.client, one.file); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
		}
		if y.warned(warningRefused) || len(y.queue) > 0 {
			t.Errorf("it warns: %s; %d wait", y.warns(warningRefused), len(y.queue))
		}
	})
}
