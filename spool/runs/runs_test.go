package runs

import (
	"bytes"
	"flag"
	"fmt"
	"iter"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"go.uber.org/goleak"
	"pgregory.net/rapid"
)

func TestMain(m *testing.M) {
	flag.Parse()
	if os.Getenv("EBBGATE_SOAK") == "" { // a step writes and syncs files
		_ = flag.Set("rapid.checks", "10")
	}
	goleak.VerifyTestMain(m)
}

// folder is a store in a folder of its own, with what it says of damage.
type folder struct {
	*Store
	dir     string
	damages []string
	full    bool
}

func (f *folder) open(t testing.TB) {
	t.Helper()
	s, err := Open(Options{
		Dir:    filepath.Join(f.dir, "shelf"),
		Damage: func(text string) { f.damages = append(f.damages, text) },
		Aside: func(path string) (string, error) {
			to := filepath.Join(f.dir, fmt.Sprintf("aside-%d-%s", len(f.damages), filepath.Base(path)))
			return to, os.Rename(path, to)
		},
		Room: func(int64) bool { return !f.full },
	})
	if err != nil {
		t.Fatal(err)
	}
	f.Store = s
}

func newFolder(t testing.TB) *folder {
	f := &folder{dir: t.TempDir()}
	f.open(t)
	t.Cleanup(func() { _ = f.Close() })
	return f
}

// changes as they are written: a nil value deletes.
type changes map[string][]byte

func (c changes) sorted() iter.Seq[*Entry] {
	return func(yield func(*Entry) bool) {
		for _, k := range slices.Sorted(maps.Keys(c)) {
			if !yield(&Entry{Key: []byte(k), Value: c[k], Dead: c[k] == nil}) {
				return
			}
		}
	}
}

func (f *folder) write(t testing.TB, mark uint64, c changes) {
	t.Helper()
	if err := f.Write(mark, uint64(len(c)), c.sorted()); err != nil {
		t.Fatal(err)
	}
}

// all reads everything from a key on.
func (f *folder) all(from string) map[string][]byte {
	v := f.View()
	defer v.Close()
	out := map[string][]byte{}
	last := ""
	for j := Join(v.Seek(from)...); j.Valid(); j.Next() {
		if k := string(j.Key()); k <= last && last != "" {
			panic("keys do not ascend: " + last + " " + k)
		}
		last = string(j.Key())
		if j.Dead() {
			continue
		}
		if value, ok := j.Value(); ok {
			out[last] = bytes.Clone(value)
		}
	}
	return out
}

// expect compares the store with what it must hold, by scanning and by key.
func (f *folder) expect(t testing.TB, want map[string][]byte) {
	t.Helper()
	if got := f.all(""); !maps.EqualFunc(got, want, bytes.Equal) {
		t.Fatalf("%d keys, want %d", len(got), len(want))
	}
	v := f.View()
	defer v.Close()
	for k, value := range want {
		got, err := v.Get(k)
		if got == nil || err != nil || !bytes.Equal(got, value) {
			t.Fatalf("key %q: %d bytes, %v", k, len(got), err)
		}
		if !f.MayHold(k) {
			t.Fatalf("the filter denies key %q", k)
		}
	}
	if len(f.damages) > 0 {
		t.Fatalf("damage is reported: %q", f.damages)
	}
}

func bytesOf(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(rand.Uint32())
	}
	return b
}

// TestStoreAgainstModel writes, merges and reopens at random and compares with a
// map after each step.
func TestStoreAgainstModel(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		f := &folder{dir: t.TempDir()}
		f.open(t)
		defer func() { _ = f.Close() }()
		want := map[string][]byte{}
		mark := uint64(0)
		r.Repeat(map[string]func(*rapid.T){
			"write": func(r *rapid.T) {
				c := changes{}
				for range rapid.IntRange(0, 300).Draw(r, "changes") {
					k := fmt.Sprintf("ns\x00k%03d", rapid.IntRange(0, 600).Draw(r, "key"))
					if rapid.IntRange(0, 2).Draw(r, "kind") == 0 {
						c[k] = nil
						delete(want, k)
						continue
					}
					c[k] = bytesOf(rapid.SampledFrom([]int{0, 5, 64, 65, 300, 20000}).Draw(r, "size"))
					want[k] = c[k]
				}
				mark += uint64(rapid.IntRange(0, 5).Draw(r, "mark"))
				f.write(t, mark, c)
			},
			"merge": func(r *rapid.T) {
				if _, err := f.Merge(); err != nil {
					r.Fatal(err)
				}
			},
			"reopen": func(*rapid.T) {
				_ = f.Close()
				f.open(t)
			},
			"": func(r *rapid.T) {
				if got, _ := f.Mark(); got != mark {
					r.Fatalf("mark %d, want %d", got, mark)
				}
				if got := f.Stats().Entries; got != uint64(len(want)) {
					r.Fatalf("it counts %d keys of %d", got, len(want))
				}
				f.expect(t, want)
			},
		})
	})
}

