package spool

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/dgraph-io/badger/v4"
	"github.com/dgraph-io/badger/v4/table"
	"golang.org/x/sys/unix"

	"github.com/ebbgate/ebbgate/bridge"
)

// ballast is a file whose only use is to be removed when the disk is full, so
// that a start finds the room that it needs.
func (s *Spool) ballastPath() string { return filepath.Join(s.opts.Dir, "BALLAST") }

// ballastBytes is what removing the ballast would give.
func (s *Spool) ballastBytes() int64 {
	if _, err := os.Lstat(s.ballastPath()); err != nil {
		return 0
	}
	return usedBytes(s.ballastPath())
}

// fillBallast makes the ballast, or makes it whole, when there is room for it above
// the headroom.
func (s *Spool) fillBallast() {
	free, err := freeBytes(s.opts.Dir)
	if err != nil || free < int64(s.opts.Headroom)+2*s.sizes.ballast {
		return
	}
	s.growBallast(s.sizes.ballast)
}

// growBallast makes the ballast at least so large, and reports whether it is; what
// the disk does not give it leaves as it was.
func (s *Spool) growBallast(size int64) bool {
	was := s.ballastBytes()
	if was >= size {
		return true
	}
	f, err := os.OpenFile(s.ballastPath(), os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return false
	}
	err = unix.Fallocate(int(f.Fd()), 0, 0, size)
	if err != nil { // it may have given a part
		_ = f.Truncate(was)
	}
	_ = f.Close()
	if err != nil && was == 0 {
		_ = os.Remove(s.ballastPath())
	}
	return err == nil
}

// dropBallast frees the ballast when there is less room than size.
func (s *Spool) dropBallast(size int64) error {
	free, err := freeBytes(s.opts.Dir)
	if err != nil || free >= size {
		return err
	}
	err = os.Remove(s.ballastPath())
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	s.ballastSpent = s.ballastSpent || err == nil
	return err
}

// ballastUnit is what a ballast that is put back is counted in.
const ballastUnit = 1 << 20

// returnBallast puts back what is left of a ballast that this process has spent:
// the next start is on the same disk. A file system may count room as free that it
// gives to no file: what its journal has not forgotten yet, and its own blocks.
func (s *Spool) returnBallast() {
	if !s.ballastSpent {
		return
	}
	free, err := freeBytes(s.opts.Dir)
	if err != nil {
		return
	}
	for size := min(s.sizes.ballast, free/ballastUnit*ballastUnit); size > 0 && !s.growBallast(size); size -= ballastUnit {
	}
}

// roomToStart makes room for what opening the state writes, if need be of the
// ballast. The ballast stays where it would not be enough.
func (s *Spool) roomToStart() error {
	needs := stateNeeds(filepath.Join(s.opts.Dir, "state"))
	free, err := freeBytes(s.opts.Dir)
	if err != nil {
		return err
	}
	if all := free + s.ballastBytes(); all < needs {
		return noRoom(s.opts.Dir, all, needs)
	}
	want := needs
	if s.deps.Command == "" { // what runs writes on: the cloud takes the backlog, and the state notes it
		want = max(want, int64(s.opts.Headroom)/2)
	}
	if err := s.dropBallast(want); err != nil {
		return err
	}
	if free, err = freeBytes(s.opts.Dir); err == nil && free < needs { // another program was quicker
		return noRoom(s.opts.Dir, free, needs)
	}
	return err
}

// noRoom says how much is missing.
func noRoom(dir string, free, needs int64) error {
	return bridge.Errorf("open spool", bridge.Full, "the disk of folder %s has %v left, and a start takes %v: free %d MB there, and start again; nothing that was acknowledged is lost",
		dir, bridge.Size(free), bridge.Size((needs+1<<20-1)>>20<<20), (needs-free+999_999)/1_000_000)
}

// What opening and closing the state takes besides what is in it.
const (
	discardStats = 1 << 20   // Badger writes that file whole when it makes it
	stateCrumbs  = 256 << 10 // manifest, value log, names
)

// stateNeeds is what opening the state of a folder may write: a memtable's file, the
// table of it at the end, the tables of the memtables that a kill has left, and
// putting the newest tables together when that is due.
func stateNeeds(dir string) int64 {
	needs := int64(2*stateMemtable + stateMemtable/2 + stateCrumbs)
	if _, err := os.Lstat(filepath.Join(dir, "DISCARD")); err != nil {
		needs += discardStats
	}
	left, _ := filepath.Glob(filepath.Join(dir, "*.mem"))
	for _, name := range left {
		if b, err := os.ReadFile(name); err == nil {
			n := int64(len(bytes.TrimRight(b, "\x00")))
			needs += n + n/4 + stateCrumbs/4
		}
	}
	o := stateOptions(dir, nil)
	manifest, err := os.Open(filepath.Join(dir, badger.ManifestFilename))
	if err != nil {
		return needs
	}
	defer func() { _ = manifest.Close() }()
	m, _, err := badger.ReplayManifestFile(manifest, o.ExternalMagicVersion, o)
	if err != nil { // what is wrong with it, opening it says
		return needs
	}
	newest, size := len(left), int64(0)
	for id, t := range m.Tables {
		if t.Level > 1 {
			continue
		}
		if t.Level == 0 {
			newest++
		}
		if fi, err := os.Stat(table.NewFilename(id, dir)); err == nil {
			size += fi.Size()
		}
	}
	if newest >= o.NumLevelZeroTables {
		needs += size
	}
	return needs
}

// closeState closes the state, and the file that counts its commits. Where the disk
// has no room for the table of its memtable it is left as a kill leaves it: Badger
// writes tables through maps of files with holes, and what is in the memtable's own
// file is safe. So it is where closing takes too long: the disk takes nothing.
func (s *Spool) closeState() error {
	end := func() error { return closeBadger(s.state) }
	if free, err := freeBytes(s.opts.Dir); err == nil && free < stateMemtable+stateCrumbs {
		end = s.state.Sync
	}
	err := end()
	if s.serial.file != nil {
		err = errors.Join(err, s.serial.file.Close())
	}
	return err
}

// diskFull gives an error of a start that comes of a full disk its kind and a
// remedy.
func (s *Spool) diskFull(err error) error {
	if !errors.Is(err, unix.ENOSPC) && !errors.Is(err, unix.EDQUOT) || bridge.KindOf(err) == bridge.Full {
		return err
	}
	return bridge.Errorf("open spool", bridge.Full, "the disk of folder %s has no room: free %d MB there, and start again; nothing that was acknowledged is lost: %w",
		s.opts.Dir, (stateNeeds(filepath.Join(s.opts.Dir, "state"))+999_999)/1_000_000, err)
}
