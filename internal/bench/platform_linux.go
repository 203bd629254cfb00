package main

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// sectorSize is the unit of a block device's stat, whatever its own sectors are.
const sectorSize = 512

// checkPlatform says why nothing can be measured here.
func checkPlatform() error { return nil }

// childAttr makes a child of its own group, so that Ctrl-C is ours alone, that
// ends when we do.
func childAttr() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}

// diskName names the file system of dir; it refuses one in memory, whose syncs
// cost nothing.
func diskName(dir string) (string, error) {
	var s unix.Statfs_t
	if err := unix.Statfs(dir, &s); err != nil {
		return "", err
	}
	switch s.Type {
	case unix.TMPFS_MAGIC, unix.RAMFS_MAGIC:
		return "", fmt.Errorf("%s is in memory, where a sync costs nothing and proves nothing: give --dir a folder on a disk", dir)
	case unix.EXT4_SUPER_MAGIC:
		return "ext4", nil
	case unix.XFS_SUPER_MAGIC:
		return "xfs", nil
	case unix.BTRFS_SUPER_MAGIC:
		return "btrfs", nil
	case unix.OVERLAYFS_SUPER_MAGIC:
		return "overlayfs", nil
	}
	return fmt.Sprintf("file system %#x", s.Type), nil
}

// syncData syncs what was written to a file, and of its metadata only what
// reading it needs.
func syncData(f *os.File) error { return unix.Fdatasync(int(f.Fd())) }

// reserve gives a file n bytes of the disk, for what will be written to it.
func reserve(f *os.File, n int64) error {
	err := unix.Fallocate(int(f.Fd()), unix.FALLOC_FL_KEEP_SIZE, 0, n)
	if errors.Is(err, unix.EOPNOTSUPP) {
		return nil // the gateway does without as well
	}
	return err
}

// syncFileSystem writes everything of dir's file system to its device.
func syncFileSystem(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(unix.Syncfs(int(f.Fd())), f.Close())
}

// deviceWritten is how much has been written to the block device of dir's file
// system since the machine started, in bytes.
func deviceWritten(dir string) (int64, error) {
	var s unix.Stat_t
	if err := unix.Stat(dir, &s); err != nil {
		return 0, err
	}
	path := fmt.Sprintf("/sys/dev/block/%d:%d/stat", unix.Major(s.Dev), unix.Minor(s.Dev))
	text, err := os.ReadFile(path)
	if err != nil {
		return 0, err
	}
	const sectorsWritten = 6
	fields := strings.Fields(string(text))
	if len(fields) <= sectorsWritten {
		return 0, fmt.Errorf("%s is too short", path)
	}
	n, err := strconv.ParseInt(fields[sectorsWritten], 10, 64)
	if err != nil {
		return 0, fmt.Errorf("%s: %w", path, err)
	}
	return n * sectorSize, nil
}

// diskUsage is what the files below dir occupy, in bytes, as du counts.
// Files that go while it looks are not counted.
func diskUsage(dir string) (total int64, err error) {
	err = filepath.WalkDir(dir, func(_ string, e fs.DirEntry, err error) error {
		if err == nil {
			var info fs.FileInfo
			if info, err = e.Info(); err == nil {
				total += info.Sys().(*syscall.Stat_t).Blocks * sectorSize
			}
		}
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		return err
	})
	return total, err
}

// setLowWater lets a reader of conn be woken only when so many bytes have come.
func setLowWater(conn net.Conn, bytes int) error {
	raw, err := conn.(syscall.Conn).SyscallConn()
	if err != nil {
		return err
	}
	var failed error
	err = raw.Control(func(fd uintptr) {
		failed = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVLOWAT, bytes)
	})
	return errors.Join(err, failed)
}

// sleepUntil waits until the monotonic clock is d past start. It blocks the
// thread: the runtime's timers are a millisecond late when the machine idles.
func sleepUntil(start time.Time, d time.Duration) {
	for left := d - time.Since(start); left > 0; left = d - time.Since(start) {
		ts := unix.NsecToTimespec(int64(left))
		_ = unix.Nanosleep(&ts, nil) // interrupted: the loop sleeps the rest
	}
}
