package folder

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// steady writes to a file so that the disk has each piece before the next one
// begins. A gigabyte that is written out by the sync at its end keeps the disk from
// the messages' syncs for as long as it takes.
type steady struct {
	out   *os.File
	room  func(n int64) error // of others; nil: nobody asks
	at    int64               // written
	clean int64               // that the disk has
}

// steadyPiece is how much the disk gets at a time.
const steadyPiece = 256 << 10

// Write implements io.Writer.
func (w *steady) Write(b []byte) (int, error) {
	n, err := w.out.Write(b)
	w.at += int64(n)
	if err != nil || w.at-w.clean < steadyPiece {
		return n, err
	}
	const all = unix.SYNC_FILE_RANGE_WAIT_BEFORE | unix.SYNC_FILE_RANGE_WRITE | unix.SYNC_FILE_RANGE_WAIT_AFTER
	switch err := unix.SyncFileRange(int(w.out.Fd()), w.clean, w.at-w.clean, all); {
	case err == nil, errors.Is(err, unix.EINTR), errors.Is(err, unix.EINVAL), errors.Is(err, unix.ENOSYS), errors.Is(err, unix.ESPIPE): // the sync at the end does it all the same
	default:
		return n, err
	}
	w.clean = w.at
	if w.room != nil {
		err = w.room(0) // others may have filled the disk meanwhile
	}
	return n, err
}
