package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
)

// volume is a folder whose writes are counted at its block device. As root it
// is an ext4 of its own on a loop device, so that every byte counted is the
// gateway's or its file system's; else it is a plain folder on a disk that
// others write to as well.
type volume struct {
	dir   string
	image string // empty: a plain folder
	why   string // it is one
}

// newVolume makes a volume of the given size in bytes, sparse, below dir.
func newVolume(ctx context.Context, dir string, size int64) (*volume, error) {
	home, err := os.MkdirTemp(dir, "volume-")
	if err != nil {
		return nil, err
	}
	v := &volume{dir: home, why: "not root"}
	if os.Geteuid() != 0 {
		return v, nil
	}
	image := home + ".img"
	f, err := os.Create(image)
	if err != nil {
		return nil, err
	}
	if err := errors.Join(f.Truncate(size), f.Close()); err != nil {
		return nil, err
	}
	// Nothing is left for the kernel to initialise later: it would be counted.
	err = command(ctx, "mkfs.ext4", "-q", "-F", "-m", "0", "-E", "lazy_itable_init=0,lazy_journal_init=0", image)
	if err == nil {
		err = command(ctx, "mount", "-o", "loop,noatime", image, home)
	}
	if err != nil { // a container may not mount
		v.why = err.Error()
		return v, os.Remove(image)
	}
	v.image = image
	return v, nil
}

// command runs a program of the system to its end.
func command(ctx context.Context, name string, args ...string) error {
	program, err := findProgram(name)
	if err != nil {
		return err
	}
	if out, err := exec.CommandContext(ctx, program, args...).CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w: %s", name, err, strings.TrimSpace(string(out)))
	}
	return nil
}

// findProgram finds a program in PATH, or where Debian keeps those of root.
func findProgram(name string) (string, error) {
	for _, path := range []string{name, "/usr/sbin/" + name, "/sbin/" + name} {
		if found, err := exec.LookPath(path); err == nil {
			return found, nil
		}
	}
	return "", fmt.Errorf("%s is not installed", name)
}

// counted reports whether written tells of nothing but this volume.
func (v *volume) counted() bool { return v.image != "" }

// written is what has been written to the device so far, what is still in
// memory included: it is written out first.
func (v *volume) written() (int64, error) {
	if err := syncFileSystem(v.dir); err != nil {
		return 0, err
	}
	return deviceWritten(v.dir)
}

// close unmounts and removes it. Whatever used it must have ended.
func (v *volume) close() error {
	if v.image == "" {
		return os.RemoveAll(v.dir)
	}
	if err := command(context.Background(), "umount", v.dir); err != nil {
		return err
	}
	return errors.Join(os.Remove(v.image), os.Remove(v.dir))
}
