package delivery

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// What is made here can be read by its group.
const (
	folderMode     = 0o750
	definitionMode = 0o640
)

// bequeath gives what root has made to the owner of the folder that it is in: the
// gateway is another user, and has to read it.
func bequeath(path string) error {
	if os.Geteuid() != 0 {
		return nil // what it makes is its own
	}
	info, err := os.Stat(filepath.Dir(path))
	if err != nil {
		return err
	}
	if of, ok := info.Sys().(*syscall.Stat_t); ok {
		return os.Lchown(path, int(of.Uid), int(of.Gid))
	}
	return nil
}

// makeFolders makes a folder and those above it.
func makeFolders(path string) error {
	err := os.Mkdir(path, folderMode)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		if err := makeFolders(filepath.Dir(path)); err != nil {
			return err
		}
		return makeFolders(path)
	case errors.Is(err, fs.ErrExist):
		if info, err := os.Stat(path); err != nil || !info.IsDir() {
			return &fs.PathError{Op: "mkdir", Path: path, Err: syscall.ENOTDIR}
		}
		return nil
	case err != nil:
		return err
	}
	return bequeath(path)
}

// makeWork makes a folder for a version that is not finished.
func makeWork(home string) (string, error) {
	work, err := os.MkdirTemp(home, unfinishedPrefix)
	if err != nil {
		return "", err
	}
	return work, errors.Join(os.Chmod(work, folderMode), bequeath(work))
}
