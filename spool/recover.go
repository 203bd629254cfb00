package spool

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"

	"github.com/dgraph-io/badger/v4"

	"github.com/ebbgate/ebbgate/bridge"
)

// logDirs lists the generations on the disk, ascending.
func (s *Spool) logDirs() ([]uint64, error) {
	entries, err := os.ReadDir(s.logDir())
	if err != nil {
		return nil, err
	}
	var out []uint64
	for _, e := range entries {
		if n, err := strconv.ParseUint(e.Name(), 16, 64); err == nil && len(e.Name()) == 16 && e.IsDir() {
			out = append(out, n)
		}
	}
	slices.Sort(out)
	return out, nil
}

// recover builds the generations and queues from the state and the log, and
// makes good what a crash has left. A new generation begins with the first
// commit: a start on a full disk only reads.
func (s *Spool) recover() error {
	if err := s.loadQueues(); err != nil {
		return err
	}
	known := map[uint64]*generationMeta{}
	err := scanPrefix(s.state, keyGeneration, func(k, v []byte) bool {
		n, err := strconv.ParseUint(string(k), 16, 64)
		if m, err2 := decodeMeta(v); err == nil && err2 == nil {
			known[n] = m
		}
		return true
	})
	if err != nil {
		return err
	}
	if err := s.finishSwaps(); err != nil {
		return err
	}
	dirs, err := s.logDirs()
	if err != nil {
		return err
	}
	markLost, err := s.loadTail(len(dirs) > 0)
	if err != nil {
		return err
	}
	all := slices.Sorted(maps.Keys(known))
	all = slices.Compact(slices.Sorted(slices.Values(append(all, dirs...))))
	var carried []*change
	for i, n := range all {
		s.newest = max(s.newest, n)
		m := known[n]
		onDisk := slices.Contains(dirs, n)
		switch {
		case m != nil && m.gone:
			if err := os.RemoveAll(s.generationDir(n)); err != nil {
				return err
			}
			s.addGeneration(n, m)
		case m != nil && onDisk:
			s.addGeneration(n, m)
			if uint64(m.ops) > s.applied.Load() || uint64(m.shelf) > s.shelf.mark.Load() { // closed, and killed before its changes were taken over
				c, err := s.carriedBy(s.gens[len(s.gens)-1])
				if err != nil {
					return err
				}
				carried = append(carried, c...)
			}
		case m != nil:
			s.damage(fmt.Sprintf("generation %x of the log is missing: sequences %d to %d", n, m.first, m.end-1))
			m.gone = true
			s.addGeneration(n, m)
			s.loseUnreleased(m)
			s.found.missing[n] = m
		default:
			c, err := s.recoverCrashed(n, s.firstAfter(all[i+1:], known))
			if err != nil {
				return err
			}
			carried = append(carried, c...)
		}
	}
	s.matchTail()
	if err := errors.Join(s.keepGivenUp(), s.forgetGone()); err != nil {
		return err
	}
	kept, _ := filepath.Glob(filepath.Join(s.logDir(), "*"+keptSuffix))
	for _, path := range kept { // everything in them is in its generation by now
		_ = os.RemoveAll(path)
	}
	for _, c := range carried {
		if uint64(c.logged) > s.applied.Load() {
			if err := s.applyNow(c); err != nil {
				return err
			}
		}
	}
	s.writer.seq = max(s.writer.seq, bridge.Seq(s.applied.Load())+1, bridge.Seq(s.shelf.mark.Load())+1, 1)
	if markLost {
		s.remakeTail()
	}
	return nil
}

// addGeneration adds a closed generation and moves the queues to its end.
func (s *Spool) addGeneration(n uint64, m *generationMeta) {
	g := &generation{n: n, dir: s.generationDir(n), first: m.first, end: m.end, bytes: m.bytes, ops: m.ops, shelf: m.shelf, gone: m.gone, condensed: m.condensed, start: map[string]queueSpan{}}
	for _, span := range m.start {
		g.start[span.name] = span
		s.beginAt(span.name, span.first)
	}
	s.follow(g)
	for _, span := range m.finish {
		q := s.queueLocked(span.name)
		q.next, q.appended = max(q.next, span.first), span.bytes
	}
	s.writer.seq = max(s.writer.seq, m.end)
}

