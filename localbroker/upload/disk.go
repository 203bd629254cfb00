package upload

import (
	"errors"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// syncData makes what was written to a file durable, and of its metadata what
// reading it needs.
func syncData(f *os.File) error {
	for {
		if err := syscall.Fdatasync(int(f.Fd())); err != syscall.EINTR {
			return err
		}
	}
}

// writeOut has a part of a file written to the disk and waits for it. It promises
// nothing: syncData, which follows, finds little left to do.
func writeOut(f *os.File, at, n int64) error {
	const waitBefore, write, waitAfter = 1, 2, 4 // sync_file_range(2)
	for {
		switch err := syscall.SyncFileRange(int(f.Fd()), at, n, waitBefore|write|waitAfter); err {
		case syscall.EINTR:
		case syscall.EINVAL, syscall.ENOSYS, syscall.ESPIPE:
			return nil // this file system has no such thing
		default:
			return err
		}
	}
}

// dropCache makes the next reads of a file come from the disk: what the kernel
// could not write may stand in its memory as if it had.
func dropCache(f *os.File) {
	const dontNeed = 4                                                              // posix_fadvise(2)
	_, _, _ = syscall.Syscall6(syscall.SYS_FADVISE64, f.Fd(), 0, 0, dontNeed, 0, 0) // it is advice
}

// punch gives back what a stretch of a file takes of the disk; it reads as zeros.
func punch(f *os.File, at, length int64) error {
	for {
		err := unix.Fallocate(int(f.Fd()), unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, at, length)
		if !errors.Is(err, unix.EINTR) {
			return os.NewSyscallError("fallocate", err)
		}
	}
}
