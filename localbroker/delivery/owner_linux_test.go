package delivery

import (
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"syscall"
	"testing"

	"github.com/ebbgate/ebbgate/bridge"
)

// nobody is a user that root is not.
const nobody = 65534

// asNobody runs fn as another user sees the disk.
func asNobody(t *testing.T, fn func()) {
	t.Helper()
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // and the thread ends with the goroutine
		err := syscall.Setfsgid(nobody)
		if err == nil {
			err = syscall.Setfsuid(nobody)
		}
		if err == nil {
			fn()
		}
		done <- err
	}()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}

func needRoot(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root: nobody else makes files for others")
	}
}

// TestMadeByRoot: what root defines belongs to the owner of the folder, who is the
// gateway's user, and the gateway serves it.
func TestMadeByRoot(t *testing.T) {
	needRoot(t)
	home := t.TempDir()
	if err := os.Chown(home, nobody, nobody); err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{filepath.Dir(home), home} {
		if err := os.Chmod(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	file := filepath.Join(t.TempDir(), "fw")
	if err := os.WriteFile(file, []byte("firmware"), 0o600); err != nil {
		t.Fatal(err)
	}
	l := OpenLibrary(filepath.Join(home, "state", "streams"))
	text := "text"
	_, err := l.Create(t.Context(), "fw", Change{Paths: []string{file}})
	if err == nil {
		_, err = l.Update(t.Context(), "fw", Change{Description: &text})
	}
	if err != nil {
		t.Fatal(err)
	}
	err = filepath.WalkDir(home, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		if of := info.Sys().(*syscall.Stat_t); of.Uid != nobody || of.Gid != nobody {
			t.Errorf("%s belongs to %d:%d", path, of.Uid, of.Gid)
		}
		if info.Mode().Perm()&0o040 == 0 {
			t.Errorf("%s cannot be read by its group: %v", path, info.Mode())
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	asNobody(t, func() {
		l := OpenLibrary(filepath.Join(home, "state", "streams"))
		s, err := l.stream("fw")
		if err != nil {
			t.Error(err)
			return
		}
		if b, err := l.chunk(t.Context(), s, s.file(0), 0); err != nil || string(b) != "firmware" {
			t.Errorf("%q %v", b, err)
		}
	})
}

// TestUnreadable: streams that the gateway's user may not read keep nobody from those of
// the cloud, and are told, once.
func TestUnreadable(t *testing.T) {
	needRoot(t)
	s := openSite(t).defined()
	a := newAWS(t)
	a.put("fw", 1, []byte("firmware"))
	s.service.deps.Cloud = a.site(t.TempDir())
	for _, dir := range []string{filepath.Dir(s.dir), s.dir} {
		if err := os.Chmod(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	find := func(id string) (err error) {
		asNobody(t, func() { _, _, err = s.service.find(t.Context(), "pump-7", id) })
		return err
	}
	warned := func() (n int) {
		for _, w := range s.health.Warnings() {
			if w.Code == unreadableWarning {
				n++
			}
		}
		return n
	}
	if err := find("fw"); err != nil || warned() != 1 {
		t.Errorf("of the cloud: %v, %d warnings", err, warned())
	}
	if err := os.Chmod(filepath.Dir(s.library.dir), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(s.library.dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := find("fw"); err != nil || warned() != 0 {
		t.Errorf("of the cloud: %v, %d warnings", err, warned())
	}
	if err := find("S1"); !errors.Is(err, fs.ErrPermission) {
		t.Errorf("the one that is defined here, and cannot be read: %v", err)
	}
}

// TestNoCache: a folder that cannot be written to costs the cache, and nothing else.
func TestNoCache(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	cache, err := OpenCache(filepath.Join(file, "streams"), "account", 1<<20)
	if err == nil || cache == nil {
		t.Fatalf("%v, %v", cache, err)
	}
	a := newAWS(t)
	a.put("fw", 1, []byte("firmware"))
	health := new(bridge.Health)
	c := NewCloud(DefaultOptions().Cloud, a.client, cache, health, slog.New(slog.DiscardHandler))
	defer c.Close()
	c.Unkept(err)
	if got := c.file(t, "fw", 1); string(got) != "firmware" {
		t.Errorf("%q", got)
	}
	if w := health.Warnings(); len(w) != 1 || w[0].Code != cacheWarning {
		t.Errorf("%+v", w)
	}
}