// follow appends a generation, reporting places that are missing before it.
func (s *Spool) follow(g *generation) {
	if len(s.gens) > 0 {
		for name, span := range g.start {
			if q := s.queueLocked(name); q.next < span.first {
				s.lose(name, q.next, span.first)
			}
		}
	}
	s.gens = append(s.gens, g)
}

// loseUnreleased gives up what was live in a missing generation.
func (s *Spool) loseUnreleased(m *generationMeta) {
	start := map[string]bridge.Place{}
	for _, span := range m.start {
		start[span.name] = span.first
	}
	for _, span := range m.finish {
		s.lose(span.name, max(start[span.name], 1), span.first)
	}
}

// recoverCrashed makes a generation whole that was not closed: the commits that
// its index misses are found in its value log, and a Badger that cannot be
// opened is built anew. It returns the changes that the commits carry for the
// state.
func (s *Spool) recoverCrashed(n uint64, bound bridge.Seq) ([]*change, error) {
	dir := s.generationDir(n)
	raw, err := s.keepNewest(dir)
	if err != nil {
		return nil, err
	}
	defer func() { _ = os.RemoveAll(dir + keptSuffix) }() // at worst it is looked at again
	for key, c := range raw {
		if c.header.generation != n || bound > 0 && key >= bound { // refused: its sequence is another's
			delete(raw, key)
		}
	}
	if len(raw) == 0 {
		return nil, s.discardEmpty(n)
	}
	keys := slices.Sorted(maps.Keys(raw))
	_, _, needs := sizesOf(raw)
	if err := s.dropBallast(needs + 4*s.sizes.memtable); err != nil {
		return nil, err
	}
	switch err := s.reindex(dir, raw); {
	case bridge.KindOf(err) == bridge.Full:
		return nil, err
	case err != nil:
		whole := s.allThere(n, keys, raw)
		if whole { // the index is never synced: after a power cut it may be anything
			s.deps.Log.Info("spool: the index of a generation is made anew from its raw files", "generation", n, "error", firstLine(err))
		} else {
			s.damage(fmt.Sprintf("generation %x of the log was rebuilt from its raw files: %v", n, firstLine(err)))
		}
		if err := s.rebuildDir(n, raw, !whole); err != nil {
			return nil, err
		}
	}
	s.missBefore(n, keys[0])
	m, carried := s.survey(keys, raw)
	s.addGeneration(n, m)
	if last := raw[keys[len(keys)-1]]; !last.whole && !s.found.reached(last.header.first) {
		s.forgive(last)
	}
	for _, key := range keys {
		s.markRecovered(raw[key])
	}
	return carried, s.updateState(func(txn *stateTxn) error { return txn.Set(generationKey(n), m.encode()) })
}

// carriedBy collects the changes that a closed generation's commits carry for the
// state, and puts on the shelf what they carry for it.
func (s *Spool) carriedBy(g *generation) (out []*change, err error) {
	raw, err := s.rawOf(g)
	if err != nil {
		return nil, err
	}
	for _, key := range slices.Sorted(maps.Keys(raw)) {
		s.lookForLostChanges(key, raw[key])
		if b, _ := s.takeOver(key, raw[key]); b != nil {
			out = append(out, &change{Batch: b, logged: key})
		}
	}
	return out, nil
}

// firstAfter is the first sequence of the next generation that has one.
func (s *Spool) firstAfter(next []uint64, known map[uint64]*generationMeta) bridge.Seq {
	for _, n := range next {
		if m := known[n]; m != nil {
			return m.first
		}
		raw, _ := scanRaw(s.generationDir(n), s.id)
		if len(raw) > 0 {
			return slices.Min(slices.Collect(maps.Keys(raw)))
		}
	}
	return 0
}

// discardEmpty removes a generation in which no commit was found. A folder
// that was never written to goes; anything else is kept aside.
func (s *Spool) discardEmpty(n uint64) error {
	dir := s.generationDir(n)
	if commitless(dir) {
		return os.RemoveAll(dir)
	}
	aside, err := s.setAside(dir, fmt.Sprintf("%016x", n))
	s.damage(fmt.Sprintf("generation %x of the log holds nothing readable and is kept as %s", n, aside))
	return err
}

