package spool

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ebbgate/ebbgate/bridge"
)

// killed copies a spool's folder as a kill would leave it: the kernel has every
// write, nobody has closed anything. A kill is one moment and a copy is not: it
// is made again when Badger's background work has changed a name meanwhile.
func killed(t testing.TB, dir string) string {
	t.Helper()
	for range 100 {
		to, before := t.TempDir(), listing(dir)
		err := os.CopyFS(to, os.DirFS(dir))
		if err == nil && listing(dir) == before {
			return to
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			t.Fatal(err)
		}
	}
	t.Fatal("the folder does not come to rest")
	return ""
}

// listing is the names and sizes of a folder.
func listing(dir string) string {
	var b strings.Builder
	_ = filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err == nil && !e.IsDir() {
			if fi, err := e.Info(); err == nil {
				fmt.Fprintln(&b, path, fi.Size())
			}
		}
		return nil
	})
	return b.String()
}

func TestKilledWhileFilling(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := openTest(t, dir)
	defer closeTest(t, s)
	fill(t, s, 0, 700, up)
	var b bridge.Batch // a batch that appends carries its other changes in the log
	b.Append(record(700, up))
	b.Add("meter", "units", 3)
	commitAll(t, s, &b)
	after := openTest(t, killed(t, dir))
	defer closeTest(t, after)
	if d := after.Depth(up); d.Records != 701 {
		t.Fatalf("depth %+v", d)
	}
	expectRange(t, drain(t, after, up, true), 0, 701)
	if n, err := after.Count("meter", "units"); n != 3 || err != nil {
		t.Fatalf("carried counter %d, %v", n, err)
	}
}

// What the value log has counts, whatever the index has: after a power cut the
// index may be any mixture of old and new pages.
func TestIndexLostInAPowerCut(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := openTest(t, dir)
	defer closeTest(t, s)
	fill(t, s, 0, 300, up)
	for name, damage := range map[string]func(string, []byte) []byte{
		"zeros":     func(_ string, b []byte) []byte { return make([]byte, len(b)) },
		"empty":     func(string, []byte) []byte { return nil },
		"half":      func(_ string, b []byte) []byte { return append(b[:2000], make([]byte, len(b)-2000)...) },
		"scrambled": func(_ string, b []byte) []byte { b[1000] ^= 1; return b },
	} {
		t.Run(name, func(t *testing.T) {
			dir := killed(t, dir)
			each(t, filepath.Join(dir, "log"), ".mem", damage)
			after := openTest(t, dir)
			defer closeTest(t, after)
			expectRange(t, drain(t, after, up, true), 0, 300)
		})
	}
}

// each rewrites the files with the suffix below dir.
func each(t *testing.T, dir, suffix string, change func(path string, b []byte) []byte) {
	t.Helper()
	n := 0
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() || !strings.HasSuffix(path, suffix) {
			return err
		}
		b, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		n++
		return os.WriteFile(path, change(path, b), 0o600)
	})
	if err != nil || n == 0 {
		t.Fatalf("%d files %s below %s: %v", n, suffix, dir, err)
	}
}

func TestDamage(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := openTest(t, dir)
	fill(t, s, 0, 1500, up)
	closeTest(t, s)
	flip := func(at float64) func(string, []byte) []byte {
		return func(_ string, b []byte) []byte {
			if len(b) > 0 {
				b[int(at*float64(len(b)-1))] ^= 0x10
			}
			return b
		}
	}
	for name, c := range map[string]struct {
		sub, suffix string
		change      func(string, []byte) []byte
		lossless    bool // the records are all there in the value log
	}{
		"index table flipped":      {"log", ".sst", flip(0.5), true},
		"index table footer":       {"log", ".sst", flip(1), true},
		"index table empty":        {"log", ".sst", func(string, []byte) []byte { return nil }, true},
		"index table cut":          {"log", ".sst", func(_ string, b []byte) []byte { return b[:len(b)*2/3] }, true},
		"index table nearly gone":  {"log", ".sst", func(_ string, b []byte) []byte { return b[:min(9, len(b))] }, true},
		"value log entry header":   {"log", ".vlog", func(_ string, b []byte) []byte { return damageEntries(b, -19) }, true},
		"value log commit magic":   {"log", ".vlog", func(_ string, b []byte) []byte { return damageEntries(b, 0) }, false},
		"state table cut":          {"state", ".sst", func(_ string, b []byte) []byte { return b[:len(b)*2/3] }, true},
		"manifest flipped":         {"log", "MANIFEST", flip(0.6), true},
		"manifest cut":             {"log", "MANIFEST", func(_ string, b []byte) []byte { return b[:len(b)/2] }, true},
		"manifest empty":           {"log", "MANIFEST", func(string, []byte) []byte { return nil }, true},
		"key registry flipped":     {"log", "KEYREGISTRY", flip(0.5), true},
		"value log flipped":        {"log", ".vlog", flip(0.4), false},
		"value log cut":            {"log", ".vlog", func(_ string, b []byte) []byte { return b[:len(b)*2/3] }, false},
		"value log empty":          {"log", ".vlog", func(string, []byte) []byte { return nil }, false},
		"state manifest flipped":   {"state", "MANIFEST", flip(0.6), true},
		"state table flipped":      {"state", ".sst", flip(0.5), true},
		"state key registry empty": {"state", "KEYREGISTRY", func(string, []byte) []byte { return nil }, true},
		"spool id lost":            {".", "SPOOL", func(string, []byte) []byte { return nil }, true},
	} {
		t.Run(name, func(t *testing.T) {
			dir := killed(t, dir)
			each(t, filepath.Join(dir, c.sub), c.suffix, c.change)
			after := openTest(t, dir)
			first := drain(t, after, up, false) // opens, salvages and leaves each generation
			got := drain(t, after, up, true)
			if c.lossless {
				expectRange(t, got, 0, 1500)
				expectRange(t, first, 0, 1500)
			} else if missing := after.Missing(); len(got) < 1500 && len(got)+count(missing) != 1500 {
				t.Fatalf("%d records and %d reported missing of 1500: %v", len(got), count(missing), missing)
			}
			fill(t, after, 1500, 1600, up)
			expectRange(t, drain(t, after, up, false), 1500, 1600)
			closeTest(t, after)
			again := openTest(t, dir)
			defer closeTest(t, again)
			expectRange(t, drain(t, again, up, true), 1500, 1600)
		})
	}
}

// damageEntries flips a bit at an offset from the magic of every third commit.
func damageEntries(b []byte, offset int) []byte {
	n := 0
	for i := 0; ; {
		at := bytes.Index(b[i:], []byte(commitMagic))
		if at < 0 {
			return b
		}
		i += at + 4
		if n++; n%3 == 0 && i-4+offset >= 0 {
			b[i-4+offset] ^= 1
		}
	}
}

func count(ms []Missing) (n int) {
	for _, m := range ms {
		n += int(m.To - m.From)
	}
	return n
}

func TestGenerationMissing(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := openTest(t, dir)
	fill(t, s, 0, 3000, up)
	closeTest(t, s)
	gens, _ := filepath.Glob(filepath.Join(dir, "log", "*"))
	if err := os.RemoveAll(gens[1]); err != nil {
		t.Fatal(err)
	}
	s = openTest(t, dir)
	defer closeTest(t, s)
	got := drain(t, s, up, true)
	if n := count(s.Missing()); n == 0 || len(got)+n != 3000 {
		t.Fatalf("%d read, %d reported missing of 3000", len(got), n)
	}
}
