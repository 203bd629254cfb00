package upload

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/ebbgate/ebbgate/bridge"
)

// names lists what is in the folder of unfinished files.
func (y *yard) names() (out []string) {
	y.t.Helper()
	entries, err := os.ReadDir(y.opts.Dir)
	if err != nil {
		y.t.Fatal(err)
	}
	for _, e := range entries {
		out = append(out, e.Name())
	}
	return out
}

func (y *yard) warns(code string) string {
	for _, w := range y.health.Warnings() {
		if w.Code == code {
			return w.Text
		}
	}
	return ""
}

// openOn opens another service on a folder of unfinished files. Its shelf is another's,
// or the same.
func (y *yard) openOn(shelf Shelf) *yard {
	y.t.Helper()
	deps := y.deps
	deps.Shelf, deps.Health, deps.Target = shelf, &bridge.Health{}, plainFolder(y.exports)
	z := &yard{t: y.t, health: deps.Health, exports: y.exports}
	var err error
	if z.Service, err = Open(y.opts, deps); err != nil {
		y.t.Fatal(err)
	}
	return z
}

// TestSharedFolder: a gateway with another spool, on the folder of unfinished files of
// the first, takes nothing of what was acknowledged away (F40). It says what it has
// found, works, and of its own removes what a crash has left.
func TestSharedFolder(t *testing.T) {
	y := openYard(t, nil)
	y.ok("$file/f/init", `{"name":"a.bin"}`)
	y.ok("$file/f/0", "first ")
	there := y.names()
	if len(there) != 1 {
		t.Fatalf("files %q", there)
	}

	z := y.openOn(&memoryShelf{values: map[string][]byte{}})
	if got := z.names(); !slices.Equal(got, there) {
		t.Errorf("another gateway leaves %q of %q", got, there)
	}
	if text := z.warns(warningStrange); !strings.Contains(text, there[0]) || !strings.Contains(text, "in "+y.opts.Dir+" are files of transfers that this gateway's spool does not know: 1, 6B") {
		t.Errorf("it warns: %s", text)
	}
	left := filepath.Join(y.opts.Dir, fmt.Sprintf("%s-%016x%s", z.tag, 7, segmentsSuffix))
	if err := os.WriteFile(left, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	again := y.openOn(z.deps.Shelf)
	if got := again.names(); !slices.Equal(got, there) || again.tag != z.tag {
		t.Errorf("after its next start there are %q, want %q", got, there)
	}

	same := y.openOn(y.deps.Shelf)
	if text := same.warns(warningStrange); text != "" {
		t.Errorf("the first gateway warns of its own: %s", text)
	}
	y.ok("$file/f/6", "second")
	y.ok("$file/f/fin/12", "")
	y.exported("first second")
}

// TestDamagedRecord: the file of a transfer whose record is lost with a damaged part of
// the shelf is kept, by later starts too, and told of: it may be whole.
func TestDamagedRecord(t *testing.T) {
	y := openYard(t, func(y *yard) { y.opts.Export.Mode = modeSpooled; y.deps.Target = heldTarget{y.deps.Target} })
	y.ok("$file/f/init", `{"name":"a.bin"}`)
	y.ok("$file/f/0", "first ")
	y.ok("$file/f/6", "second")
	y.ok("$file/f/fin/12", "")
	left := &memoryShelf{values: map[string][]byte{}}
	tag, err := y.deps.Shelf.Get(shelfStore, tagKey)
	if err != nil {
		t.Fatal(err)
	}
	left.values[shelfStore+"\x00"+tagKey] = tag // and nothing else
	health := &bridge.Health{}
	health.Raise(bridge.Warning{Code: warningDamage, Severity: bridge.Degraded})
	for range 2 {
		deps := y.deps
		deps.Shelf, deps.Health = left, health
		z := &yard{t: t, health: health}
		if z.Service, err = Open(y.opts, deps); err != nil {
			t.Fatal(err)
		}
		names := z.names()
		if len(names) != 1 || !strings.HasPrefix(names[0], "lost-") || !strings.Contains(z.warns(warningStrange), names[0]) {
			t.Fatalf("there are %q, and it warns: %s", names, z.warns(warningStrange))
		}
		if b, err := os.ReadFile(filepath.Join(y.opts.Dir, names[0])); err != nil || string(b) != "first second" {
			t.Errorf("%q, %v", b, err)
		}
		health = &bridge.Health{} // the next start finds no damage
	}
}

// heldTarget is a target that is away.
type heldTarget struct{ bridge.FileTarget }

func (heldTarget) Put(context.Context, *bridge.File) (string, error) { return "", errAway }

// TestEarlierNames: files that an earlier version has left are found by their numbers.
func TestEarlierNames(t *testing.T) {
	y := openYard(t, nil)
	y.ok("$file/f/init", `{"name":"a.bin"}`)
	y.ok("$file/f/0", "first ")
	now := filepath.Join(y.opts.Dir, y.names()[0])
	then := filepath.Join(y.opts.Dir, now[len(now)-len("794695a5886f9c24.segments"):])
	if err := os.Rename(now, then); err != nil {
		t.Fatal(err)
	}
	z := y.openOn(y.deps.Shelf)
	z.mu.Lock()
	defer z.mu.Unlock()
	if got := z.open[pair{"c", "f"}]; got == nil || z.path(got) != then || len(got.segments) != 1 {
		t.Errorf("found %+v, want %s", got, then)
	}
	if text := z.warns(warningStrange); text != "" {
		t.Errorf("it warns: %s", text)
	}
}
