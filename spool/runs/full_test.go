package runs

import (
	"errors"
	"fmt"
	"maps"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/ebbgate/ebbgate/internal/peers"
)

// TestFullDisk writes and merges until the disk is full: that is an error, and
// nothing is lost by it; with room it goes on.
func TestFullDisk(t *testing.T) {
	peers.NeedRoot(t)
	f := &folder{dir: t.TempDir()}
	if out, err := exec.Command("mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", f.dir).CombinedOutput(); err != nil {
		t.Fatalf("mount: %v: %s", err, out)
	}
	t.Cleanup(func() {
		if out, err := exec.Command("umount", f.dir).CombinedOutput(); err != nil {
			t.Errorf("umount: %v: %s", err, out)
		}
	})
	f.open(t)
	defer func() { _ = f.Close() }()
	want := map[string][]byte{}
	full := func() (mergeFailed bool) {
		for i := 0; ; i++ {
			c := changes{}
			for k := range 100 {
				c[fmt.Sprintf("%d/%d/%d", len(want), i, k)] = bytesOf(500)
			}
			err := f.Write(uint64(i), uint64(len(c)), c.sorted())
			if err == nil {
				maps.Copy(want, c)
			} else if !errors.Is(err, syscall.ENOSPC) {
				t.Fatal(err)
			}
			_, mergeErr := f.Merge()
			mergeFailed = mergeFailed || errors.Is(mergeErr, syscall.ENOSPC)
			if err != nil {
				return mergeFailed
			}
		}
	}
	if !full() {
		t.Error("no merge ever met the full disk: the test shows less than it says")
	}
	f.expect(t, want)
	_ = f.Close()
	f.open(t) // reading needs no room
	f.expect(t, want)
	if left, _ := filepath.Glob(filepath.Join(f.dir, "shelf", "*"+unfinished)); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
	if out, err := exec.Command("mount", "-o", "remount,size=16m", f.dir).CombinedOutput(); err != nil {
		t.Fatalf("remount: %v: %s", err, out)
	}
	c := changes{}
	for k := range want {
		c[k] = nil
	}
	f.write(t, 1, c)
	for again := true; again; {
		var err error
		if again, err = f.Merge(); err != nil {
			t.Fatal(err)
		}
	}
	f.expect(t, nil)
	if n := f.size(); n > worthIt {
		t.Errorf("%d bytes are not given back", n)
	}
}
