package runs

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// threeRuns is a folder with three runs of 2,000 keys each.
func threeRuns(t *testing.T) (*folder, map[string][]byte) {
	t.Helper()
	f := newFolder(t)
	want := map[string][]byte{}
	for r := range 3 {
		c := changes{}
		for i := range 2000 {
			c[fmt.Sprintf("%d/%04d", r, i)] = bytesOf(rand.IntN(200))
		}
		maps.Copy(want, c)
		f.write(t, uint64(r+1), c)
	}
	_ = f.Close()
	return f, want
}

// TestDamagedRuns breaks a run in every way that files break. The store opens,
// says that something is lost, shows nothing that was never put, and goes on.
func TestDamagedRuns(t *testing.T) {
	for name, harm := range map[string]func(t *testing.T, path string, b []byte){
		"a bit of a block":  func(t *testing.T, path string, b []byte) { rewrite(t, path, flipped(b, len(b)/3)) },
		"a bit of the end":  func(t *testing.T, path string, b []byte) { rewrite(t, path, flipped(b, len(b)-10)) },
		"a bit of a filter": func(t *testing.T, path string, b []byte) { rewrite(t, path, flipped(b, len(b)-footerSize-100)) },
		"cut":               func(t *testing.T, path string, b []byte) { rewrite(t, path, b[:len(b)/2]) },
		"cut to nothing":    func(t *testing.T, path string, _ []byte) { rewrite(t, path, nil) },
		"zeros":             func(t *testing.T, path string, b []byte) { rewrite(t, path, make([]byte, len(b))) },
		"missing": func(t *testing.T, path string, _ []byte) {
			if err := os.Remove(path); err != nil {
				t.Fatal(err)
			}
		},
		"another run's name": func(t *testing.T, path string, _ []byte) {
			if err := os.Rename(path, runPath(filepath.Dir(path), 9, 9)); err != nil {
				t.Fatal(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			f, want := threeRuns(t)
			path := runPath(filepath.Join(f.dir, "shelf"), 2, 2)
			b, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			harm(t, path, b)
			c, err := Verify(filepath.Join(f.dir, "shelf"))
			if err != nil || len(c.Wrong) == 0 {
				t.Errorf("verify sees nothing: %+v, %v", c, err)
			}
			f.open(t)
			got := f.all("")
			for k, v := range got {
				if string(want[k]) != string(v) {
					t.Fatalf("key %q holds what was never put", k)
				}
			}
			for k := range want {
				if k[0] != '2' && k[0] != '1' && got[k] == nil {
					t.Fatalf("key %q of a whole run is lost", k)
				}
			}
			if len(f.damages) == 0 || !strings.Contains(strings.Join(f.damages, "\n"), "lost") {
				t.Errorf("damage reported: %q", f.damages)
			}
			if name == "a bit of a filter" && len(got) != len(want) {
				t.Errorf("%d keys of %d without a filter", len(got), len(want))
			}
			if _, err := f.Repair(); err != nil {
				t.Fatal(err)
			}
			f.write(t, 9, changes{"9": []byte("new")})
			said := len(f.damages)
			for range 2 {
				_ = f.Close()
				f.open(t)
				if n := len(f.all("")); n != len(got)+1 || len(f.damages) != said {
					t.Fatalf("after the repair: %d keys, want %d; damage %q", n, len(got)+1, f.damages[said:])
				}
			}
			if c, err := Verify(filepath.Join(f.dir, "shelf")); err != nil || len(c.Wrong) > 0 {
				t.Errorf("after the repair: %+v, %v", c, err)
			}
		})
	}
}

// A key whose value or block cannot be read is told from one that is not there.
func TestGetTellsDamage(t *testing.T) {
	f, want := threeRuns(t)
	path := runPath(filepath.Join(f.dir, "shelf"), 2, 2)
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	rewrite(t, path, flipped(b, len(b)/3))
	f.open(t)
	v := f.View()
	defer v.Close()
	damaged := 0
	for k, value := range want {
		switch got, err := v.Get(k); {
		case errors.Is(err, ErrDamaged) && got == nil:
			damaged++
		case err != nil || got == nil || string(got) != string(value):
			t.Fatalf("key %q: %d bytes, %v", k, len(got), err)
		}
	}
	if damaged == 0 || damaged > 1000 {
		t.Errorf("%d keys of %d are damaged", damaged, len(want))
	}
	if got, err := v.Get("0/none"); got != nil || err != nil {
		t.Errorf("a key that is not there: %q, %v", got, err)
	}
}

func flipped(b []byte, at int) []byte {
	b[at] ^= 4
	return b
}

func rewrite(t *testing.T, path string, b []byte) {
	t.Helper()
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
}

// A merge that is killed leaves both what it merged and what it made, or neither
// its result nor its name.
func TestInterruptedMerge(t *testing.T) {
	f := newFolder(t)
	want := map[string][]byte{}
	dir := filepath.Join(f.dir, "shelf")
	for i := range together {
		c := changes{fmt.Sprint(i): bytesOf(100), "same": bytesOf(i)}
		maps.Copy(want, c)
		f.write(t, uint64(i), c)
	}
	before, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil || len(before) != together {
		t.Fatal(before, err)
	}
	kept := t.TempDir()
	for _, path := range before {
		if err := os.Link(path, filepath.Join(kept, filepath.Base(path))); err != nil {
			t.Fatal(err)
		}
	}
	if again, err := f.Merge(); !again || err != nil {
		t.Fatal(again, err)
	}
	for _, path := range before { // they come back: the kill was before they went
		if err := os.Link(filepath.Join(kept, filepath.Base(path)), path); err != nil {
			t.Fatal(err)
		}
	}
	rewrite(t, runPath(dir, 9, 9)+unfinished, []byte("half a run"))
	_ = f.Close()
	f.open(t)
	f.expect(t, want)
	if left, _ := filepath.Glob(filepath.Join(dir, "*")); len(left) != 1 {
		t.Errorf("left: %v", left)
	}
}

// Keys of a damaged merged run come from the runs that it was merged from, while
// they are still there.
func TestDamagedMergeFallsBack(t *testing.T) {
	f := newFolder(t)
	f.write(t, 1, changes{"a": []byte("1")})
	f.write(t, 2, changes{"b": []byte("2")})
	_ = f.Close()
	rewrite(t, runPath(filepath.Join(f.dir, "shelf"), 1, 2), []byte("nothing that can be read"))
	f.open(t)
	if n := len(f.all("")); n != 2 {
		t.Errorf("%d keys of 2", n)
	}
	if len(f.damages) != 1 {
		t.Errorf("damage %q", f.damages)
	}
}

func FuzzOpenRun(f *testing.F) {
	dir := f.TempDir()
	w, err := create(dir, 1, 1, 7, 3)
	if err != nil {
		f.Fatal(err)
	}
	for _, e := range []Entry{{Key: []byte("a"), Value: []byte("x")}, {Key: []byte("ab"), Value: make([]byte, 100)}, {Key: []byte("b"), Dead: true}} {
		if err := w.add(&e); err != nil {
			f.Fatal(err)
		}
	}
	r, err := w.finish()
	if err != nil {
		f.Fatal(err)
	}
	b, err := os.ReadFile(r.path)
	if err != nil {
		f.Fatal(err)
	}
	_ = r.f.Close()
	f.Add(b, 0, byte(0))
	f.Add(b, 30, byte(1))
	f.Fuzz(func(t *testing.T, b []byte, at int, x byte) {
		if len(b) > 0 {
			b[uint(at)%uint(len(b))] ^= x
		}
		path := filepath.Join(t.TempDir(), "run")
		rewrite(t, path, b)
		r, err := openRun(path)
		if err != nil {
			return
		}
		defer r.f.Close()
		n := 0
		c := &cursor{r: r, report: func(*run, int64, string) {}}
		for c.seek(""); c.Valid(); c.Next() {
			c.Value()
			if n++; n > len(b) {
				t.Fatal("more entries than bytes")
			}
		}
	})
}
