package localbroker

import (
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/ebbgate/ebbgate/bridge"
)

// registry is the sessions by client id, and where one is taken over (B19).
type registry struct {
	broker *Broker

	mu     sync.Mutex
	byID   map[string]*session
	serial uint64 // of sessions that are not kept; see unkept
}

// Serials of sessions that are not kept are above all numbers of the shelf.
const unkept = 1 << 63

// takeoverTimeout bounds how long a new connection waits for the old one to
// leave. Nothing that the old one does can take this long.
const takeoverTimeout = 5 * time.Second

// attach gives c its session: the stored one or a new one (B50-B58). A present
// connection of the same client id is closed first. It returns when that is
// durable; a shelf that cannot take it now keeps nobody out.
func (r *registry) attach(c *client) error {
	timeout := time.NewTimer(takeoverTimeout)
	defer timeout.Stop()
	for {
		r.mu.Lock()
		if c.decidedIn != r.broker.generation.Load() { // Enforce has not seen c, nor will
			r.mu.Unlock()
			if err := c.introduce(); err != nil {
				return err
			}
			continue
		}
		s := r.byID[c.id]
		if s == nil || s.current() == nil {
			saved, err := r.bindLocked(s, c)
			r.mu.Unlock()
			if err != nil || saved == nil {
				return err
			}
			if err := <-saved; err != nil {
				r.broker.quiet.warn("session-unsaved", "a session cannot be stored now, it is tried again", slog.String("client", c.id), slog.String("error", err.Error()))
			}
			return nil
		}
		old := s.current()
		r.mu.Unlock()
		old.close(cause{reason: "taken-over", code: 0x8E})
		select {
		case <-old.gone:
		case <-c.wire.done:
			return refuse("connection-lost", 0, 0, nil)
		case <-timeout.C:
			return refuse("taken-over", 0x97, 3, errors.New("the old connection does not end"))
		}
	}
}

func (s *session) current() *client {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.client
}

// bindLocked finds or makes the session. All that changes on the shelf is in one
// batch: the old session's end, the new one's record, the will.
func (r *registry) bindLocked(s *session, c *client) (<-chan error, error) {
	c.present = s != nil && !c.hello.Connect.Clean && s.version == c.version && s.expires > r.broker.age()
	var batch bridge.Batch
	var ceiling uint64
	replaced := false // a session that was kept goes
	if !c.present {
		if s == nil && len(r.byID) >= r.broker.memory.Sessions {
			return nil, refuse("session-count", 0x97, 3, nil)
		}
		if s != nil {
			r.endLocked(s)
			replaced = s.keep != nil
		}
		s = &session{broker: r.broker, id: c.id}
		if c.expiry > 0 {
			s.serial, ceiling = r.broker.store.number(&batch)
			s.keep = newBacklog(r.broker.store, s.serial)
		} else {
			r.serial++
			s.serial = unkept + r.serial
		}
		s.out.all = &r.broker.queued
		r.byID[c.id] = s
	}
	c.session = s
	if was := s.bind(c); was != nil { // [MQTT-3.1.3-9]
		batch.Put(shelfWill, was.key(), nil)
	}
	ceiling = max(ceiling, c.testify(&batch))
	if s.keep == nil && replaced {
		batch.Put(shelfSession, s.id, nil)
	}
	if s.keep == nil && batch.Empty() {
		return nil, nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.commitLocked(&batch, ceiling), nil
}

// removeLocked commits that the shelf has no session of a client id any more.
func (r *registry) removeLocked(id string, batch *bridge.Batch) <-chan error {
	batch.Put(shelfSession, id, nil)
	done := make(chan error, 1)
	r.broker.store.Commit(batch, func(_ bridge.Seq, err error) {
		if err != nil {
			go r.broker.guard(func() { r.forget(id) })
		}
		done <- err
	})
	return done
}

// forget removes the record of a client id that has no kept session, when the
// shelf takes no commits.
func (r *registry) forget(id string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if s := r.byID[id]; s == nil || s.keep == nil {
		r.broker.store.Forget(shelfSession, id) // under the lock: before the next record
	}
}

// leave takes c off its session.
func (r *registry) leave(s *session, c *client, clean bool) {
	r.mu.Lock()
	s.mu.Lock()
	now := r.broker.age()
	s.detachLocked()
	s.expiry = c.expiry
	s.expires = now + c.expiry
	last := c.lastWill(clean, s, now)
	if c.expiry > 0 && s.keep != nil {
		s.saveLocked()
	}
	s.mu.Unlock()
	if c.expiry == 0 {
		r.endLocked(s)
		if s.keep != nil {
			c.removed = r.removeLocked(s.id, &bridge.Batch{})
		}
	}
	r.mu.Unlock()
	if last != nil {
		r.broker.publish(last)
	}
}

// endLocked removes a session; its delayed will is published [MQTT-3.1.3-9].
// Its record is the caller's to remove.
func (r *registry) endLocked(s *session) {
	if r.byID[s.id] == s {
		delete(r.byID, s.id)
	}
	s.mu.Lock()
	s.ended = true
	last := s.will
	s.will = nil
	s.mu.Unlock()
	s.discard()
	if last != nil {
		go r.broker.guard(func() { r.broker.publish(last) })
	}
}

// sweep ends the sessions whose time has come, publishes the wills whose delay
// is over, and tries again what the shelf could not take. It waits for no session
// with the registry locked, where every CONNECT passes.
func (r *registry) sweep(now time.Duration) {
	due := r.broker.wills.take(now)
	for _, s := range r.all() {
		last, expired := s.sweep(now)
		if last != nil {
			due = append(due, last)
		}
		if expired {
			r.expire(s, now)
		}
	}
	for _, t := range due {
		r.broker.publish(t)
	}
}

// sweep returns the will whose delay is over, and whether the session's time is.
func (s *session) sweep(now time.Duration) (last *testament, expired bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ended {
		return nil, false
	}
	away := s.client == nil
	expired = away && s.expires <= now
	if away && s.will != nil && s.will.due <= now {
		last, s.will = s.will, nil
	}
	if s.unsaved && !expired {
		s.saveLocked()
	}
	s.retryLocked(now)
	s.readAheadLocked()
	if s.keep != nil {
		s.keep.lookLocked(s.broker, s.id, now, &s.mu, s.readAheadLocked)
	}
	return last, expired
}

// expire ends a session whose time has come, unless somebody has connected.
func (r *registry) expire(s *session, now time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	s.mu.Lock()
	over := !s.ended && s.client == nil && s.expires <= now
	s.mu.Unlock()
	if !over {
		return
	}
	r.broker.traffic.expired.Add(1)
	r.endLocked(s)
	if s.keep != nil {
		r.broker.store.Forget(shelfSession, s.id) // the next start ends it again if need be
	}
}

// all lists the sessions.
func (r *registry) all() []*session {
	r.mu.Lock()
	defer r.mu.Unlock()
	out := make([]*session, 0, len(r.byID))
	for _, s := range r.byID {
		out = append(out, s)
	}
	return out
}

// find returns the session of a client id, nil if there is none.
func (r *registry) find(id string) *session {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.byID[id]
}
