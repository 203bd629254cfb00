package scenario

import (
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/ebbgate/ebbgate/internal/peers"
)

// disk is a file system of the test's own, mounted below its folder.
type disk struct {
	tb    testing.TB
	Dir   string // where it is mounted
	Image string // its image file; empty for a tmpfs
	at    bool   // mounted now
}

// tmpfs mounts a disk of the given size in memory.
func tmpfs(tb testing.TB, size int64) *disk {
	tb.Helper()
	peers.NeedRoot(tb)
	d := &disk{tb: tb, Dir: tb.TempDir()}
	d.mount("-t", "tmpfs", "-o", "size="+strconv.FormatInt(size, 10), "tmpfs")
	return d
}

// ext4 makes an image of the given size, without reserved blocks, and mounts
// it by a loop device.
func ext4(tb testing.TB, size int64) *disk {
	tb.Helper()
	needLoop(tb)
	image := filepath.Join(tb.TempDir(), "disk.img")
	f, err := os.Create(image)
	if err != nil {
		tb.Fatal(err)
	}
	defer f.Close()
	if err := f.Truncate(size); err != nil {
		tb.Fatal(err)
	}
	command(tb, peers.Need(tb, "mkfs.ext4"), "-q", "-m", "0", "-E", "lazy_itable_init=0,lazy_journal_init=0", image)
	return mountImage(tb, image)
}

// mountImage mounts an image that exists: the disk after the power cut.
func mountImage(tb testing.TB, image string) *disk {
	tb.Helper()
	d := &disk{tb: tb, Dir: tb.TempDir(), Image: image}
	d.mount("-o", "loop", image)
	return d
}

func needLoop(tb testing.TB) {
	tb.Helper()
	peers.NeedRoot(tb)
	if _, err := os.Stat("/dev/loop-control"); err != nil {
		peers.Missing(tb, "loop devices")
	}
}

func (d *disk) mount(args ...string) {
	d.tb.Helper()
	command(d.tb, "mount", append(args, d.Dir)...)
	d.at = true
	d.tb.Cleanup(d.unmount)
}

// unmount is harmless when it is not mounted. Whoever used the disk must have
// ended; cleanups run in reverse, so a gateway made later has.
func (d *disk) unmount() {
	if !d.at {
		return
	}
	d.at = false
	if out, err := exec.Command("umount", d.Dir).CombinedOutput(); err != nil {
		_ = exec.Command("umount", "-l", d.Dir).Run() // better detached than left behind
		d.tb.Errorf("umount: %v: %s", err, out)
	}
}

// free is the space left for an ordinary user, in bytes.
func (d *disk) free() int64 {
	d.tb.Helper()
	var st unix.Statfs_t
	if err := unix.Statfs(d.Dir, &st); err != nil {
		d.tb.Fatal(err)
	}
	return int64(st.Bavail) * st.Bsize
}

// copyImage copies the image as it is on the "platter" now: what the file
// system has not written yet is not in it. A copy during which something was
// written is no single moment, and is made again.
func (d *disk) copyImage() string {
	d.tb.Helper()
	to := filepath.Join(d.tb.TempDir(), "copy.img")
	for range 20 {
		before := d.writes()
		command(d.tb, "cp", "--sparse=always", d.Image, to)
		if d.writes() == before {
			return to
		}
	}
	d.tb.Fatal("the image never came to rest")
	return ""
}

// writes tells the writes of the loop device that have ended and those under
// way.
func (d *disk) writes() string {
	d.tb.Helper()
	name, _, _ := strings.Cut(command(d.tb, "losetup", "-j", d.Image), ":")
	stat, err := os.ReadFile("/sys/block/" + filepath.Base(name) + "/stat")
	f := strings.Fields(string(stat))
	if err != nil || len(f) < 9 {
		d.tb.Fatalf("statistics of loop device %q: %v", name, err)
	}
	return f[4] + " " + f[8]
}

func command(tb testing.TB, name string, args ...string) string {
	tb.Helper()
	out, err := exec.Command(name, args...).CombinedOutput()
	if err != nil {
		tb.Fatalf("%s %v: %v: %s", name, args, err, out)
	}
	return string(out)
}
