package delivery

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// Keep has new versions leave room on their disk to messages and files of devices:
// missing says how many bytes have to be freed before n more may be written. It is asked
// before files are copied and, with 0, while they are; a version that does not fit leaves
// nothing. Call it before the first change.
func (l *Library) Keep(missing func(n int64) int64) { l.missing = missing }

// roomFor fails where n bytes more may not be written.
func (l *Library) roomFor(n int64) error {
	if l.missing == nil {
		return nil
	}
	short := l.missing(n)
	if short <= 0 {
		return nil
	}
	return fmt.Errorf("the disk of %s has no room for a copy of these files: free %d MiB more there; what is free otherwise stays so for messages and files of devices (spool.headroom, file_transfer.headroom)", l.dir, (short+1<<20-1)>>20)
}

// roomOf is what files take as a version. What cannot be read is for who copies it.
func roomOf(files []numbered) (n int64) {
	for _, f := range files {
		if info, err := os.Stat(f.path); err == nil && info.Mode().IsRegular() {
			size := info.Size() + (info.Size()/chunkSize+2)*4
			n += (size + 2*diskBlock - 1) / diskBlock * diskBlock
		}
	}
	return n
}

// removeUnfinished removes what commands that were killed have left of a stream.
func removeUnfinished(home string) error {
	entries, err := os.ReadDir(home)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), unfinishedPrefix) {
			if err := os.RemoveAll(filepath.Join(home, e.Name())); err != nil {
				return err
			}
		}
	}
	return nil
}
