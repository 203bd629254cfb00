package spool

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"log/slog"

	"github.com/ebbgate/ebbgate/bridge"
	"github.com/ebbgate/ebbgate/internal/peers"
)

// smallDisk mounts a file system in memory: where it is full, touching a hole in a
// mapped file ends the process.
func smallDisk(t *testing.T, size int) string {
	t.Helper()
	peers.NeedRoot(t)
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size="+strconv.Itoa(size)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	return dir
}

// A start after a crash, on a disk with too little room to put the log right, says so
// and does not die of it; with room it has everything. The generation's index is
// there, lost commits in a power cut, or is gone.
func TestRecoveryWithoutRoom(t *testing.T) {
	t.Parallel()
	const n = 3000
	z := smallSizes()
	z.generation = 8 << 20 // all in one, so that much is to be written anew
	work := t.TempDir()
	s := openSized(t, work, z)
	for i := range n {
		var b bridge.Batch
		b.Append(record(i, up))
		b.Appends[0].Payload = append(b.Appends[0].Payload, bytes.Repeat([]byte{'x'}, 900)...)
		s.Commit(&b, nil)
	}
	fill(t, s, n, n+1, up)
	image := killed(t, work)
	closeTest(t, s)
	for name, harm := range map[string]func(dir string){
		"the index is behind": func(dir string) { remove(t, filepath.Join(dir, "*.mem")) },
		"the index is gone": func(dir string) {
			remove(t, filepath.Join(dir, "*.mem"))
			if err := os.WriteFile(filepath.Join(dir, "MANIFEST"), []byte("nothing"), 0o600); err != nil {
				t.Fatal(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			disk := smallDisk(t, 64<<20)
			refused := 0
			for left := int64(5 << 20); left <= 14<<20; left += 1 << 20 {
				dir := filepath.Join(disk, strconv.FormatInt(left, 10))
				if err := os.CopyFS(dir, os.DirFS(image)); err != nil {
					t.Fatal(err)
				}
				gens, _ := filepath.Glob(filepath.Join(dir, "log", "*"))
				harm(slices.Max(gens))
				remove(t, filepath.Join(dir, "BALLAST"))
				full := occupy(t, disk, left)
				o := DefaultOptions()
				o.Dir = dir
				begin := func() (*Spool, error) {
					return open(o, Deps{Log: slog.New(slog.DiscardHandler), Health: new(bridge.Health)}, z, time.Now)
				}
				s, err := begin()
				if bridge.KindOf(err) == bridge.Full {
					refused++
					remove(t, full)
					s, err = begin()
				}
				if err != nil {
					t.Fatalf("with %d bytes left: %v", left, err)
				}
				if got := drain(t, s, up, false); len(got) != n+1 || len(s.Missing()) > 0 {
					t.Errorf("with %d bytes left there are %d records, missing %v", left, len(got), s.Missing())
				}
				closeTest(t, s)
				remove(t, full)
				if err := os.RemoveAll(dir); err != nil {
					t.Fatal(err)
				}
			}
			if refused == 0 || refused == 10 {
				t.Errorf("%d of 10 starts were refused for want of room: it shows nothing", refused)
			}
			t.Logf("%d of 10 were refused", refused)
		})
	}
}

func remove(t *testing.T, pattern string) {
	t.Helper()
	names, err := filepath.Glob(pattern)
	for _, name := range names {
		if err == nil {
			err = os.Remove(name)
		}
	}
	if err != nil {
		t.Fatal(err)
	}
}

// occupy leaves so many bytes of a disk.
func occupy(t *testing.T, disk string, left int64) string {
	t.Helper()
	free, err := freeBytes(disk)
	if err != nil {
		t.Fatal(err)
	}
	f, err := os.Create(filepath.Join(disk, "other"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := unix.Fallocate(int(f.Fd()), 0, 0, free-left); err != nil {
		t.Fatal(err)
	}
	return f.Name()
}
