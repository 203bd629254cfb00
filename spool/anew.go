package spool

import (
	"errors"
	"maps"
	"slices"

	"github.com/ebbgate/ebbgate/bridge"
)

// Badger writes through maps of files that have holes, and a program that touches
// one on a full disk ends there. So whoever writes a generation other than by the
// log, which has its room from its beginning, looks for room first and takes it: a
// start on a full disk says so and does not die.

// What a generation takes besides its commits: what Badger writes around each in the
// value log, and for each in its index, which has a file of its own when the memtable
// is full and at the end.
const (
	entryOverhead = 64
	entryIndexed  = 192
	indexRoom     = 1 << 20
)

// sizesOf is what commits are, what they take of the value log, and what writing
// them takes of the disk, without memtables.
func sizesOf(commits map[bridge.Seq]rawCommit) (size, log, needs int64) {
	for _, c := range commits {
		size += int64(len(c.value))
	}
	n := int64(len(commits))
	log = size + n*entryOverhead + indexRoom/4
	return size, log, log + n*entryIndexed + indexRoom
}

// roomFor refuses what the disk has no room for, with two memtables of a Badger, one
// full and the next: each has a file of twice the size.
func (s *Spool) roomFor(size int64) error {
	free, err := freeBytes(s.opts.Dir)
	if err != nil {
		return err
	}
	if size += 4 * s.sizes.memtable; free < size {
		return bridge.Errorf("recover", bridge.Full, "the disk has %v left, and to put the log of the spool right after a crash takes %v: free %d MB there", bridge.Size(free), bridge.Size(size), (size-free+999_999)/1_000_000)
	}
	return nil
}

// reindex opens a generation's Badger, adds the commits that it misses, and
// closes it, which writes the index through.
func (s *Spool) reindex(dir string, raw map[bridge.Seq]rawCommit) error {
	if err := s.roomFor(indexRoom); err != nil {
		return err
	}
	_, all, _ := sizesOf(raw)
	z := s.sizes
	z.valueLog = max(z.valueLog, 2*all) // what is added goes behind what is there, in the one file that has its room
	db, err := openBadger(genOptions(dir, z, false, s.deps.Log))
	if err != nil {
		return err
	}
	keys, err := listKeys(db)
	if err != nil {
		return errors.Join(err, closeBadger(db))
	}
	have := map[bridge.Seq]bool{}
	for _, k := range keys {
		have[k] = true
	}
	missing := map[bridge.Seq]rawCommit{}
	for k, c := range raw {
		if !have[k] || !s.readable(db, k, c) {
			missing[k] = c
		}
	}
	if len(missing) == 0 {
		return errors.Join(reserveMemtable(dir), db.Sync(), closeBadger(db))
	}
	_, more, needs := sizesOf(missing)
	if err := s.roomFor(needs); err != nil {
		return errors.Join(err, closeBadger(db))
	}
	log := valueLog{dir: dir, reserve: all + more}
	err = errors.Join(log.open(), reserveMemtable(dir))
	log.close()
	for _, k := range slices.Sorted(maps.Keys(missing)) {
		if err == nil {
			err = putCommit(db, k, missing[k].value)
		}
	}
	if err == nil {
		err = db.Sync()
	}
	return errors.Join(err, closeBadger(db))
}

// writeAnew writes commits into a new folder, as one value log file of which the
// disk gives size bytes before.
func (s *Spool) writeAnew(dir string, commits map[bridge.Seq]rawCommit, size int64) error {
	z := s.sizes
	z.valueLog = max(z.valueLog, size)
	db, err := openBadger(genOptions(dir, z, false, s.deps.Log))
	if err != nil {
		return err
	}
	log := valueLog{dir: dir, reserve: size}
	err = errors.Join(log.open(), reserveMemtable(dir))
	log.close()
	for _, key := range slices.Sorted(maps.Keys(commits)) {
		if err == nil {
			err = putCommit(db, key, commits[key].value)
		}
	}
	if err == nil {
		err = db.Sync()
	}
	return errors.Join(err, closeBadger(db))
}
