package spool

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"

	"golang.org/x/sys/unix"
)

// freeBytes is what an unprivileged program may still write below dir.
func freeBytes(dir string) (int64, error) {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return 0, fmt.Errorf("free space of %s: %w", dir, err)
	}
	return int64(st.Bavail * uint64(st.Bsize)), nil
}

// usedBytes is what the files below dir occupy on the disk.
func usedBytes(dir string) int64 {
	var n int64
	_ = filepath.WalkDir(dir, func(_ string, e os.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return nil // a file that goes while we count is no error
		}
		if fi, err := e.Info(); err == nil {
			if st, ok := fi.Sys().(*syscall.Stat_t); ok {
				n += st.Blocks * 512
			}
		}
		return nil
	})
	return n
}

// syncDir makes the names in a folder durable.
func syncDir(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

// reserve gives a file real blocks for its first n bytes, so that writing to
// it through a map cannot meet a full disk, which would end the process.
func reserve(f *os.File, n int64) error {
	err := unix.Fallocate(int(f.Fd()), unix.FALLOC_FL_KEEP_SIZE, 0, n)
	if errors.Is(err, unix.EOPNOTSUPP) {
		return nil // the headroom has to do
	}
	return err
}

// reserveMemtable gives the memtable files of a Badger real blocks, see
// [reserve]. They are as large as Badger has made them.
func reserveMemtable(dir string) error {
	names, err := filepath.Glob(filepath.Join(dir, "*.mem"))
	for _, name := range names {
		f, openErr := os.OpenFile(name, os.O_RDWR, 0)
		if openErr != nil {
			continue // flushed and gone meanwhile
		}
		fi, statErr := f.Stat()
		if statErr == nil && fi.Size() > 0 { // or it is being deleted
			statErr = reserve(f, fi.Size())
		}
		err = errors.Join(err, statErr, f.Close())
	}
	return err
}
