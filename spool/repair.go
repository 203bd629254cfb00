package spool

import (
	"slices"
)

// Repair makes the index of every closed generation whole again from its value
// log, and writes files of the shelf anew in which something cannot be read. The
// spool must be open; what cannot be read is set aside, as at open. It returns
// how many generations and files it rebuilt.
func (s *Spool) Repair(progress func(done, all int)) (rebuilt int, err error) {
	s.mu.Lock()
	gens := slices.Clone(s.gens)
	s.mu.Unlock()
	for i, g := range gens {
		if progress != nil {
			progress(i, len(gens))
		}
		s.mu.Lock()
		skip := g.active || g.gone
		s.mu.Unlock()
		if skip {
			continue
		}
		ok, err := s.repair(g)
		if err != nil {
			return rebuilt, err
		}
		if ok {
			rebuilt++
		}
	}
	n, err := s.shelf.store.Repair()
	if rebuilt += n; err != nil {
		return rebuilt, err
	}
	// Reading every queue to its end reports and gives up what is missing.
	for _, q := range s.Queues() {
		if err := s.readThrough(q); err != nil {
			return rebuilt, err
		}
	}
	return rebuilt, nil
}

// repair makes the index of one generation whole, unless a cursor is in it.
func (s *Spool) repair(g *generation) (bool, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.users > 0 || g.db != nil {
		return false, nil
	}
	raw, err := s.rawOf(g)
	if err != nil {
		return false, err
	}
	lacking := false
	if err = s.reopen(g); err == nil {
		for k, c := range raw {
			lacking = lacking || !s.readable(g.db, k, c)
		}
		err = closeBadger(g.db)
		g.db, g.keys = nil, nil
	}
	if err != nil || !lacking {
		return false, err
	}
	g.extra, g.salvaged = nil, false
	if err := s.reindex(g.dir, raw); err != nil {
		return true, s.rebuildDir(g.n, raw, true)
	}
	return true, nil
}

func (s *Spool) readThrough(queue string) error {
	c := s.Cursor(queue)
	defer c.Close()
	for {
		r, err := c.Next()
		if err != nil || r == nil {
			return err
		}
	}
}
