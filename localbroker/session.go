package localbroker

import (
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ebbgate/ebbgate/bridge"
)

// session is what a client id has with the broker: subscriptions and a queue.
// It outlives its connections for as long as the last one asked (B50-B68), and
// then, if it was made to be kept, the broker as well: its record and its queue
// are on the shelf.
type session struct {
	broker *Broker
	id     string
	serial uint64      // order of creation
	keep   *backlog    // nil for a session that ends with its connection
	online atomic.Bool // a connection is open; for the choice in share groups

	mu      sync.Mutex
	client  *client // nil while nobody is connected
	version byte    // a session is never resumed by the other version (B58)
	profile *profile
	limits  LimitOptions
	who     *bridge.Principal
	may     *authority
	expiry  time.Duration // how long it is kept without a connection
	expires time.Duration // age at which it ends, while nobody is connected
	ended   bool
	unsaved bool // the shelf's record is not what it should be
	subs    map[string]*subscription
	filters int64 // what subs cost in memory
	out     outbox

	received receptions // QoS 2 PUBLISHes of the device
	pacer    *pacer     // nil: nothing is paced

	timer *time.Timer // for the pace of what was stored while the device was away

	will *testament // waits for its delay, while nobody is connected
}

// bind gives the session to a connection, and returns the will that is not to be
// published now. Deliveries begin with start.
func (s *session) bind(c *client) (was *testament) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.pacer = s.bucketsOf(c.profile)
	s.client, s.version, s.profile, s.limits = c, c.version, c.profile, c.settings.Limits
	s.who, s.may, s.expiry = c.principal, c.may, c.expiry
	was, s.will = s.will, nil
	if s.keep != nil {
		s.keep.attach(s.pacer != nil && s.pacer.pace == paceBites)
	}
	return was
}

// start opens the session's connection, now that CONNACK is out, and sends what
// waits. What was queued under other grants is asked about again: iot:Receive
// guards each delivery.
func (s *session) start(c *client) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c.open.Store(true)
	s.online.Store(true)
	s.pumpLocked()
	s.broker.drawFor(s.sharedLocked())
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
	s.broker.drops.Missed("receive-denied", s.id, d.msg.Topic)
	return false
}

// decided reports whether the policy allows d, asking only when it may answer
// otherwise than before.
func (s *session) decided(d *delivery) bool {
	return d.decidedIn == s.broker.generation.Load() || s.mayReceive(d)
}

// leave takes the connection off the session, which ends with it or begins to
// expire; the will is published unless the device said goodbye.
func (s *session) leave(c *client, clean bool) {
	s.broker.sessions.leave(s, c, clean)
}

// detachLocked gives back what memory holds for a connection that has ended.
func (s *session) detachLocked() {
	s.client = nil
	s.online.Store(false)
	if s.timer != nil {
		s.timer.Stop()
	}
	flight, waiting := s.out.empty()
	if s.keep != nil {
		s.keep.detach(flight, waiting)
	}
	s.releaseLocked(append(flight, waiting...))
}

// releaseLocked gives up what memory alone had: the giver keeps it, or it goes
// back to its share group (B176). What was never sent is missed.
func (s *session) releaseLocked(all []*delivery) {
	returned := map[*group][]*delivery{}
	var others []*delivery
	missed := 0
	for _, d := range all {
		switch {
		case d.from != nil:
			returned[d.from] = append(returned[d.from], d)
		case d.await != nil:
			d.done(bridge.ResultLost)
		case d.kept.ordinal == 0 && d.via != nil && (d.qos == 1 || d.qos == 2 && d.id == 0): // [MQTT-4.8.2-5]
			others = append(others, d)
		case d.kept.ordinal == 0 && d.sentAt == 0:
			missed++
		}
	}
	s.broker.drops.MissedAll(reasonEnded, missed, s.id, "")
	if len(others) > 0 {
		go func() {
			for _, d := range others {
				s.broker.guard(func() { s.broker.redirect(d) })
			}
		}()
	}
	for g, ds := range returned {
		g.returned(ds)
	}
}

