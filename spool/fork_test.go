package spool

import (
	"testing"

	"golang.org/x/sys/unix"
)

// A process that is just being started has all descriptors until it is another
// program: a folder that was given back meanwhile is free.
func TestAFolderGivenBackIsFree(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	inherit := func(fd uintptr) {
		t.Helper()
		n, err := unix.Dup(int(fd)) // which shares the lock, as a fork does
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = unix.Close(n) })
	}
	for range 2 {
		s := openTest(t, dir)
		inherit(s.lock.Fd())
		closeTest(t, s)
		f, running, err := lockToRead(dir)
		if err != nil || running {
			t.Fatalf("closed, and still held: %v", err)
		}
		inherit(f.Fd())
		if err := release(f); err != nil {
			t.Fatal(err)
		}
	}
}
