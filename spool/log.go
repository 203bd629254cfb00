package spool

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

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
	n := uint64(1)
	s.mu.Lock()
	if len(s.gens) > 0 {
		n = s.gens[len(s.gens)-1].n + 1
	}
	s.mu.Unlock()
	g := &generation{n: n, dir: s.generationDir(n), first: w.seq, end: w.seq, active: true, users: 1, start: map[string]queueSpan{}}
	db, err := openBadger(genOptions(g.dir, s.sizes, false, s.deps.Log))
	if err != nil {
		return fmt.Errorf("new generation: %w", err)
	}
	log := valueLog{dir: g.dir, reserve: s.sizes.valueLog + int64(s.sizes.commit) + MaxRecord}
	if err := errors.Join(log.open(), reserveMemtable(g.dir), syncDir(g.dir), syncDir(s.logDir())); err != nil {
		log.close()
		return errors.Join(fmt.Errorf("new generation: %w", err), db.Close())
	}
	g.db = db
	old := w.gen
	w.log.close()
	w.gen, w.db, w.log, w.fresh = g, db, log, true
	s.mu.Lock()
	for name, q := range s.queues {
		g.start[name] = queueSpan{name: name, first: q.next, bytes: q.appended}
	}
	if old != nil {
		old.active = false
	}
	s.gens = append(s.gens, g)
	s.mu.Unlock()
	if old != nil {
		s.leave(old)
	}
	return nil
}

// rotateIdle replaces a large active generation in which nothing is live.
func (s *Spool) rotateIdle() {
	s.mu.Lock()
	idle := s.idleLocked()
	s.mu.Unlock()
	if !idle {
		return
	}
	if err := s.rotate(); err != nil {
		_ = s.failed(err)
	}
}

// idleLocked reports whether the active generation is large and nothing is
// live.
func (s *Spool) idleLocked() bool {
	if len(s.gens) == 0 {
		return false
	}
	last := s.gens[len(s.gens)-1]
	if !last.active || last.bytes < min(idleGeneration, s.sizes.generation/4) {
		return false
	}
	for _, q := range s.queues {
		if q.depth() > 0 {
			return false
		}
	}
	return true
}

// enter opens a generation for reading, or joins who has it open.
func (s *Spool) enter(g *generation) error {
	g.mu.Lock()
	defer g.mu.Unlock()
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
	if err != nil {
		if err = s.rebuild(g, err); err != nil {
			return err
		}
		if db, keys, err = open(); err != nil {
			return fmt.Errorf("generation %x after rebuilding: %w", g.n, err)
		}
	}
	g.db, g.keys = db, keys
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
	s.mu.Lock()
	active, gone := g.active, g.gone
	meta := s.metaLocked(g)
	s.mu.Unlock()
	g.mu.Lock()
	defer g.mu.Unlock()
	if active || g.users > 0 || g.db == nil {
		return
	}
	readOnly := g.db.Opts().ReadOnly
	err := closeBadger(g.db)
	g.db, g.keys = nil, nil
	if err == nil && !readOnly && !gone {
		err = s.state.Update(func(txn *badger.Txn) error { return txn.Set(generationKey(g.n), meta) })
	}
	if err != nil && !gone {
		s.deps.Log.Warn("closing a generation of the spool: it will be recovered at the next start", "generation", g.n, "error", err)
	}
}

// closeBadger turns the panics of a Badger whose files went away into errors.
func closeBadger(db *badger.DB) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("close: %v", r)
		}
	}()
	return db.Close()
}

func (s *Spool) metaLocked(g *generation) []byte {
	m := generationMeta{first: g.first, end: g.end, bytes: g.bytes, gone: g.gone, condensed: g.condensed}
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
// returns them.
func (s *Spool) released() (out []*generation) {
	s.mu.Lock()
	defer s.mu.Unlock()
	applied := bridge.Seq(s.applied.Load())
	for i, g := range s.gens {
		if g.active || g.gone || g.ops > applied || i == len(s.gens)-1 {
			continue
		}
		live := false
		for name, q := range s.queues {
			from, to := g.start[name].first, s.gens[i+1].start[name].first
			live = live || to > 0 && !q.done.covers(max(from, 1), to)
		}
		if !live {
			g.gone = true
			out = append(out, g)
		}
	}
	return out
}

// remove deletes a generation: first from the state, then its folder. The
// state keeps a tombstone while an older generation is there, so that the gap
// is not taken for damage.
func (s *Spool) remove(g *generation) {
	s.mu.Lock()
	oldest := s.gens[0] == g
	meta := s.metaLocked(g)
	var drop []uint64
	if oldest {
		for len(s.gens) > 0 && s.gens[0].gone {
			drop = append(drop, s.gens[0].n)
			s.gens = s.gens[1:]
		}
	}
	s.mu.Unlock()
	err := s.state.Update(func(txn *badger.Txn) error {
		if !oldest {
			return txn.Set(generationKey(g.n), meta)
		}
		for _, n := range drop {
			if err := txn.Delete(generationKey(n)); err != nil {
				return err
			}
		}
		return nil
	})
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.db != nil && g.users == 0 {
		err = errors.Join(err, closeBadger(g.db))
		g.db = nil
	}
	if err = errors.Join(err, os.RemoveAll(g.dir)); err != nil {
		s.deps.Log.Warn("removing a drained generation of the spool", "generation", g.n, "error", err)
	}
}
