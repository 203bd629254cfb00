package localbroker

import (
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ebbgate/ebbgate/bridge"
)

// session is what a client id has with the broker: subscriptions and the
// outbox. It outlives its connections for as long as the last one asked
// (B50-B68).
type session struct {
	broker *Broker
	id     string
	serial uint64      // order of creation
	online atomic.Bool // a connection is open; for the choice in share groups

	mu      sync.Mutex
	client  *client // nil while nobody is connected
	version byte    // a session is never resumed by the other version (B58)
	profile *profile
	limits  LimitOptions
	who     *bridge.Principal
	may     *authority
	expires time.Time // while nobody is connected
	ended   bool
	subs    map[string]*subscription
	out     outbox
	pacer   *pacer // nil: nothing is paced

	will    *testament // waits for its delay, while nobody is connected
	willDue time.Time
}

// bind gives the session to a connection. Deliveries begin with start.
func (s *session) bind(c *client) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.pacer = s.bucketsOf(c.profile)
	s.client, s.version, s.profile, s.limits = c, c.version, c.profile, c.settings.Limits
	s.who, s.may = c.principal, c.may
	s.will = nil // [MQTT-3.1.3-9]
}

// start opens the session's connection, now that CONNACK is out, and sends what
// waits. What was queued under other
// grants is asked about again: iot:Receive guards each delivery.
func (s *session) start(c *client) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c.open.Store(true)
	s.online.Store(true)
	s.out.keep(func(d *delivery) bool {
		if s.mayReceive(d) {
			return true
		}
		d.done(bridge.ResultAcked) // nobody may have it
		return false
	})
	s.pumpLocked()
}

// mayReceive asks whether the session's device may have the message: through an
// ordinary subscription, or through the shared one that it came by. A denial is
// counted; the device hears nothing of it (§4).
func (s *session) mayReceive(d *delivery) bool {
	d.decidedIn = s.broker.generation.Load()
	ask := bridge.Request{Action: bridge.ActionReceive, Name: d.msg.Topic}
	if !d.shared && s.may.Decide(ask).Allowed {
		return true
	}
	if ask.Share = d.share; d.share != "" && s.may.Decide(ask).Allowed {
		return true
	}
	s.broker.authErrors.count(authPublishOut)
	s.broker.drops.Count("receive-denied", s.id, d.msg.Topic)
	return false
}

// leave takes the connection off the session, which ends with it or begins to
// expire; the will is published unless the device said goodbye.
func (s *session) leave(c *client, clean bool) {
	s.broker.sessions.leave(s, c, clean)
}

// taken is what became of an offer.
type taken byte

const (
	takenNo     taken = iota // not for this session: denied, or QoS 0 and absent
	takenQueued              // sent or waiting
	takenFull                // no room: the newest is dropped, and counted unless somebody awaits it
)

// offer delivers d, or queues it in order.
func (s *session) offer(d *delivery) taken {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.offerLocked(d)
}

func (s *session) offerLocked(d *delivery) taken {
	switch {
	case s.ended:
		return takenNo
	case s.client == nil && d.qos == 0: // B64
		return takenNo
	case !s.mayReceive(d):
		return takenNo
	case !s.out.fits(d, s.limits, s.broker.memory.QueueSize):
		if d.await == nil {
			s.broker.drops.Count("session-queue-full", s.id, d.msg.Topic)
		}
		return takenFull
	case s.client == nil && !d.parks():
		return takenFull
	case s.client == nil && !s.mayStoreLocked(d): // Q23
		return s.throttledLocked(d, "queued-rate")
	case s.client != nil && !s.mayDeliverLocked(d): // Q06, Q21
		return s.throttledLocked(d, "delivery-rate")
	}
	s.out.push(d)
	s.pumpLocked()
	return takenQueued
}

// pump sends what waits, as far as window and socket allow.
func (s *session) pump(c *client) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.client == c {
		s.pumpLocked()
	}
}

func (s *session) pumpLocked() {
	c := s.client
	if c == nil || !c.open.Load() {
		return
	}
	for d := s.out.front(); d != nil; d = s.out.front() {
		if d.qos > 0 && len(s.out.flight) >= c.window || !c.wire.room() { // B113
			return
		}
		if !s.sendLocked(c, d) {
			return
		}
	}
}

// sendLocked writes the front of the outbox, or drops it when it cannot be
// sent any more. It reports whether the socket took it.
func (s *session) sendLocked(c *client, d *delivery) bool {
	if d.decidedIn != s.broker.generation.Load() && !s.mayReceive(d) {
		s.out.pop(false)
		d.done(bridge.ResultAcked) // nobody may have it
		return true
	}
	var left time.Duration
	if !d.expires.IsZero() {
		if left = d.expires.Sub(s.broker.now()); left <= 0 { // B118
			s.dropLocked(d, "expired", bridge.ResultRetry)
			return true
		}
	}
	again := d.id != 0
	if d.qos > 0 {
		s.out.number(d)
	}
	packet, err := encodePublish(d, c.version, again && !s.profile.aws, uint32(left/time.Second)) // B112, B117
	if err != nil || len(packet) > c.largest {                                                    // B41
		s.dropLocked(d, "client-packet-size", bridge.ResultRefused)
		return true
	}
	if _, err := c.wire.Write(packet); err != nil {
		return false
	}
	s.out.pop(d.qos > 0)
	return true
}

func (s *session) dropLocked(d *delivery, reason string, r bridge.Result) {
	s.out.pop(false)
	s.broker.drops.Count(reason, s.id, d.msg.Topic)
	d.done(r)
}

// acked takes a PUBACK of the device. A reason code of refusal settles the
// delivery as well: the device has had its say.
func (s *session) acked(id uint16) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if d := s.out.acked(id); d != nil {
		d.done(bridge.ResultAcked)
		s.pumpLocked()
	}
}

// discard empties a session that has ended.
func (s *session) discard() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for sub := range maps.Values(s.subs) {
		s.broker.index.remove(s, sub.filter)
	}
	s.subs = nil
	s.out.keep(func(d *delivery) bool {
		d.done(bridge.ResultLost)
		return false
	})
}

// filters lists the subscriptions, sorted.
func (s *session) filtersLocked() []string {
	return slices.Sorted(maps.Keys(s.subs))
}
