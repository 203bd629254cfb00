package folder

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/ebbgate/ebbgate/internal/peers"
)

// A check says whether the folder takes files, also one that is not there yet, and
// leaves everything as it was.
func TestCheckLeavesNothing(t *testing.T) {
	for name, c := range map[string]struct {
		prepare func(dir string) error
		dir     string
		layout  string
		err     string // with its remedy
	}{
		"there":      {func(dir string) error { return os.Mkdir(filepath.Join(dir, "out"), 0o700) }, "out", layoutEMQX, ""},
		"to be made": {func(string) error { return nil }, "a/b/out", layoutEMQX, ""},
		"full name":  {func(string) error { return nil }, strings.Repeat("x", 300), layoutEMQX, "correct file_transfer.export.dir"},
		"no folder": {func(dir string) error { return os.WriteFile(filepath.Join(dir, "out"), nil, 0o600) }, "out", layoutEMQX,
			"out is no folder; correct file_transfer.export.dir"},
		"below a file": {func(dir string) error { return os.WriteFile(filepath.Join(dir, "a"), nil, 0o600) }, "a/out", layoutEMQX,
			"not a directory; correct file_transfer.export.dir"},
		"dangling": {func(dir string) error { return os.Symlink("nowhere", filepath.Join(dir, "out")) }, "out", layoutEMQX,
			"is a link to what is not there; correct"},
		"layout": {func(string) error { return nil }, "out", "${name}", "${clientid}"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			if err := c.prepare(dir); err != nil {
				t.Fatal(err)
			}
			before := tree(t, dir)
			err := Check(Options{Dir: filepath.Join(dir, c.dir), Layout: c.layout})
			if (err == nil) != (c.err == "") || err != nil && !strings.Contains(err.Error(), c.err) {
				t.Errorf("%v", err)
			}
			if after := tree(t, dir); after != before {
				t.Errorf("it was\n%s\nand is\n%s", before, after)
			}
		})
	}
}

// A folder of which others may make no use is told, with whose it has to be.
func TestCheckWithoutTheRight(t *testing.T) {
	dir := "/proc/self" // nobody may make anything there, not even root
	err := Check(Options{Dir: dir, Layout: layoutEMQX})
	if err == nil || !strings.Contains(err.Error(), "cannot be written to") || !strings.Contains(err.Error(), "file_transfer.export.dir") {
		t.Errorf("%v", err)
	}
	if os.Getuid() == 0 {
		return // who may everything
	}
	closed := filepath.Join(t.TempDir(), "closed")
	if err := os.Mkdir(closed, 0o500); err != nil {
		t.Fatal(err)
	}
	if err := Check(Options{Dir: closed, Layout: layoutEMQX}); err == nil || !strings.Contains(err.Error(), "give it to the user who runs the gateway") {
		t.Errorf("%v", err)
	}
}

// A folder on a disk without room for a file is told, though a folder can be made there,
// and a file that is empty.
func TestCheckWrites(t *testing.T) {
	peers.NeedRoot(t)
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=4096"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	o := Options{Dir: dir, Layout: layoutEMQX}
	if err := Check(o); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "all of it"), make([]byte, 4096), 0o600); err != nil {
		t.Fatal(err)
	}
	before := tree(t, dir)
	if err := Check(o); !errors.Is(err, syscall.ENOSPC) || !strings.Contains(err.Error(), "make room there") {
		t.Errorf("%v", err)
	}
	if after := tree(t, dir); after != before {
		t.Errorf("it was\n%s\nand is\n%s", before, after)
	}
}

// What a check that was killed has left is removed by the next one, and by a start: only
// that, and only when no check can be at it.
func TestLeftByAKilledCheck(t *testing.T) {
	for name, sweep := range map[string]func(t *testing.T, o Options) error{
		"check": func(_ *testing.T, o Options) error { return Check(o) },
		"start": func(t *testing.T, o Options) error { opened(t, o); return nil },
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			aged := func(age time.Duration, name string) {
				t.Helper()
				at := time.Now().Add(-age)
				if err := os.Chtimes(filepath.Join(dir, name), at, at); err != nil {
					t.Fatal(err)
				}
			}
			left := func(age time.Duration, name string, inside ...string) {
				t.Helper()
				if err := os.MkdirAll(filepath.Join(dir, name), 0o700); err != nil {
					t.Fatal(err)
				}
				for _, f := range inside {
					if err := os.WriteFile(filepath.Join(dir, name, f), nil, 0o600); err != nil {
						t.Fatal(err)
					}
				}
				aged(age, name)
			}
			const old = 2 * time.Hour
			left(old, "elsewhere", "done")
			left(0, "%partial-check-9", "growing")          // one is at it
			left(old, "%partial-check-8", "growing", "own") // somebody's own, as all that follow
			left(old, "%partial-check-7", "own")
			left(0, "%partial-check-6/done")
			aged(old, "%partial-check-6")
			left(old, "%partial-check-", "done")
			left(old, "%partial-check-5a", "done")
			left(old, "x%partial-check-5", "done")
			if err := os.WriteFile(filepath.Join(dir, "%partial-check-4"), nil, 0o600); err != nil {
				t.Fatal(err)
			}
			aged(old, "%partial-check-4")
			if err := os.Symlink("elsewhere", filepath.Join(dir, "%partial-check-3")); err != nil {
				t.Fatal(err)
			}
			stays := tree(t, dir)
			left(old, "%partial-check-123", "growing")
			left(old, "%partial-check-124", "done")
			left(old, "%partial-check-125")
			left(-old, "%partial-check-126", "done") // when the clock was wrong
			if err := sweep(t, Options{Dir: dir, Layout: layoutEMQX}); err != nil {
				t.Fatal(err)
			}
			if is := tree(t, dir); is != stays {
				t.Errorf("there is\n%s\nand should be\n%s", is, stays)
			}
		})
	}
}

func tree(t *testing.T, dir string) string {
	t.Helper()
	var b strings.Builder
	err := filepath.WalkDir(dir, func(path string, _ os.DirEntry, err error) error {
		b.WriteString(path + "\n")
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return b.String()
}
