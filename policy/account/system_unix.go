//go:build unix

package account

import (
	"errors"
	"os"
	"syscall"
)

// lockFile takes a lock that ends with the file descriptor, and so with the
// process: none is left over by a pull that was killed.
func lockFile(f *os.File) error {
	return syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
}

// syncFolder makes the names in a folder durable.
func syncFolder(path string) error {
	d, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
