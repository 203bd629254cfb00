package spool

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime/debug"
	"slices"
	"time"

	"github.com/dgraph-io/badger/v4"

	"github.com/ebbgate/ebbgate/bridge"
)

// idleGeneration is how large an active generation may grow while nothing in
// it is live: then it is replaced, so that a drained spool gives its space back.
const idleGeneration = 16 << 20

func (s *Spool) logDir() string { return filepath.Join(s.opts.Dir, "log") }

func (s *Spool) generationDir(n uint64) string {
	return filepath.Join(s.logDir(), fmt.Sprintf("%016x", n))
}

// rotate makes a new generation the active one and retires the old.
func (s *Spool) rotate() error {
	w := &s.writer
	s.mu.Lock()
	n := s.newest + 1
	s.mu.Unlock()
	g := &generation{n: n, dir: s.generationDir(n), first: w.seq, end: w.seq, active: true, users: 1, start: map[string]queueSpan{}}
	db, err := openBadger(genOptions(g.dir, s.sizes, false, s.deps.Log))
	if err != nil {
		return fmt.Errorf("new generation: %w", err)
	}
	log := valueLog{dir: g.dir, reserve: s.sizes.valueLog + maxBatch + maxStateBatch + maxShelfBatch}
	if err := errors.Join(log.open(), reserveMemtable(g.dir), syncDir(g.dir), syncDir(s.logDir())); err != nil {
		log.close()
		return errors.Join(fmt.Errorf("new generation: %w", err), db.Close())
	}
	if err := s.beginTail(g); err != nil {
		log.close()
		return errors.Join(fmt.Errorf("new generation: %w", err), db.Close())
	}
	g.db = db
	old := w.gen
	w.log.close()
	w.gen, w.db, w.log, w.fresh, w.broken = g, db, log, true, false
	s.mu.Lock()
	for name, q := range s.queues {
		g.start[name] = queueSpan{name: name, first: q.next, bytes: q.appended}
	}
	if old != nil {
		old.active = false
	}
	s.gens = append(s.gens, g)
	s.newest = n
	s.mu.Unlock()
	if old != nil {
		s.leave(old)
		s.shelf.force() // so that a start replays one generation or two, however many there are
	}
	return nil
}

// rotateIdle replaces a large newest generation in which nothing is live. After a
// start that takes room and gives none back at once: the ballast goes for it, and
// what is left must be enough for the state to note what the cloud takes.
func (s *Spool) rotateIdle() {
	s.mu.Lock()
	idle := s.idleLocked()
	s.mu.Unlock()
	if !idle {
		return
	}
	if s.writer.gen == nil {
		_ = s.dropBallast(int64(s.opts.Headroom) / 2) // what it makes of the room is seen next
		if free, err := freeBytes(s.opts.Dir); err != nil || free < int64(s.opts.Headroom)/2 {
			return
		}
	}
	if err := s.rotate(); err != nil {
		_ = s.failed(err)
	}
}

// idleLocked reports whether the newest generation is large and nothing is live. A
// start leaves it closed until the first commit; one that waits for room gets no
// commit, and what is closed goes, or is condensed, only when another follows it.
func (s *Spool) idleLocked() bool {
	if len(s.gens) == 0 {
		return false
	}
	last := s.gens[len(s.gens)-1]
	if last.gone || !last.active && !s.squeezed || last.bytes < min(idleGeneration, s.sizes.generation/4) {
		return false
	}
	live, all := uint64(0), uint64(0)
	for name, q := range s.queues {
		if !s.squeezed && q.depth() > 0 {
			return false
		}
		from := max(last.start[name].first, 1)
		all += uint64(q.next - min(from, q.next))
		for _, m := range q.done.missing(from, q.next) {
			live += uint64(m.To - m.From)
		}
	}
	return live == 0 || live*sparse < all
}

// errGone is why a generation cannot be entered in which nothing is live.
var errGone = errors.New("the generation is gone")

