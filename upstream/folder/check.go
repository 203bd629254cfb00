package folder

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// Check finds out whether files could be put into the folder by who runs this, and
// leaves nothing: what an export does there is done in a folder that is removed again.
// A folder that is not there yet is tried where it would be made.
func Check(o Options) error {
	if _, err := parseLayout(o.Layout); err != nil {
		return err
	}
	at, err := nearest(o.Dir)
	if err == nil {
		err = try(at)
	}
	if err == nil {
		return nil
	}
	remedy := "correct file_transfer.export.dir"
	switch {
	case errors.Is(err, fs.ErrPermission):
		remedy = "give it to the user who runs the gateway, or correct file_transfer.export.dir"
	case errors.Is(err, syscall.EROFS):
		remedy = "mount it to be written to, or correct file_transfer.export.dir"
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		remedy = "make room there"
	}
	return fmt.Errorf("the folder of exported files, %s, cannot be written to: %w; %s", o.Dir, err, remedy)
}

// nearest is the folder itself, or the one in which the first that is missing on the
// way to it would be made.
func nearest(dir string) (string, error) {
	for {
		info, err := os.Stat(dir)
		switch {
		case err == nil && !info.IsDir():
			return "", fmt.Errorf("%s is no folder", dir)
		case err == nil:
			return dir, nil
		case !errors.Is(err, fs.ErrNotExist) || filepath.Dir(dir) == dir:
			return "", err
		}
		if _, err := os.Lstat(dir); err == nil { // nothing can be made at that name
			return "", fmt.Errorf("%s is a link to what is not there", dir)
		}
		dir = filepath.Dir(dir)
	}
}

// try makes a folder, a file in it under one name and then another, synced, and
// removes it all.
func try(dir string) (err error) {
	sub, err := os.MkdirTemp(dir, leftovers+"-check-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(sub)) }()
	growing := filepath.Join(sub, "growing")
	f, err := os.OpenFile(growing, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o640)
	if err != nil {
		return err
	}
	_, err = f.WriteString("ebbgate config check --connect\n")
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := os.Rename(growing, filepath.Join(sub, "done")); err != nil {
		return err
	}
	return syncFolder(sub)
}