// commitless reports whether the value log of a folder is empty but for zeros
// after Badger's header.
func commitless(dir string) bool {
	names, _ := filepath.Glob(filepath.Join(dir, "*.vlog"))
	for _, name := range names {
		b, err := os.ReadFile(name)
		if err != nil {
			return false
		}
		for _, x := range b[min(len(b), 20):] {
			if x != 0 {
				return false
			}
		}
	}
	return true
}

// readable reports whether a commit can be read through the index: what the
// index names must be there, be what it says, and be as good as the best copy
// that is in the raw files. There can be two copies: recovery writes anew what
// the index had not got yet.
func (s *Spool) readable(db *badger.DB, key bridge.Seq, best rawCommit) bool {
	return viewCommit(db, key, func(b []byte) error {
		h, err := parseHeader(b)
		if err != nil {
			return err
		}
		if h.first != key || h.spool != s.id {
			return errForeign
		}
		if doubt := len(b) < h.size || best.copies > 1; doubt && best.betterThan(newRawCommit(h, b)) {
			return errCut
		}
		return nil
	}) == nil
}

// rebuildDir writes a generation's commits into a new folder, and sets the old
// one aside when a person may want to see it.
func (s *Spool) rebuildDir(n uint64, raw map[bridge.Seq]rawCommit, keep bool) error {
	dir := s.generationDir(n)
	fresh := dir + condensedSuffix
	_, log, needs := sizesOf(raw)
	if err := errors.Join(os.RemoveAll(fresh), s.roomFor(needs)); err != nil {
		return err
	}
	if err := s.writeAnew(fresh, raw, log); err != nil {
		return errors.Join(err, os.RemoveAll(fresh))
	}
	if err := errors.Join(syncDir(fresh), syncDir(s.logDir()), swapDirs(dir, fresh)); err != nil {
		return err
	}
	if !keep {
		return os.RemoveAll(fresh)
	}
	_, err := s.setAside(fresh, fmt.Sprintf("%016x", n))
	return err
}

// rawOf scans the raw files of a generation that is known. What is after its
// end was refused, and its sequences are another generation's.
func (s *Spool) rawOf(g *generation) (map[bridge.Seq]rawCommit, error) {
	raw, err := scanRaw(g.dir, s.id)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	end := g.end
	s.mu.Unlock()
	for key, c := range raw {
		if c.header.generation != g.n || key >= end {
			delete(raw, key)
		}
	}
	return raw, nil
}

// rebuild makes a closed generation readable again; g.mu is held.
func (s *Spool) rebuild(g *generation, cause error) error {
	raw, err := s.rawOf(g)
	if err != nil {
		return errors.Join(cause, err)
	}
	s.damage(fmt.Sprintf("generation %x of the log was rebuilt from its raw files: %v", g.n, firstLine(cause)))
	return s.rebuildDir(g.n, raw, true)
}

// addExtra adds the commits that were salvaged to the index of what is open.
func (g *generation) addExtra() {
	for key := range g.extra {
		g.keys = append(g.keys, key)
	}
	slices.Sort(g.keys)
	g.keys = slices.Compact(g.keys)
}

// salvage looks once through the raw files of a generation of which something
// cannot be read, and keeps in memory what it finds there that the index has
// lost, or has only a damaged copy of. It reports whether that helps.
func (s *Spool) salvage(g *generation) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.salvaged || g.db == nil || !g.db.Opts().ReadOnly {
		return false
	}
	g.salvaged = true
	raw, err := s.rawOf(g)
	if err != nil {
		return false
	}
	found := false
	for key, c := range raw {
		if s.readable(g.db, key, c) {
			continue
		}
		if g.extra == nil {
			g.extra = map[bridge.Seq][]byte{}
		}
		g.extra[key], found = c.value, true
	}
	if found {
		g.addExtra()
		s.damage(fmt.Sprintf("the index of generation %x had lost %d commits, which were found in its raw files", g.n, len(g.extra)))
	}
	return found
}
