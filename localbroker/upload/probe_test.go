package upload

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ebbgate/ebbgate/bridge"
)

// cutting is a target that fails with what it was told, file by file or all of them.
type cutting struct {
	plainFolder
	mu    sync.Mutex
	fails map[string]error // by file
	all   error
	until string   // the file with whose attempt that ends
	tried []string // files
}

func (c *cutting) Put(ctx context.Context, f *bridge.File) (string, error) {
	c.mu.Lock()
	c.tried = append(c.tried, f.FileID)
	if c.until != "" && c.until == f.FileID {
		c.all = nil
	}
	err := c.all
	if err == nil {
		err = c.fails[f.FileID]
	}
	c.mu.Unlock()
	if err != nil {
		return "", err
	}
	return c.plainFolder.Put(ctx, f)
}

// fail has the target fail from now on, with each file and with all.
func (c *cutting) fail(all error, fails map[string]error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.all, c.fails = all, maps.Clone(fails)
}

// times is how often each file was tried since it was last asked.
func (c *cutting) times() map[string]int {
	c.mu.Lock()
	defer c.mu.Unlock()
	out := map[string]int{}
	for _, f := range c.tried {
		out[f]++
	}
	c.tried = nil
	return out
}

// cut puts such a target in front of a yard's, spooled.
func (y *yard) cut() *cutting {
	c := &cutting{plainFolder: plainFolder(y.exports)}
	y.deps.Target = &observed{FileTarget: c, of: y.Service}
	y.opts.Export.Mode = modeSpooled
	return c
}

// transfers lists what is not exported, by file.
func (y *yard) transfers() map[string]Transfer {
	list, _ := y.Running("", 100)
	out := map[string]Transfer{}
	for _, t := range list {
		out[t.FileID] = t
	}
	return out
}

// wantLeft says which files are not exported.
func (y *yard) wantLeft(want ...string) {
	y.t.Helper()
	if got := slices.Sorted(maps.Keys(y.transfers())); !slices.Equal(got, want) {
		y.t.Errorf("%q are not exported, want %q", got, want)
	}
}

// takes has a device send files, which fin takes.
func (y *yard) takes(client string, files ...string) {
	y.t.Helper()
	for _, f := range files {
		if err := y.sendsFile(client, f, `{"name":"a.bin"}`); err != nil {
			y.t.Fatalf("%s: %v", f, err)
		}
	}
}

var errReset = bridge.Errorf(bridge.OpExport, bridge.Unavailable, "connection reset by peer")

// TestOneIsCut: files whose uploads are cut each time, as a virus scanner on the way does
// it, hold up no others for long, wherever they are in the queue; they are shown, and are
// tried again by themselves, later and later, and when somebody asks for it.
func TestOneIsCut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var c *cutting
		y := openYard(t, func(y *yard) { c = y.cut() })
		virus := map[string]error{"virus1": errReset, "virus2": errReset, "virus3": errReset}
		c.fail(nil, virus)
		y.takes("a", "virus1", "virus2")
		y.takes("b", "ok1", "ok2")
		y.takes("a", "virus3")
		y.takes("b", "ok3")
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		y.wantLeft("virus1", "virus2", "virus3")
		for file, left := range y.transfers() {
			if left.State != StateFailed || left.Attempts <= passOver || !strings.Contains(left.Error, "connection reset by peer; others are exported, so it is this one") {
				t.Errorf("%s: %+v", file, left)
			}
		}
		text := ""
		for _, w := range y.health.Warnings() {
			if w.Code == warningExport {
				text = w.Text
			}
		}
		if !strings.Contains(text, "while others can: a.bin of a: ") || !strings.Contains(text, "tried again every 5m0s at most, or by ebbgate files retry") {
			t.Errorf("the warning: %q", text)
		}
		c.times()
		y.takes("b", "ok4")
		time.Sleep(time.Second)
		synctest.Wait()
		y.wantLeft("virus1", "virus2", "virus3")
		time.Sleep(2 * time.Hour)
		for file, n := range c.times() {
			if most := 2 * 60 / 5; file != "ok4" && (n < most-4 || n > most+1) {
				t.Errorf("%s was tried %d times in two hours", file, n)
			}
		}
		if err := y.Retry("a", "virus1"); err != nil {
			t.Error(err)
		}
		synctest.Wait()
		if n := c.times(); n["virus1"] != 1 || len(n) != 1 {
			t.Errorf("after a retry %v were tried", n)
		}
		c.fail(nil, nil)
		time.Sleep(aloneLast + exportLast)
		synctest.Wait()
		y.wantLeft()
		if y.warned(warningExport) {
			t.Error(y.health.Warnings())
		}
	})
}

