package spool

import (
	"encoding/binary"
	"fmt"
	"time"

	"github.com/ebbgate/ebbgate/bridge"
)

// change is a set of changes for the state. Those that came through the log
// carry their commit.
type change struct {
	*bridge.Batch
	logged bridge.Seq // the commit that holds them, 0 for none
	lost   []Missing  // places to give up

	claims, unclaims []bridge.Release // places that a move is to release, or is not after all
	moves            []bridge.Release // of those that it carries: what moves have claimed

	late bool // it was for live records only, and one is not
	done func(bridge.Seq, error)
}

// size is what the state would take of it; what goes to the shelf does not count.
func (c *change) size() int {
	n := 32 * (len(c.Releases) + len(c.Adds))
	for _, p := range c.Puts {
		if bridge.OnShelf(p.Namespace) {
			continue
		}
		n += 32 + len(p.Namespace) + len(p.Key) + len(p.Value)
	}
	for _, a := range c.Adds {
		n += len(a.Namespace) + len(a.Key)
	}
	return n
}

// lasts reports whether a change is written until it is: its givers have been told
// that it is done.
func (c *change) lasts() bool { return c.logged > 0 || len(c.unclaims) > 0 }

// keep is the state keeper: it takes what waits, writes it in one synced
// transaction, publishes it, and completes it.
func (s *Spool) keep() {
	save := time.NewTicker(ageSaved)
	defer save.Stop()
	for {
		var batch []*change
		select {
		case <-save.C:
		case c, ok := <-s.changes:
			if !ok {
				return
			}
			batch = append(batch, c)
		}
		size := 0
		for len(batch) > 0 && size < maxStateBatch/2 {
			size += batch[len(batch)-1].size()
			select {
			case c, ok := <-s.changes:
				if ok {
					batch = append(batch, c)
					continue
				}
			default:
			}
			break
		}
		s.applyChanges(batch)
	}
}

// applyChanges writes a batch of changes and completes them.
func (s *Spool) applyChanges(batch []*change) {
	for i, c := range batch {
		if len(c.claims)+len(c.unclaims) == 0 {
			continue
		}
		if len(batch) > 1 { // what is before it is published first
			s.applyChanges(batch[:i])
			s.applyChanges(batch[i : i+1])
			s.applyChanges(batch[i+1:])
			return
		}
		if len(c.claims) > 0 {
			err := s.claim(c.claims)
			s.settled.add(1)
			c.done(0, err)
			return
		}
		c.Releases = s.unclaim(c.unclaims)
	}
	if len(batch) == 0 {
		return
	}
	touched, err := s.writeUnlessHalted(batch)
	if err != nil && len(batch) > 1 { // whose fault is it?
		for _, c := range batch {
			s.applyChanges([]*change{c})
		}
		return
	}
	for err != nil && len(batch) == 1 && batch[0].lasts() && s.pause(stateRetry) {
		// It is acknowledged, and in the log or nowhere else: nothing may pass it.
		s.stateFails(err)
		touched, err = s.writeChanges(batch)
	}
	if err != nil && len(batch) == 1 && batch[0].logged > 0 {
		s.halted = err // the spool closes: the next start takes it from the log
	}
	if err == nil {
		s.mu.Lock()
		for name, r := range touched {
			q := s.queueLocked(name)
			q.done = r
			q.marks.trim(r.head)
		}
		s.mu.Unlock()
		for _, c := range batch {
			if c.logged > 0 {
				s.applied.Store(uint64(c.logged))
			}
			s.settleClaims(c)
		}
		s.deps.Health.Clear("spool-state")
	} else {
		err = &bridge.Error{Op: "write state", Kind: bridge.Unavailable, Err: err}
		s.stateFails(err)
	}
	s.settled.add(int64(len(batch)))
	for _, c := range batch {
		switch {
		case c.done == nil:
		case err == nil && c.late:
			c.done(0, bridge.ErrReleased)
		default:
			c.done(0, err)
		}
	}
	if len(touched) > 0 {
		s.collect()
	}
}

// writeUnlessHalted writes changes, unless one that is in the log could not be
// written before: were a later one of the log written, a start would not look for it.
func (s *Spool) writeUnlessHalted(batch []*change) (map[string]releases, error) {
	for _, c := range batch {
		if c.logged > 0 && s.halted != nil {
			return nil, s.halted
		}
	}
	return s.writeChanges(batch)
}

const stateRetry = 200 * time.Millisecond

// pause waits, and returns false when the spool closes.
func (s *Spool) pause(d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-s.gone:
		return false
	case <-t.C:
		return true
	}
}

func (s *Spool) stateFails(err error) {
	s.deps.Health.Raise(bridge.Warning{Code: "spool-state", Severity: bridge.Critical,
		Text: fmt.Sprintf("the spool's state cannot be written: %v", err)})
}

// writeChanges makes one transaction of the batch. It returns the releases of
// the queues that it touches, as they are after it.
func (s *Spool) writeChanges(batch []*change) (map[string]releases, error) {
	touched := map[string]releases{}
	adds, set := map[string]int64{}, map[string]int64{}
	err := s.updateState(func(txn *stateTxn) error {
		for _, c := range batch {
			if c.late = c.IfLive && !s.live(touched, c.Releases); c.late {
				continue
			}
			s.releaseInto(touched, c)
			for _, p := range c.Puts {
				k := userKey(p.Namespace, p.Key)
				delete(adds, string(k))
				delete(s.counters, string(k))
				if err := txn.put(k, p.Value); err != nil {
					return err
				}
			}
			for _, a := range c.Adds {
				adds[string(userKey(a.Namespace, a.Key))] += a.Delta
			}
			if c.logged > 0 {
				if err := txn.Set([]byte(keyApplied), binary.BigEndian.AppendUint64(nil, uint64(c.logged))); err != nil {
					return err
				}
			}
		}
		for k, delta := range adds {
			n, err := s.counters.get(txn.Txn, k)
			if err != nil {
				return err
			}
			set[k] = n + delta
			if err := txn.Set([]byte(k), binary.BigEndian.AppendUint64(nil, uint64(set[k]))); err != nil {
				return err
			}
		}
		for name, r := range touched {
			if err := txn.Set([]byte(keyQueue+name), r.encode()); err != nil {
				return err
			}
		}
		return txn.Set([]byte(keyAge), s.age.encode())
	})
	s.counters.took(set, err)
	return touched, err
}

// live reports whether none of the records is released, as touched and the queues
// have it.
func (s *Spool) live(touched map[string]releases, list []bridge.Release) bool {
	for _, r := range list {
		t, ok := touched[r.Queue]
		if gone := ok && t.has(r.Place) || !ok && s.Released(r.Queue, r.Place); gone {
			return false
		}
	}
	return true
}

func (s *Spool) releaseInto(touched map[string]releases, c *change) {
	of := func(queue string) releases {
		if t, ok := touched[queue]; ok {
			return t
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		return s.queueLocked(queue).done.clone()
	}
	for _, r := range c.Releases {
		if s.waits(c, r) {
			continue
		}
		t := of(r.Queue)
		t.add(r)
		touched[r.Queue] = t
	}
	for _, m := range c.lost {
		t := of(m.Queue)
		t.addRange(placeRange{m.From, m.To})
		touched[m.Queue] = t
	}
}

// settle waits until the state has taken every change handed to it before.
func (s *Spool) settle() { s.settled.wait(s.handed.Load()) }