func TestSeek(t *testing.T) {
	f := newFolder(t)
	c := changes{}
	for i := range 3000 {
		c[fmt.Sprintf("a/%05d", i)] = bytesOf(40)
	}
	f.write(t, 1, c)
	f.write(t, 2, changes{"a/00500": nil, "b": []byte("x")})
	for from, n := range map[string]int{"": 3000, "a/00499": 2501, "a/00500": 2500, "a/02999": 2, "a/1": 1, "b": 1, "c": 0} {
		if got := len(f.all(from)); got != n {
			t.Errorf("from %q: %d keys, want %d", from, got, n)
		}
	}
}

// What is deleted gives its space back; what lives for long is rewritten a
// handful of times.
func TestMergesAreFewAndGiveSpaceBack(t *testing.T) {
	f := newFolder(t)
	var wrote, given int64
	settle := func() {
		t.Helper()
		for {
			before := f.size()
			again, err := f.Merge()
			if err != nil {
				t.Fatal(err)
			}
			if !again {
				return
			}
			wrote += max(f.size()-before, 0)
			for _, r := range f.now.runs { // the newest merged one
				if r.hi != r.lo {
					wrote += r.size
					break
				}
			}
		}
	}
	const batches, each = 64, 200
	key := func(b, i int) string { return fmt.Sprintf("s%02d/%06d", i%50, b*each+i) }
	for b := range batches {
		c := changes{}
		for i := range each {
			c[key(b, i)] = bytesOf(100)
		}
		f.write(t, uint64(b), c)
		given += f.now.runs[0].size
		settle()
		if n := f.Stats().Runs; n > atMost {
			t.Fatalf("%d runs", n)
		}
	}
	t.Logf("%d bytes given, %.1f times that written by merges, %d runs", given, float64(wrote)/float64(given), f.Stats().Runs)
	if wrote > 8*given {
		t.Errorf("merging wrote %d bytes for %d", wrote, given)
	}
	for b := range batches {
		c := changes{}
		for i := range each {
			c[key(b, i)] = nil
		}
		f.write(t, uint64(batches+b), c)
		settle()
	}
	if s := f.Stats(); s.Entries != 0 || s.Bytes > worthIt {
		t.Errorf("when all is deleted: %+v", s)
	}
	if n := f.size(); n > worthIt {
		t.Errorf("%d bytes are left in the folder", n)
	}
}

// size is what the files take.
func (f *folder) size() (n int64) {
	entries, _ := os.ReadDir(filepath.Join(f.dir, "shelf"))
	for _, e := range entries {
		if fi, err := e.Info(); err == nil {
			n += fi.Size()
		}
	}
	return n
}

// A large value that is replaced again and again does not pile up, though few
// entries are dead.
func TestReplacedValuesGiveSpaceBack(t *testing.T) {
	f := newFolder(t)
	c := changes{}
	for i := range 2000 {
		c[fmt.Sprint(i)] = []byte("small")
	}
	f.write(t, 1, c)
	for i := range 100 {
		f.write(t, uint64(2+i), changes{"retained": bytesOf(100_000)})
		for again := true; again; {
			var err error
			if again, err = f.Merge(); err != nil {
				t.Fatal(err)
			}
		}
	}
	if n := f.size(); n > 1_500_000 {
		t.Errorf("%d bytes for one value of 100,000", n)
	}
}

// Who reads is not disturbed by what is merged meanwhile.
func TestViewOutlivesMerge(t *testing.T) {
	f := newFolder(t)
	c := changes{}
	for i := range 1000 {
		c[fmt.Sprintf("%04d", i)] = bytesOf(500)
	}
	f.write(t, 1, c)
	v := f.View()
	defer v.Close()
	j := Join(v.Seek("")...)
	for k := range c {
		c[k] = nil
	}
	f.write(t, 2, c)
	if again, err := f.Merge(); !again || err != nil {
		t.Fatal(again, err)
	}
	n := 0
	for ; j.Valid(); j.Next() {
		if _, ok := j.Value(); !ok {
			t.Fatal("a value is gone")
		}
		n++
	}
	if n != 1000 || len(f.all("")) != 0 || len(f.damages) > 0 {
		t.Errorf("%d keys in the view, %d now, %q", n, len(f.all("")), f.damages)
	}
}

// A merge that finds no room or is stopped leaves everything as it is.
func TestMergeWithoutRoom(t *testing.T) {
	f := newFolder(t)
	want := map[string][]byte{}
	for i := range 2 * together {
		c := changes{fmt.Sprint(i): bytesOf(100)}
		maps.Copy(want, c)
		f.write(t, 1, c)
	}
	f.full = true
	if again, err := f.Merge(); again || err == nil || !strings.Contains(err.Error(), "room") {
		t.Fatalf("%v, %v", again, err)
	}
	f.expect(t, want)
	f.full = false
	stop := make(chan struct{})
	close(stop)
	f.o.Stop = stop
	if again, err := f.Merge(); again || err == nil {
		t.Fatalf("%v, %v", again, err)
	}
	f.expect(t, want)
	if left, _ := filepath.Glob(filepath.Join(f.dir, "shelf", "*"+unfinished)); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}
