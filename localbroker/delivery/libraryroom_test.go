package delivery

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestRoomForVersions: a version that would take the room of messages is not begun, and
// one that others leave no room for while it is copied is given up. Nothing of it stays,
// the version before is in force, and what a killed command has left is in nobody's way.
func TestRoomForVersions(t *testing.T) {
	l := OpenLibrary(t.TempDir())
	from := t.TempDir()
	write := func(name string, chunks int) string {
		path := filepath.Join(from, name)
		if err := os.WriteFile(path, bytes.Repeat([]byte("f"), chunks*chunkSize), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	small, large := write("small", 2), write("large", 30)
	used := func() (n int64) {
		err := filepath.WalkDir(l.dir, func(_ string, e fs.DirEntry, err error) error {
			if errors.Is(err, fs.ErrNotExist) {
				return nil
			}
			if info, err := e.Info(); err == nil && !e.IsDir() {
				n += info.Size()
			}
			return err
		})
		if err != nil {
			t.Error(err)
		}
		return n
	}
	size, asked := int64(20*chunkSize), 0
	var others func() int64
	l.Keep(func(n int64) int64 {
		asked++
		return max(n+used()+others()-size, 0)
	})
	others = func() int64 { return 0 }
	if _, err := l.Create(t.Context(), "fw", Change{Paths: []string{small}}); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		others func() int64
		paths  []string
		want   string // of the error
	}{
		"too large":            {nil, []string{large}, "has no room for a copy of these files: free 1 MiB more there"},
		"too large together":   {func() int64 { return 14 * chunkSize }, []string{small, small, small}, "free 1 MiB more there"},
		"others are quicker":   {func() int64 { return int64(max(asked-2, 0)) * 10 * chunkSize }, []string{small, "5=" + small}, small + ": the disk of "},
		"a kill has left much": {nil, []string{small}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			asked = 0
			others = c.others
			if others == nil {
				others = func() int64 { return 0 }
			}
			home := filepath.Join(l.dir, "fw")
			if c.want == "" {
				work, err := makeWork(home)
				if err == nil {
					err = os.WriteFile(filePath(work, 0), make([]byte, 19*chunkSize), 0o600)
				}
				if err != nil {
					t.Fatal(err)
				}
			}
			before, err := l.Describe("fw")
			if err != nil {
				t.Fatal(err)
			}
			next, err := l.Update(t.Context(), "fw", Change{Paths: c.paths})
			switch {
			case c.want == "" && (err != nil || next.Version != before.Version+1):
				t.Errorf("%+v %v", next, err)
			case c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)):
				t.Errorf("%v, want %s", err, c.want)
			}
			if err != nil {
				if now, err := l.stream("fw"); err != nil || now.Version != before.Version {
					t.Errorf("in force: %+v %v", now, err)
				}
			}
			if left, err := filepath.Glob(filepath.Join(home, unfinishedPrefix+"*")); err != nil || len(left) > 0 {
				t.Errorf("left: %q %v", left, err)
			}
		})
	}
}
