package spool

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// fdatasync makes a file's data durable. What a program wrote through a map of
// the file is included.
func fdatasync(f *os.File) error {
	for {
		err := unix.Fdatasync(int(f.Fd()))
		if !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}
