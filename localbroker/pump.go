package localbroker

import (
	"time"

	"github.com/ebbgate/ebbgate/bridge"
)

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
	for {
		q := s.turnLocked(c)
		if q == nil || !s.sendLocked(c, q) {
			break
		}
	}
	s.readAheadLocked()
}

// turnLocked is the queue whose front is to be sent next, nil when nothing can
// be: what was in flight before, then what was stored, when its pace allows,
// beside what comes now (B65, B66).
func (s *session) turnLocked(c *client) *fifo {
	q := &s.out.again
	d := q.front()
	if d == nil && s.keep != nil && len(s.keep.again) > 0 {
		return s.quickLocked(c) // what comes first has not been read yet
	}
	if d == nil && s.out.replay.len() > 0 {
		if len(s.out.flight) >= c.window || !c.wire.room() {
			return nil
		}
		if s.out.replay.front().expired(s.broker.age()) { // to be dropped, which takes nothing from the pace
			return &s.out.replay
		}
		if wait := s.replayWaitLocked(false); wait <= 0 {
			return &s.out.replay
		} else if s.out.waiting.len() == 0 {
			s.wakeLocked(c, wait)
		}
	}
	if d == nil {
		q = &s.out.waiting
		d = q.front()
	}
	if d == nil || d.qos > 0 && len(s.out.flight) >= c.window || !c.wire.room() { // B113
		return nil
	}
	return q
}

// quickLocked lets QoS 0 pass, which has no packet id that could be another's.
func (s *session) quickLocked(c *client) *fifo {
	if d := s.out.waiting.front(); d != nil && d.qos == 0 && c.wire.room() {
		return &s.out.waiting
	}
	return nil
}

// expired reports whether the delivery's time is over (B118).
func (d *delivery) expired(now time.Duration) bool { return d.expires != 0 && d.expires <= now }

// wakeLocked pumps again once the pace allows the next one.
func (s *session) wakeLocked(c *client, wait time.Duration) {
	if s.timer != nil {
		s.timer.Stop()
	}
	s.timer = time.AfterFunc(wait, func() { c.guard(func() { s.pump(c) }) })
}

// sendLocked writes the front of a queue, or drops it when it cannot be sent any
// more. It reports whether to go on.
func (s *session) sendLocked(c *client, q *fifo) bool {
	d := q.front()
	if d.qos == 2 {
		if s.profile.aws { // the session has moved to another listener
			d.qos = 1
		} else if d.begun = d.begun || d.id == 0 && s.mayHaveBegun(d); d.released {
			return s.finishLocked(c, q, d)
		}
	}
	again := d.id != 0 || d.begun
	if d.released {
		s.dropLocked(q, d, "", bridge.ResultAcked)
		return true
	}
	if !s.decided(d) {
		return s.giveUpLocked(c, q, d, again, "", bridge.ResultAcked) // nobody may have it
	}
	now := s.broker.age()
	var left time.Duration
	if d.expires != 0 {
		if left = d.expires - now; left <= 0 { // B118
			return s.giveUpLocked(c, q, d, again, "expired", bridge.ResultRetry)
		}
	}
	if !again && d.kept.ordinal > 0 && d.from == nil && q != &s.out.replay && s.keep.wasStored(d) {
		s.replayWaitLocked(false) // nothing waits here, AWS would: it is counted
	}
	if d.qos > 0 && !s.out.numbered(d) {
		return false
	}
	packet, err := encodePublish(d, c.version, again && !s.profile.aws, uint32(left/time.Second)) // B112, B117
	if most := c.most(d); err != nil || len(packet) > most {                                      // B41
		return s.giveUpLocked(c, q, d, again, "client-packet-size", bridge.ResultRefused)
	}
	if c.wire.writeDelivery(packet, s.answers(d)) != nil {
		return false
	}
	s.broker.traffic.delivered(len(d.msg.Payload))
	d.firstAt, d.sentAt = now, now
	if s.out.pop(q, d.qos > 0); d.qos == 0 {
		d.done(bridge.ResultAcked)
	}
	return true
}

// most is the largest packet that a delivery may make.
func (c *client) most(d *delivery) int {
	if d.large {
		return c.announced
	}
	return c.largest
}

// dropLocked drops the front of a queue; reason is empty when that is counted.
func (s *session) dropLocked(q *fifo, d *delivery, reason string, r bridge.Result) {
	if reason != "" {
		s.broker.drops.Missed(reason, s.id, d.msg.Topic)
	}
	s.out.pop(q, false)
	s.doneLocked(d, r)
}

// doneLocked ends a delivery that has left the outbox.
func (s *session) doneLocked(d *delivery, r bridge.Result) {
	d.done(r)
	switch {
	case d.from != nil:
		d.from.settled(d)
	case d.kept.ordinal > 0:
		s.keep.remove(d)
	}
}

// acked takes a PUBACK of the device. A reason code of refusal settles the
// delivery as well: the device has had its say.
func (s *session) acked(id uint16) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if d := s.out.acked(id); d != nil {
		s.doneLocked(d, bridge.ResultAcked)
		s.pumpLocked()
	}
}
