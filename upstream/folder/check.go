package folder

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"syscall"
	"time"
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
		_ = sweepChecks(at, time.Now()) // what is wrong there the try will tell
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

// What a check makes: a folder with a number of its own, and in it a file that has one
// name and then the other.
const (
	checkPrefix = leftovers + "-check-"
	checkGrows  = "growing"
	checkDone   = "done"
)

// checkLasts is longer than any check takes. What one that was killed has left is older,
// or from the future of a clock that was wrong.
const checkLasts = time.Hour

// sweepChecks removes from a folder what checks have left there that were killed. What is
// not exactly as they make it is somebody's own, and stays.
func sweepChecks(dir string, now time.Time) error {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer func() { _ = root.Close() }() // only names
	in, err := root.Open(".")
	if err != nil {
		return err
	}
	defer func() { _ = in.Close() }() // only read
	var errs []error
	for {
		names, err := in.Readdirnames(1000)
		for _, name := range names {
			number, ok := strings.CutPrefix(name, checkPrefix)
			if ok && number != "" && strings.Trim(number, "0123456789") == "" {
				errs = append(errs, sweepCheck(root, name, now))
			}
		}
		if errors.Is(err, io.EOF) {
			return errors.Join(errs...)
		}
		if err != nil {
			return err
		}
	}
}

// sweepCheck removes one of them.
func sweepCheck(root *os.Root, name string, now time.Time) error {
	info, err := root.Lstat(name)
	if err != nil || !info.IsDir() || now.Sub(info.ModTime()).Abs() < checkLasts {
		return err
	}
	in, err := root.Open(name)
	if err != nil {
		return err
	}
	inside, err := in.ReadDir(2)
	if err := errors.Join(err, in.Close()); err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	if len(inside) > 0 {
		file := inside[0]
		if len(inside) > 1 || file.Name() != checkGrows && file.Name() != checkDone || !file.Type().IsRegular() {
			return nil
		}
		if err := root.Remove(path.Join(name, file.Name())); err != nil {
			return err
		}
	}
	return root.Remove(name)
}

// try makes a folder, a file in it under one name and then another, synced, and
// removes it all.
func try(dir string) (err error) {
	sub, err := os.MkdirTemp(dir, checkPrefix)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(sub)) }()
	growing := filepath.Join(sub, checkGrows)
	f, err := os.OpenFile(growing, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o640)
	if err != nil {
		return err
	}
	_, err = f.WriteString("ebbgate config check --connect\n")
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := os.Rename(growing, filepath.Join(sub, checkDone)); err != nil {
		return err
	}
	return syncFolder(sub)
}