// TestFolderOfOneClient: when no file of a client can be written, large ones of others wait
// for the first of them only, and its own go on by themselves when they can be.
func TestFolderOfOneClient(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var c *cutting
		y := openYard(t, func(y *yard) { c = y.cut() })
		broken := errors.New("mkdir a: not a directory")
		fails := map[string]error{"a1": broken, "a2": broken, "a3": broken, "d1": broken}
		c.fail(nil, fails)
		y.takes("b", "b0") // the target takes what comes
		synctest.Wait()
		y.takes("a", "a1")
		y.takes("b", "b1")
		time.Sleep(time.Minute)
		synctest.Wait()
		y.wantLeft("a1")
		c.times()
		y.takes("a", "a2", "a3")
		y.takes("c", "c1")
		time.Sleep(time.Second)
		synctest.Wait()
		y.wantLeft("a1", "a2", "a3")
		if n := c.times(); n["a2"] != 1 || n["a3"] != 1 || n["c1"] != 1 {
			t.Errorf("tried: %v", n)
		}
		if text := y.warns(warningExport); !strings.Contains(text, "while others can: ") {
			t.Errorf("it warns: %s", text)
		}
		y.takes("d", "d1")
		time.Sleep(time.Second)
		synctest.Wait()
		y.mu.Lock()
		if c := y.leaving[pair{"d", "d1"}].chances; c.passed != 0 {
			t.Errorf("what is known of one client is held against another: %+v", c)
		}
		y.mu.Unlock()
		c.fail(nil, nil)
		time.Sleep(aloneLast)
		synctest.Wait()
		y.wantLeft()
	})
}

// TestOutageIsOfNoFile: while the target is away no file is taken for the one that fails,
// however long it lasts, also when it comes back in the moment in which another is tried:
// they go when it is back, and none is shown as failed for itself.
func TestOutageIsOfNoFile(t *testing.T) {
	for name, until := range map[string]string{"all at once": "", "the other one first": "f3"} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var c *cutting
				y := openYard(t, func(y *yard) { c = y.cut() })
				c.fail(errReset, nil)
				y.takes("a", "f1", "f2")
				y.takes("b", "f3", "f4")
				time.Sleep(24 * time.Hour)
				synctest.Wait()
				for file, left := range y.transfers() {
					if want := map[bool]State{true: StateFailed, false: StateQueued}[file == "f1"]; left.State != want || left.Attempts != 0 || strings.Contains(left.Error, "this one") {
						t.Errorf("%s: %+v", file, left)
					}
				}
				if n := c.times(); n["f1"] < 2*60*24-10 || n["f2"]+n["f3"]+n["f4"] > n["f1"] {
					t.Errorf("tried: %v", n)
				}
				if until == "" {
					c.fail(nil, nil)
				}
				c.mu.Lock()
				c.until = until
				c.mu.Unlock()
				time.Sleep(5 * exportLast)
				synctest.Wait()
				y.wantLeft()
				last := c.tried[max(len(c.tried)-3, 0):]
				slices.Sort(last[1:]) // of two clients
				if until != "" && !slices.Equal(last, []string{"f1", "f2", "f4"}) {
					t.Errorf("after %s: %q", until, c.tried)
				}
			})
		})
	}
}

// TestHeldIsNoFailure: what a window holds back is not tried in place of others, and a
// file whose probe was followed by a window is not judged after it.
func TestHeldIsNoFailure(t *testing.T) {
	tr := &transfer{}
	tr.chances.tries, tr.chances.cleared = passOver, true
	s := &Service{}
	held := bridge.Errorf(bridge.OpExport, bridge.Unavailable, "%w: a window", bridge.ErrHeld)
	if s.failedLocked(tr, held) || tr.chances.cleared || tr.suspect(held) || tr.attempts != 0 {
		t.Errorf("%+v", tr.chances)
	}
	if s.failedLocked(tr, errReset) || !tr.suspect(errReset) || tr.attempts != 0 {
		t.Errorf("%+v", tr.chances)
	}
	if tr.suspect(errors.New("of neither")) {
		t.Error("an error that is not the target's makes it suspect")
	}
}

// TestLongBacklog: to find the transfer of an attempt costs the same however many wait.
func TestLongBacklog(t *testing.T) {
	y := newYard(t)
	sum := make([]byte, len(checksum{}))
	for i := range 10_000 {
		q := &transfer{pair: pair{"c", fmt.Sprint(i)}, verified: &verdict{Sum: sum}}
		y.queue, y.leaving[q.pair] = append(y.queue, q), q
	}
	f := &bridge.File{ClientID: "c", FileID: "9999"}
	if n := testing.AllocsPerRun(10, func() {
		got := y.beginExport(f, &exporting{})
		if got != y.queue[9999] {
			t.Fatal("it is not found")
		}
		got.journal.export = nil
	}); n > 10 {
		t.Errorf("%v allocations", n)
	}
	older := &transfer{pair: pair{"c", "9999"}, verified: &verdict{Sum: slices.Repeat([]byte{1}, len(sum))}} // as after damage
	y.queue = append(y.queue, older)
	f.SHA256 = checksum(older.verified.Sum)
	if y.beginExport(f, &exporting{}) != older {
		t.Error("of two of one id the other is not found")
	}
}