// enter opens a generation for reading, or joins who has it open.
func (s *Spool) enter(g *generation) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	s.mu.Lock()
	gone := g.gone
	s.mu.Unlock()
	if gone {
		return errGone
	}
	if g.users == 0 && g.db == nil {
		if err := s.reopen(g); err != nil {
			return err
		}
	}
	g.users++
	return nil
}

// reopen opens a closed generation read-only, rebuilding it from its raw files
// when Badger cannot.
func (s *Spool) reopen(g *generation) error {
	open := func() (*badger.DB, []bridge.Seq, error) {
		db, err := openBadger(genOptions(g.dir, s.sizes, true, s.deps.Log))
		if err != nil {
			return nil, nil, err
		}
		keys, err := listKeys(db)
		if err != nil {
			return nil, nil, errors.Join(err, db.Close())
		}
		return db, keys, nil
	}
	db, keys, err := open()
	if bridge.KindOf(err) == bridge.Full {
		return err // what is there is sound, and writing it anew takes room
	}
	if err != nil {
		if err = s.rebuild(g, err); err != nil {
			return err
		}
		if db, keys, err = open(); err != nil {
			return fmt.Errorf("generation %x after rebuilding: %w", g.n, err)
		}
	}
	s.mu.Lock()
	end := g.end // what is after it was refused, and its sequence used again
	s.mu.Unlock()
	i, _ := slices.BinarySearch(keys, end)
	g.db, g.keys = db, keys[:i]
	g.addExtra()
	return nil
}

// leave ends one use of a generation. The last user of one that is not active
// any more closes it, in the background: closing writes its index through.
func (s *Spool) leave(g *generation) {
	g.mu.Lock()
	g.users--
	last := g.users == 0
	g.mu.Unlock()
	if !last {
		return
	}
	s.closer.Add(1)
	go func() {
		defer s.closer.Done()
		s.shut(g)
		s.collect()
	}()
}

// shut closes a generation that nobody uses and notes it as closed.
func (s *Spool) shut(g *generation) {
	g.mu.Lock()
	defer g.mu.Unlock()
	s.mu.Lock()
	active := g.active
	s.mu.Unlock()
	if active || g.users > 0 || g.db == nil {
		return
	}
	readOnly := g.db.Opts().ReadOnly
	err := closeBadger(g.db)
	g.db, g.keys = nil, nil
	s.mu.Lock()
	_, unnoted := s.unnoted[g]
	gone, meta := g.gone, s.metaLocked(g)
	s.mu.Unlock()
	switch {
	case gone && unnoted: // see remove
	case gone:
		err = os.RemoveAll(g.dir)
	case err == nil && !readOnly:
		err = s.updateState(func(txn *stateTxn) error { return txn.Set(generationKey(g.n), meta) })
	}
	if err != nil {
		s.deps.Log.Warn("closing a generation of the spool: it will be recovered at the next start", "generation", g.n, "error", err)
	}
}

// closeLimit bounds closing a Badger: it tries for ever to write its index
// (db.go, flushMemtable), which a value log scan makes again.
const closeLimit = 10 * time.Second

// closeBadger closes a Badger, in bounded time.
func closeBadger(db *badger.DB) error {
	end := make(chan error, 1)
	go func() { end <- closeNow(db) }()
	select {
	case err := <-end:
		return err
	case <-time.After(closeLimit):
		return errors.New("close: what is in memory cannot be written: does the disk take writes, and is the folder there?")
	}
}

// closeNow turns the panics of a Badger whose files went away into errors.
func closeNow(db *badger.DB) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("close: %v", r)
		}
	}()
	return db.Close()
}