// taken is what became of an offer.
type taken byte

const (
	takenNo     taken = iota // not for this session: denied, or not kept and absent
	takenQueued              // sent or waiting
	takenGone                // the session or group has ended
	takenFull                // no room: the newest is dropped, and counted unless somebody awaits it
)

// reserve takes a place for a delivery that is to be kept, before its commit.
// What has been promised already is above no quota of pace: AWS's are no reason
// to lose it.
func (s *session) reserve(d *delivery, promised bool) taken {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.ended:
		return takenGone
	case !s.mayReceive(d):
		return takenNo
	case !s.keep.fits(d.size, s.limits, int64(s.broker.memory.QueueSize)): // B63
		s.broker.drops.Missed("session-queue-full", s.id, d.msg.Topic)
		return takenFull
	case promised, d.counted:
	case s.client == nil && !s.mayStoreLocked(d): // Q23
		return s.throttledLocked(d, "queued-rate")
	case s.client != nil && !s.mayDeliverLocked(d): // Q06, Q21
		return s.throttledLocked(d, "delivery-rate")
	}
	s.keep.reserve(d)
	return takenQueued
}

// busy reports whether a quota of pace keeps the session from taking d now; if
// not, d has been counted.
func (s *session) busy(d *delivery) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	d.counted = true
	return s.client != nil && !s.mayDeliverLocked(d)
}

// profileNow is the profile of the session's listener.
func (s *session) profileNow() *profile {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.profile
}

// undo takes back a place: the commit failed.
func (s *session) undo(d *delivery) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.keep.undo(d)
	s.readAheadLocked()
}

// offer delivers d, or queues it in order.
func (s *session) offer(d *delivery) taken {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.offerLocked(d)
}

func (s *session) offerLocked(d *delivery) taken {
	if d.kept.ordinal > 0 {
		return s.arriveLocked(d)
	}
	switch {
	case s.ended || s.client == nil: // B64
		return takenNo
	case !s.decided(d):
		return takenNo
	case d.qos == 2 && s.keep != nil:
		return s.shelveLocked(d)
	case !s.out.fits(d, s.limits):
		if d.await == nil {
			s.broker.drops.Missed("session-queue-full", s.id, d.msg.Topic)
		}
		return takenFull
	case !d.counted && !s.mayDeliverLocked(d): // Q06, Q21
		return s.throttledLocked(d, "delivery-rate")
	}
	s.out.push(&s.out.waiting, d)
	s.pumpLocked()
	return takenQueued
}

// arriveLocked takes a delivery that is on the shelf.
func (s *session) arriveLocked(d *delivery) taken {
	if s.ended {
		s.keep.store.drop(d.kept)
		return takenNo
	}
	if s.keep.arrive(d, s.client != nil, s.out.room(d)) {
		s.out.push(&s.out.waiting, d)
	}
	s.pumpLocked()
	return takenQueued
}

// discard empties a session that has ended.
func (s *session) discard() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for sub := range maps.Values(s.subs) {
		s.broker.index.remove(s, sub.filter)
	}
	shared := s.sharedLocked()
	s.subs, s.filters = nil, 0
	flight, waiting := s.out.empty()
	s.releaseLocked(append(flight, waiting...))
	for _, f := range shared {
		s.broker.groups.left(f)
	}
	if s.keep != nil {
		s.broker.drops.MissedAll(reasonEnded, s.keep.count, s.id, "")
		s.broker.erase(s.keep)
	}
}

// reasonEnded is the reason of what waited for a device whose session has ended.
const reasonEnded = "session-ended"

// filters lists the subscriptions, sorted.
func (s *session) filtersLocked() []string {
	return slices.Sorted(maps.Keys(s.subs))
}
