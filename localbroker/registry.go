package localbroker

import (
	"errors"
	"sync"
	"time"

	"github.com/ebbgate/ebbgate/bridge"
)

// registry is the sessions by client id. mochi's own map cannot be: an old
// connection that ends late removes the entry of the one that took it over, and
// two CONNECTs of one client id at once both get in. So mochi sees a unique id
// for each connection, and take-over happens here (B19).
type registry struct {
	broker *Broker

	mu     sync.Mutex
	byID   map[string]*session
	serial uint64
}

// takeoverTimeout bounds how long a new connection waits for the old one to
// leave. Nothing that the old one does can take this long.
const takeoverTimeout = 5 * time.Second

// attach gives c its session: the stored one or a new one (B50-B58). A present
// connection of the same client id is closed first.
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
			err := r.bindLocked(s, c)
			r.mu.Unlock()
			return err
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

func (r *registry) bindLocked(s *session, c *client) error {
	c.present = s != nil && !c.hello.Connect.Clean && s.version == c.version && s.expires.After(r.broker.now())
	if !c.present {
		if s == nil && len(r.byID) >= r.broker.memory.Sessions {
			return refuse("session-count", 0x97, 3, nil)
		}
		if s != nil {
			r.endLocked(s)
		}
		r.serial++
		s = &session{broker: r.broker, id: c.id, serial: r.serial}
		s.out.total = &r.broker.queued
		r.byID[c.id] = s
	}
	c.session = s
	s.bind(c)
	return nil
}

// leave takes c off its session.
func (r *registry) leave(s *session, c *client, clean bool) {
	var last *testament
	if !clean && c.will != nil && !c.willRevoked.Load() {
		last = &testament{will: c.will, principal: c.principal, may: c.may}
	}
	r.mu.Lock()
	s.mu.Lock()
	now := r.broker.now()
	s.client = nil
	s.online.Store(false)
	s.out.keep(func(d *delivery) bool {
		if d.parks() {
			return true
		}
		d.done(bridge.ResultLost) // its giver keeps it
		return false
	})
	s.expires = now.Add(c.expiry)
	if last != nil && last.delay > 0 && c.expiry > 0 {
		s.will, s.willDue = last, now.Add(min(last.delay, c.expiry))
		last = nil
	}
	s.mu.Unlock()
	if c.expiry == 0 {
		r.endLocked(s)
	}
	r.mu.Unlock()
	if last != nil {
		r.broker.publish(*last)
	}
}

// endLocked removes a session; its delayed will is published [MQTT-3.1.3-9].
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
		go r.broker.guard(func() { r.broker.publish(*last) })
	}
}

// sweep ends the sessions whose time has come and publishes the wills whose
// delay is over.
func (r *registry) sweep(now time.Time) {
	var due []testament
	r.mu.Lock()
	for _, s := range r.byID {
		s.mu.Lock()
		away := s.client == nil
		expired := away && !s.expires.After(now)
		if away && s.will != nil && !s.willDue.After(now) {
			due = append(due, *s.will)
			s.will = nil
		}
		s.mu.Unlock()
		if expired {
			r.endLocked(s)
		}
	}
	r.mu.Unlock()
	for _, t := range due {
		r.broker.publish(t)
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