func (s *Spool) metaLocked(g *generation) []byte {
	m := generationMeta{first: g.first, end: g.end, bytes: g.bytes, ops: g.ops, shelf: g.shelf, gone: g.gone, condensed: g.condensed}
	for _, span := range g.start {
		m.start = append(m.start, span)
	}
	for i, x := range s.gens {
		if x.n > g.n {
			for _, span := range s.gens[i].start {
				m.finish = append(m.finish, span)
			}
			return m.encode()
		}
	}
	for name, q := range s.queues {
		m.finish = append(m.finish, queueSpan{name: name, first: q.next, bytes: q.appended})
	}
	return m.encode()
}

// collect removes the generations in which nothing is live.
func (s *Spool) collect() {
	for _, g := range s.released() {
		s.closer.Add(1)
		go func() {
			defer s.closer.Done()
			s.remove(g)
		}()
	}
	s.mu.Lock()
	idle := s.idleLocked()
	s.mu.Unlock()
	if idle {
		s.intake.wantRotate()
	}
	s.condense()
}

// released marks the closed generations without live records as gone and
// returns them, and those that are gone and could not be removed.
func (s *Spool) released() (out []*generation) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for g, removing := range s.unnoted {
		if !removing {
			s.unnoted[g] = true
			out = append(out, g)
		}
	}
	applied, shelved := bridge.Seq(s.applied.Load()), bridge.Seq(s.shelf.mark.Load())
	for i, g := range s.gens {
		if g.active || g.gone || g.ops > applied || i == len(s.gens)-1 {
			continue
		}
		live := false
		for name, q := range s.queues {
			from, to := g.start[name].first, s.gens[i+1].start[name].first
			live = live || to > 0 && !q.done.covers(max(from, 1), to)
		}
		switch {
		case live:
		case g.shelf > shelved:
			s.shelf.force()
		default:
			g.gone, s.unnoted[g] = true, true
			out = append(out, g)
		}
	}
	return out
}

// remove deletes a generation: first from the state, then its folder. The
// state keeps a tombstone while an older generation is there, so that the gap
// is not taken for damage.
func (s *Spool) remove(g *generation) {
	g.mu.Lock() // before the state: what closes or condenses it writes its entry under this lock
	defer g.mu.Unlock()
	s.mu.Lock()
	// An older one is there, or is in the state still.
	keep := slices.ContainsFunc(s.gens, func(x *generation) bool { return x.n < g.n && !x.gone })
	for x := range s.unnoted {
		keep = keep || x.n < g.n
	}
	meta := s.metaLocked(g)
	drop, end := []uint64{g.n}, g.end
	for _, x := range s.gens {
		end = max(end, x.end)
	}
	for _, x := range s.gens {
		if _, unnoted := s.unnoted[x]; keep || !x.gone || unnoted && x != g {
			break
		}
		drop = append(drop, x.n)
	}
	newest := binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(nil, s.newest), uint64(end))
	s.mu.Unlock()
	err := s.updateState(func(txn *stateTxn) error {
		if keep {
			return txn.Set(generationKey(g.n), meta)
		}
		for _, n := range drop {
			if err := txn.Delete(generationKey(n)); err != nil {
				return err
			}
		}
		return txn.Set([]byte(keyNewest), newest)
	})
	s.mu.Lock()
	if err != nil {
		s.unnoted[g] = false
	} else {
		delete(s.unnoted, g)
	}
	for err == nil && !keep && len(s.gens) > 0 && slices.Contains(drop, s.gens[0].n) {
		s.gens = s.gens[1:]
	}
	s.mu.Unlock()
	if err != nil { // a start would take its folder for lost
		s.deps.Log.Warn("removing a drained generation of the spool: tried again with the next", "generation", g.n, "error", err)
		return
	}
	if g.users > 0 {
		return // a cursor is in it: who leaves it last removes the folder, see shut
	}
	if g.db != nil {
		err = errors.Join(err, closeBadger(g.db))
		g.db, g.keys = nil, nil
	}
	if err = errors.Join(err, os.RemoveAll(g.dir)); err != nil {
		s.deps.Log.Warn("removing a drained generation of the spool", "generation", g.n, "error", err)
	}
}
