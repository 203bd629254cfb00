package folder

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"github.com/ebbgate/ebbgate/bridge"
)

// again finds the folder again after somebody has removed it or put another in its
// place, as who rotates folders does; while it is the same it does nothing. It is made where its
// parent is there, unless that would put files on another disk than before: then
// something was mounted here, and files would fill what is below it.
func (d *Folder) again() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	gone := func(what string) error {
		return bridge.Errorf(bridge.OpExport, bridge.Unavailable, "the folder of exported files, %s, %s", d.dir, what)
	}
	was, err := d.at.Stat(".")
	if err != nil {
		return gone("is gone: mount it or make it again, and start the gateway anew")
	}
	is, err := os.Stat(d.dir)
	if errors.Is(err, fs.ErrNotExist) {
		parent := filepath.Dir(d.dir)
		above, err := os.Stat(parent)
		if err != nil || device(above) != device(was) {
			return gone("is gone, and its parent is not what it was: mount it or make it again")
		}
		if err := os.Mkdir(d.dir, 0o750); err != nil && !errors.Is(err, fs.ErrExist) {
			return gone("is gone, and cannot be made again: " + err.Error())
		}
		if err := syncFolder(parent); err != nil {
			return err
		}
		is, err = os.Stat(d.dir)
		if err != nil {
			return gone("is gone: make it again")
		}
	} else if err != nil {
		return gone("cannot be looked at: " + err.Error())
	}
	if os.SameFile(was, is) {
		return nil // something else is missing
	}
	if !is.IsDir() {
		return gone("is not a folder any more: make it one again")
	}
	if device(is) != device(was) {
		return gone("is on another disk than when the gateway started: mount what was there, or start the gateway anew")
	}
	root, err := os.OpenRoot(d.dir)
	if err != nil {
		return fmt.Errorf("folder of exported files: %w", err)
	}
	old := d.at
	d.at = root
	return old.Close() // what uses it yet keeps it open
}

// root is the folder as it is now.
func (d *Folder) root() *os.Root {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.at
}

func device(i fs.FileInfo) uint64 {
	if st, ok := i.Sys().(*syscall.Stat_t); ok {
		return uint64(st.Dev) //nolint:unconvert // of another width on some platforms
	}
	return 0
}

func syncFolder(name string) error {
	f, err := os.Open(name)
	if err != nil {
		return fmt.Errorf("export: %w", err)
	}
	if err := errors.Join(f.Sync(), f.Close()); err != nil {
		return fmt.Errorf("export: sync %s: %w", name, err)
	}
	return nil
}
