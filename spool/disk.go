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
		if statErr == nil {
			statErr = reserve(f, fi.Size())
		}
		err = errors.Join(err, statErr, f.Close())
	}
	return err
}

// ballast is a file whose only use is to be removed when the disk is full, so
// that a start finds the room that it needs.
func (s *Spool) ballastPath() string { return filepath.Join(s.opts.Dir, "BALLAST") }

// fillBallast makes the ballast when there is room for it above the headroom.
func (s *Spool) fillBallast() {
	free, err := freeBytes(s.opts.Dir)
	if err != nil || free < int64(s.opts.Headroom)+2*s.sizes.ballast {
		return
	}
	f, err := os.OpenFile(s.ballastPath(), os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return // it is there
	}
	err = errors.Join(unix.Fallocate(int(f.Fd()), 0, 0, s.sizes.ballast), f.Close())
	if err != nil {
		_ = os.Remove(s.ballastPath())
	}
}

// dropBallast frees the ballast when a start would not find room otherwise.
func (s *Spool) dropBallast() error {
	free, err := freeBytes(s.opts.Dir)
	if err != nil {
		return err
	}
	if free >= int64(s.opts.Headroom)/2 {
		return nil
	}
	if err := os.Remove(s.ballastPath()); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}
