package main

import (
	"os"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/ebbgate/ebbgate/bridge"
	"github.com/ebbgate/ebbgate/configs"
)

// diskRoom is the room on a folder's disk for what can wait, or can be had again. So
// much of the disk stays free, for messages.
type diskRoom struct {
	dir   string
	keep  bridge.Size
	spool string // the folder of the messages
}

// missing is how many bytes have to be freed before n more may be written. 0 is none:
// also where nobody can tell, as the write then says what is wrong.
func (d diskRoom) missing(n int64) int64 {
	var st unix.Statfs_t
	if unix.Statfs(d.dir, &st) != nil {
		return 0
	}
	keep := int64(d.keep)
	if !sameDisk(d.dir, d.spool) { // no message needs it, and it may be small
		keep = min(keep, int64(st.Blocks)*st.Bsize/10) //nolint:gosec // counts of blocks
	}
	return max(keep+n-int64(st.Bavail)*st.Bsize, 0) //nolint:gosec // as above
}

// sameDisk reports whether what is written below one folder is missing below the other.
func sameDisk(a, b string) bool {
	ofA, err := os.Stat(a)
	if err != nil {
		return false
	}
	ofB, err := os.Stat(b)
	if err != nil {
		return false
	}
	statA, okA := ofA.Sys().(*syscall.Stat_t)
	statB, okB := ofB.Sys().(*syscall.Stat_t)
	return okA && okB && statA.Dev == statB.Dev
}

// besideFiles is how much more than files leave free the cache of streams does, so that
// it has made room before a file is refused.
const besideFiles = 64 << 20

// roomOfCache is the room for the cache of streams, which can be fetched again and goes
// before messages and files of devices have to wait.
func roomOfCache(cfg *configs.Config) diskRoom {
	keep := 2 * cfg.Spool.Headroom
	if cfg.FileTransfer.Enabled {
		keep = max(keep, cfg.FileTransfer.Headroom+besideFiles)
	}
	return diskRoom{cfg.Streams.Dir, keep, cfg.Spool.Dir}
}

// roomOfStreams is the room for the files of streams that are defined here.
func roomOfStreams(cfg *configs.Config) diskRoom {
	keep := 2 * cfg.Spool.Headroom // some for the messages of the time until somebody looks
	if cfg.FileTransfer.Enabled {
		keep = max(keep, cfg.FileTransfer.Headroom)
	}
	return diskRoom{cfg.Streams.Dir, keep, cfg.Spool.Dir}
}

// roomOfExports is the room for copies of exported files. What was taken is kept where it
// is until then.
func roomOfExports(cfg *configs.Config) diskRoom {
	return diskRoom{cfg.FileTransfer.Export.Folder.Dir, cfg.FileTransfer.Headroom, cfg.Spool.Dir}
}

// take fails where n bytes more may not be written.
func (d diskRoom) take(n int64) error {
	missing := d.missing(n)
	if missing == 0 {
		return nil
	}
	return bridge.Errorf(bridge.OpExport, bridge.Full, "the disk of %s has no room for a copy of it: free %d MiB more there (file_transfer.headroom, %v, stays free for messages)", d.dir, (missing+1<<20-1)>>20, d.keep)
}
