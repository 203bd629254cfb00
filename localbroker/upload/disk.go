package upload

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// syncData makes what was written to a file durable, and of its metadata what
// reading it needs.
func syncData(f *os.File) error {
	for {
		if err := unix.Fdatasync(int(f.Fd())); err != unix.EINTR {
			return err
		}
	}
}

// writeOut has a part of a file written to the disk and waits for it. It promises
// nothing: syncData, which follows, finds little left to do.
func writeOut(f *os.File, at, n int64) error {
	const all = unix.SYNC_FILE_RANGE_WAIT_BEFORE | unix.SYNC_FILE_RANGE_WRITE | unix.SYNC_FILE_RANGE_WAIT_AFTER
	for {
		switch err := unix.SyncFileRange(int(f.Fd()), at, n, all); {
		case err == unix.EINTR:
		case errors.Is(err, unix.EINVAL), errors.Is(err, unix.ENOSYS), errors.Is(err, unix.ESPIPE):
			return nil // this file system has no such thing
		default:
			return err
		}
	}
}

// dropCache makes the next reads of a file come from the disk: what the kernel
// could not write may stand in its memory as if it had.
func dropCache(f *os.File) { _ = unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_DONTNEED) } // advice
