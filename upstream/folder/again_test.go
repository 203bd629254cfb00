package folder

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ebbgate/ebbgate/bridge"
)

// A folder that was removed while the gateway runs is made again, and one that
// somebody has made anew is taken; where the parent is gone too, the error names the
// folder and what to do.
func TestRemovedFolder(t *testing.T) {
	parent := filepath.Join(t.TempDir(), "disk")
	dir := filepath.Join(parent, "exports")
	d := opened(t, Options{Dir: dir, Layout: layoutEMQX})
	put := func(id string) {
		t.Helper()
		place, err := d.Put(t.Context(), file("c", id, "a.txt", "hello"))
		if err != nil {
			t.Fatal(err)
		}
		wantText(t, filepath.Join(dir, filepath.FromSlash(place)), "hello")
	}
	put("f1")
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	put("f2")
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	put("f3")
	if err := os.RemoveAll(parent); err != nil {
		t.Fatal(err)
	}
	_, err := d.Put(t.Context(), file("c", "f4", "a.txt", "hello"))
	if bridge.KindOf(err) != bridge.Unavailable || !strings.Contains(err.Error(), dir) || !strings.Contains(err.Error(), "make it again") {
		t.Errorf("without its parent: %v", err)
	}
	if _, err := os.Stat(parent); !os.IsNotExist(err) {
		t.Errorf("the parent was made: %v", err)
	}
}

// What is put in the folder's place on another disk is not written to.
func TestFolderOnAnotherDisk(t *testing.T) {
	other, err := os.MkdirTemp("/dev/shm", "folder")
	if err != nil {
		t.Skip("no other disk here: ", err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(other) })
	dir := filepath.Join(t.TempDir(), "exports")
	d := opened(t, Options{Dir: dir, Layout: layoutEMQX})
	was, err := os.Stat(dir)
	if err != nil {
		t.Fatal(err)
	}
	if is, err := os.Stat(other); err != nil || device(is) == device(was) {
		t.Skip("no other disk here: ", err)
	}
	if err := os.Remove(dir); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(other, dir); err != nil {
		t.Fatal(err)
	}
	if _, err := d.Put(t.Context(), file("c", "f", "a.txt", "hello")); err == nil || !strings.Contains(err.Error(), "is on another disk") {
		t.Errorf("on another disk: %v", err)
	}
}
