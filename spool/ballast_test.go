package spool

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/ebbgate/ebbgate/bridge"
)

// openBallasted opens a spool as one operation of the command line does, with a
// ballast as large as it is in earnest.
func openBallasted(dir string) (*Spool, error) {
	o, z := DefaultOptions(), smallSizes()
	o.Dir, o.Headroom, z.ballast = dir, 1<<20, 16<<20
	return open(o, Deps{Log: slog.New(slog.DiscardHandler), Health: new(bridge.Health), Command: "ebbgate spool ls"}, z, time.Now)
}

// occupyAll takes what is left of a disk, to the last block.
func occupyAll(t *testing.T, disk string) {
	t.Helper()
	f, err := os.OpenFile(filepath.Join(disk, "foreign"), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if errors.Is(err, unix.ENOSPC) {
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	for block := 1 << 20; block >= 512; {
		if _, err := f.Write(make([]byte, block)); errors.Is(err, unix.ENOSPC) {
			block /= 2
		} else if err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(f.Sync(), f.Close()); err != nil {
		t.Fatal(err)
	}
}

// On a disk without a free byte the spool is opened again and again, for the ballast
// is put back each time. When that is gone too, starts end with what is to be freed,
// and neither the lock's file nor anything else is worse for it. A start that touched a
// hole in a mapped file would end the test.
func TestStartsOnAFullDisk(t *testing.T) {
	t.Parallel()
	const n = 200
	for name, disk := range map[string]func(t *testing.T) string{
		"tmpfs": func(t *testing.T) string { return smallDisk(t, 96<<20) },
		"ext4":  func(t *testing.T) string { return mountExt4(t, filepath.Join(t.TempDir(), "disk.img"), 96<<20) },
	} {
		t.Run(name, func(t *testing.T) {
			root := disk(t)
			dir := filepath.Join(root, "data")
			s, err := openBallasted(dir)
			if err != nil {
				t.Fatal(err)
			}
			fill(t, s, 0, n, up)
			closeTest(t, s)
			occupyAll(t, root)
			for i := range 4 {
				s, err := openBallasted(dir)
				if err != nil {
					t.Fatalf("start %d: %v", i, err)
				}
				expectRange(t, drain(t, s, up, false), 0, n)
				closeTest(t, s)
				if s.ballastBytes() < 8<<20 {
					t.Fatalf("after start %d the ballast has %d bytes", i, s.ballastBytes())
				}
				occupyAll(t, root)
			}
			remove(t, filepath.Join(dir, "BALLAST"))
			occupyAll(t, root)
			for i := range 4 {
				if _, err := openBallasted(dir); bridge.KindOf(err) != bridge.Full {
					t.Fatalf("start %d without ballast: %v", i, err)
				}
				if b, err := os.ReadFile(filepath.Join(dir, "LOCK")); err != nil || len(b) != lockSize || !strings.HasPrefix(string(b), fmt.Sprint(os.Getpid(), " ")) {
					t.Errorf("LOCK holds %q, %v", b, err)
				}
			}
			remove(t, filepath.Join(root, "foreign"))
			if s, err = openBallasted(dir); err != nil {
				t.Fatal(err)
			}
			expectRange(t, drain(t, s, up, false), 0, n)
			closeTest(t, s)
			if s.damages.Load() > 0 || len(s.Missing()) > 0 || s.ballastBytes() < 16<<20 {
				t.Errorf("%d damages, missing %v, ballast %d", s.damages.Load(), s.Missing(), s.ballastBytes())
			}
		})
	}
}

// The first start on a full disk says what it takes.
func TestFirstStartOnAFullDisk(t *testing.T) {
	t.Parallel()
	root := smallDisk(t, 20<<20)
	occupyAll(t, root)
	dir := filepath.Join(root, "data")
	if s, err := openBallasted(dir); bridge.KindOf(err) != bridge.Full {
		t.Fatalf("%v, %v", s, err)
	}
	remove(t, filepath.Join(root, "foreign"))
	s, err := openBallasted(dir)
	if err != nil {
		t.Fatal(err)
	}
	closeTest(t, s)
}

// One operation on a disk that has room for it leaves the ballast alone, above the
// headroom or below it.
func TestACommandKeepsTheBallast(t *testing.T) {
	t.Parallel()
	root := smallDisk(t, 64<<20)
	dir := filepath.Join(root, "data")
	s, err := openBallasted(dir)
	if err != nil {
		t.Fatal(err)
	}
	closeTest(t, s)
	occupy(t, root, 20<<20)
	o := DefaultOptions()
	o.Dir, o.Headroom = dir, 1<<30
	s, err = Open(o, Deps{Log: slog.New(slog.DiscardHandler), Health: new(bridge.Health), Command: "ebbgate spool ls"})
	if err != nil {
		t.Fatal(err)
	}
	if s.ballastSpent || s.ballastBytes() < 16<<20 {
		t.Errorf("the ballast has %d bytes", s.ballastBytes())
	}
	closeTest(t, s)
}
