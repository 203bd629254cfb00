package folder

import (
	"os"
	"path/filepath"
	"strconv"
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

// A folder that is moved away gets no more files, whether they are renamed or copied:
// they go to what is called so then, which is made anew where there is nothing. What is
// no folder is told, and holds all files up.
func TestMovedFolder(t *testing.T) {
	parent := t.TempDir()
	dir, segments := filepath.Join(parent, "exports"), filepath.Join(parent, "segments")
	d := opened(t, Options{Dir: dir, Layout: "${clientid}/${fileid}/${name}"})
	put := func(id string, renamed bool) {
		t.Helper()
		f := file("c", id, "a.txt", "hello")
		if renamed {
			f.Path = segments
			if err := os.WriteFile(segments, []byte("hello"), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		place, err := d.Put(t.Context(), f)
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range []string{place, place + bridge.ManifestSuffix} {
			if _, err := os.Stat(filepath.Join(dir, name)); err != nil {
				t.Error(err)
			}
		}
	}
	for i, renamed := range []bool{false, true} {
		put("before", renamed)
		if err := os.Rename(dir, filepath.Join(parent, "old"+strconv.Itoa(i))); err != nil {
			t.Fatal(err)
		}
		if renamed {
			if err := os.MkdirAll(filepath.Join(dir, "c"), 0o700); err != nil {
				t.Fatal(err)
			}
		}
		put("after", renamed)
		if old, err := os.ReadDir(filepath.Join(parent, "old"+strconv.Itoa(i), "c")); err != nil || len(old) != 1+i {
			t.Errorf("in the folder that was moved away: %v, %v", old, err)
		}
	}
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(dir, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := d.Put(t.Context(), file("c", "f", "a.txt", "hello")); bridge.KindOf(err) != bridge.Unavailable || !strings.Contains(err.Error(), dir+", is not a folder") {
		t.Errorf("%v", err)
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
