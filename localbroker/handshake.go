package localbroker

import (
	"time"

	"github.com/mochi-mqtt/server/v2/packets"

	"github.com/ebbgate/ebbgate/bridge"
)

// QoS 2 to a device: PUBLISH, PUBREC, PUBREL, PUBCOMP. A delivery is in flight
// until PUBCOMP. What a device has begun to receive must have the same packet id
// for good, or it could not tell it from another message: for a session that is
// kept the id follows from the delivery's place in the session's queue, so that
// it need not be stored before it is sent. That PUBREC has come is on the shelf
// before PUBREL leaves: from then on nobody sends the PUBLISH again.

// maximumQoS is the QoS that a listener of this profile grants (B75, B76).
func (p *profile) maximumQoS() byte {
	if p.aws {
		return 1
	}
	return 2
}

// acknowledged takes the packets of QoS 2 other than PUBLISH.
func (c *client) acknowledged(pk *packets.Packet) *cause {
	if c.profile.maximumQoS() < 2 {
		return &cause{reason: "protocol-error", code: 0x82} // B77
	}
	switch pk.FixedHeader.Type {
	case packets.Pubrec:
		c.session.recorded(c, pk.PacketID, pk.ReasonCode)
	case packets.Pubrel:
		c.released(pk.PacketID)
	default:
		c.session.completed(pk.PacketID)
	}
	return nil
}

// retryRelease is when a PUBREC is put on the shelf again that could not be.
const retryRelease = time.Second

// fixedID is the packet id of a place in a queue.
func fixedID(ordinal uint64) uint16 { return uint16(ordinal%65535) + 1 }

// fixes reports whether the delivery's packet id follows from its place.
func (d *delivery) fixes() bool { return d.qos == 2 && d.kept.ordinal > 0 && d.from == nil }

// numbered gives d its packet id. It fails while another delivery in flight has
// the one that d must have: the next acknowledgement tries again.
func (o *outbox) numbered(d *delivery) bool {
	if d.id == 0 && d.fixes() {
		id := fixedID(d.kept.ordinal)
		if o.flying(id) {
			return false
		}
		d.id = id
	}
	o.number(d)
	return true
}

// awaited finds the QoS 2 delivery in flight with that packet id.
func (o *outbox) awaited(id uint16) (at int, d *delivery) {
	for i, d := range o.flight {
		if d.id == id && d.qos == 2 {
			return i, d
		}
	}
	return 0, nil
}

// mayHaveBegun reports whether an earlier start may have sent the delivery: what
// it had in flight is among the first of the queue.
func (s *session) mayHaveBegun(d *delivery) bool {
	k := s.keep
	if k == nil || !d.fixes() || d.kept.ordinal > k.restored || k.begun >= s.profile.window {
		return false
	}
	k.begun++
	return true
}

// finishLocked goes on with a delivery whose PUBLISH must not, or need not, be
// sent again: its PUBREL is.
func (s *session) finishLocked(c *client, q *fifo, d *delivery) bool {
	if !s.out.numbered(d) {
		return false
	}
	if _, err := c.wire.Write(encodeStep(packets.Pubrel, d.id)); err != nil {
		return false
	}
	d.released = true
	d.sentAt = s.broker.age()
	d.firstAt = d.sentAt
	s.out.pop(q, true)
	return true
}

// giveUpLocked drops the front of a queue, which cannot be sent any more. One
// whose PUBLISH may have been sent is released: the device would keep its packet
// id for ever.
func (s *session) giveUpLocked(c *client, q *fifo, d *delivery, begun bool, reason string, r bridge.Result) bool {
	if !begun || d.qos < 2 {
		s.dropLocked(q, d, reason, r)
		return true
	}
	if reason != "" {
		s.broker.drops.Missed(reason, s.id, d.msg.Topic)
	}
	return s.finishLocked(c, q, d)
}

// recorded takes a PUBREC.
func (s *session) recorded(c *client, id uint16, code byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	at, d := s.out.awaited(id)
	switch {
	case d == nil: // its end was lost with a connection; see released
		_, _ = c.wire.Write(encodeStep(packets.Pubrel, id))
	case code >= packets.ErrUnspecifiedError.Code && !d.released: // the device has had its say
		s.doneLocked(s.out.land(at), bridge.ResultAcked)
		s.pumpLocked()
	case d.released || !d.fixes():
		d.released = true
		_, _ = c.wire.Write(encodeStep(packets.Pubrel, id))
	case !d.releasing:
		s.commitReleaseLocked(c, d)
	}
}

// commitReleaseLocked puts it on the shelf that PUBREC has come, in the place of the
// message, and then sends PUBREL.
func (s *session) commitReleaseLocked(c *client, d *delivery) {
	d.releasing = true
	var batch bridge.Batch
	batch.Put(shelfQueue, d.kept.key(), encodeReleased())
	s.broker.store.Commit(&batch, func(_ bridge.Seq, err error) {
		if err != nil {
			time.AfterFunc(retryRelease, func() { c.guard(func() { s.recordAgain(c, d) }) })
			return
		}
		s.broker.courier.do(func() { s.release(c, d) })
	})
}

// recordAgain tries once more, if the connection is still there.
func (s *session) recordAgain(c *client, d *delivery) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, now := s.out.awaited(d.id); s.client == c && now == d {
		s.commitReleaseLocked(c, d)
	}
}

// release sends PUBREL, now that it is on the shelf. For a later connection the
// delivery is read from there.
func (s *session) release(c *client, d *delivery) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, now := s.out.awaited(d.id); s.client == c && now == d {
		d.released = true
		_, _ = c.wire.Write(encodeStep(packets.Pubrel, d.id))
	}
}

// completed takes a PUBCOMP.
func (s *session) completed(id uint16) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if at, d := s.out.awaited(id); d != nil && d.released {
		s.doneLocked(s.out.land(at), bridge.ResultAcked)
		s.pumpLocked()
	}
}

// shelveLocked puts a QoS 2 delivery that came without a place, such as
// one for who has just subscribed, on the shelf of a session that is kept: its packet id must
// outlive the connection. It is delivered when it is there.
func (s *session) shelveLocked(d *delivery) taken {
	k := s.keep
	if !k.fits(d.size, s.limits, int64(s.broker.memory.QueueSize)) {
		s.broker.drops.Missed("session-queue-full", s.id, d.msg.Topic)
		return takenFull
	}
	k.reserve(d)
	var batch bridge.Batch
	batch.Put(shelfQueue, d.kept.key(), encodeKept(d))
	s.broker.store.Commit(&batch, func(_ bridge.Seq, err error) {
		s.broker.courier.do(func() {
			s.mu.Lock()
			defer s.mu.Unlock()
			if err != nil {
				s.broker.drops.Missed(bridge.KindOf(err).String(), s.id, d.msg.Topic)
				k.undo(d)
				s.readAheadLocked()
				return
			}
			s.arriveLocked(d)
		})
	})
	return takenQueued
}

// remindLocked sends PUBREL again, to a device that has not answered it. It
// reports whether the delivery is beyond its PUBLISH.
func (s *session) remindLocked(c *client, d *delivery) bool {
	if d.qos == 2 && d.released {
		_, _ = c.wire.Write(encodeStep(packets.Pubrel, d.id))
	}
	return d.qos == 2 && (d.released || d.releasing)
}
