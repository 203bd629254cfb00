package delivery

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
)

func openTestCache(t *testing.T, dir, account string, limit int64) *Cache {
	t.Helper()
	c, err := OpenCache(dir, account, limit)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func chunkOf(n int64) (chunkKey, []byte) {
	return chunkKey{"fw", 1, "e", 0, n}, bytes.Repeat([]byte{byte(n)}, chunkSize)
}

// TestCacheIsBounded: what was not used for the longest time makes room, after a
// start too.
func TestCacheIsBounded(t *testing.T) {
	dir := t.TempDir()
	const room = 4 * (chunkSize + 4)
	c := openTestCache(t, dir, "a", room)
	put := func(n int64) {
		t.Helper()
		k, b := chunkOf(n)
		if err := c.put(k, b); err != nil {
			t.Fatal(err)
		}
	}
	for n := range int64(4) {
		put(n)
	}
	first, want := chunkOf(0)
	if got := c.get(first, chunkSize); !bytes.Equal(got, want) {
		t.Error("the first chunk is gone")
	}
	put(4)
	put(4)
	second, _ := chunkOf(1)
	if !c.has(first) || c.has(second) || c.size() != room {
		t.Errorf("%d bytes; the first %v, the second %v", c.size(), c.has(first), c.has(second))
	}
	c = openTestCache(t, dir, "a", room/2)
	if c.size() > room/2 {
		t.Errorf("%d bytes after a start with less room", c.size())
	}
	files, err := filepath.Glob(filepath.Join(c.dir, "fw", "1-e", "*"))
	if err != nil || len(files) != 2 {
		t.Errorf("%v %v", files, err)
	}
}

// TestCacheSeesDamage: a chunk that is not what was put there is gone, whether it
// was damaged, cut short or moved.
func TestCacheSeesDamage(t *testing.T) {
	for name, harm := range map[string]func(path string, b []byte) error{
		"a flipped bit": func(path string, b []byte) error { b[7] ^= 1; return os.WriteFile(path, b, 0o600) },
		"cut short":     func(path string, b []byte) error { return os.WriteFile(path, b[:100], 0o600) },
		"empty":         func(path string, _ []byte) error { return os.WriteFile(path, nil, 0o600) },
		"of another chunk": func(path string, _ []byte) error {
			other, err := os.ReadFile(filepath.Join(filepath.Dir(path), "0-1"))
			if err != nil {
				return err
			}
			return os.WriteFile(path, other, 0o600)
		},
	} {
		c := openTestCache(t, t.TempDir(), "a", 1<<30)
		for n := range int64(2) {
			k, b := chunkOf(n)
			if err := c.put(k, b); err != nil {
				t.Fatal(err)
			}
		}
		k, _ := chunkOf(0)
		b, err := os.ReadFile(c.path(k))
		if err == nil {
			err = harm(c.path(k), b)
		}
		if err != nil {
			t.Fatal(err)
		}
		if c.get(k, chunkSize) != nil || c.has(k) {
			t.Errorf("%s: it is served", name)
		}
	}
}

// TestCacheKnowsVersionsAndAccounts: a version that is dropped leaves nothing, and
// neither does another account.
func TestCacheKnowsVersionsAndAccounts(t *testing.T) {
	dir := t.TempDir()
	c := openTestCache(t, dir, "a", 1<<30)
	version := func(v int) *Stream {
		return &Stream{ID: "fw", Version: v, Files: []File{{ID: 0, Size: 1}}}
	}
	for v := range 3 {
		if err := c.put(version(v).key(0, 0), []byte("x")); err != nil {
			t.Fatal(err)
		}
	}
	if err := c.remember("fw", version(2)); err != nil {
		t.Fatal(err)
	}
	c.drop("fw", version(2))
	if c.has(version(0).key(0, 0)) || !c.has(version(2).key(0, 0)) || c.recall("fw").Version != 2 || c.recall("other") != nil {
		t.Error("the wrong versions are there")
	}
	unfinished := filepath.Join(filepath.Dir(c.path(version(2).key(0, 0))), unfinishedPrefix+"1")
	if err := os.WriteFile(unfinished, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	c = openTestCache(t, dir, "a", 1<<30)
	if _, err := os.Stat(unfinished); err == nil || !c.has(version(2).key(0, 0)) {
		t.Error("a start keeps what is unfinished, or loses what is whole")
	}
	b := openTestCache(t, dir, "b", 1<<30)
	if left, err := os.ReadDir(filepath.Dir(b.dir)); err != nil || len(left) != 1 || b.size() != 0 || b.recall("fw") != nil {
		t.Errorf("%v %v", left, err)
	}
}

// TestLibraryRefuses what cannot be a stream.
func TestLibraryRefuses(t *testing.T) {
	s := openSite(t)
	file := s.write("f", []byte("x"))
	long := string(bytes.Repeat([]byte{'x'}, maxDescription+1))
	for name, c := range map[string]struct {
		id     string
		change Change
	}{
		"a name":            {"../x", Change{Paths: []string{file}}},
		"no file":           {"a", Change{}},
		"an empty folder":   {"a", Change{Paths: []string{t.TempDir()}}},
		"what is not there": {"a", Change{Paths: []string{file + "x"}}},
		"a number twice":    {"a", Change{Paths: []string{"3=" + file, "3=" + file}}},
		"a number too high": {"a", Change{Paths: []string{"256=" + file}}},
		"a description":     {"a", Change{Paths: []string{file}, Description: &long}},
		"a device":          {"a", Change{Paths: []string{os.DevNull}}},
	} {
		if got, err := s.library.Create(t.Context(), c.id, c.change); err == nil {
			t.Errorf("%s: %+v", name, got)
		}
	}
	if all, err := s.library.List(); err != nil || len(all) > 0 {
		t.Errorf("%v %v", all, err)
	}
}
