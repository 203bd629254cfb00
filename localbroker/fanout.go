package localbroker

import (
	"cmp"
	"slices"
	"time"

	"github.com/ebbgate/ebbgate/bridge"
)

// accepted keeps and fans out a message that does not go through the walk.
func (b *Broker) accepted(from string, m *bridge.Message, expires time.Duration) {
	b.fanOut(&parcel{broker: b, from: from, msg: m, expires: expires})
}

func (b *Broker) fanOut(p *parcel) {
	var batch bridge.Batch
	p.extend(&batch)
	if batch.Empty() {
		p.settle(nil)
		p.deliver(offer)
		return
	}
	b.store.Commit(&batch, func(_ bridge.Seq, err error) {
		p.settle(err)
		if err != nil {
			b.drops.CountError(err, p.from, p.msg.Topic)
			return
		}
		b.courier.do(func() { p.deliver(offer) })
	})
}

func offer(s *session, d *delivery) { s.offer(d) }

// age is the clock that everything durable is measured on: unlike the wall
// clock it never runs back, and it goes on across restarts.
func (b *Broker) age() time.Duration { return b.store.Age() }

// expiry is the age at which a message that came now expires, 0 for never (B97,
// B99).
func (b *Broker) expiry(m *bridge.Message) time.Duration {
	if !m.HasExpiry {
		return 0
	}
	return b.age() + time.Duration(max(m.Expiry, 1))*time.Second
}

// receiver is one session that a message goes to, with what its matching
// subscriptions make of the message.
type receiver struct {
	session     *session
	qos         byte
	asRetained  bool
	identifiers []int
	via         *subscription // the shared one; nil: ordinary ones
	queue       bool          // of its group: no member is connected
}

// receivers finds who receives a topic: each session once for its ordinary
// subscriptions, at the highest of their granted QoS (B114) and with all their
// Subscription Identifiers [MQTT-3.3.4-3], and once for each share group whose
// choice it is (B180). It leaves out the ordinary ones of sessions that vain, if
// given, says so of; it is asked once for each.
func (b *Broker) receivers(from, topic string, vain func(*subscription) bool) []receiver {
	subs := b.index.match(topic, make([]*subscription, 0, 4))
	if len(subs) == 0 {
		return nil
	}
	slices.SortFunc(subs, func(a, b *subscription) int { return cmp.Compare(a.session.serial, b.session.serial) })
	out := make([]receiver, 0, len(subs))
	var full *session
	ordinary := -1 // the last one of those in out
	for _, s := range subs {
		if s.noLocal && s.session.id == from {
			continue
		}
		if s.filter.group != "" {
			r := receiver{session: s.session, via: s, queue: !s.session.online.Load()} // nobody in the group is
			r.take(s)
			out = append(out, r)
			continue
		}
		if s.session == full {
			continue
		}
		if vain != nil && vain(s) {
			full = s.session
			continue
		}
		if ordinary < 0 || out[ordinary].session != s.session || s.each {
			ordinary = len(out)
			out = append(out, receiver{session: s.session})
		}
		out[ordinary].take(s)
	}
	return out
}

// take adds what a subscription makes of the message.
func (r *receiver) take(s *subscription) {
	r.qos = max(r.qos, s.qos)
	r.asRetained = r.asRetained || s.asRetained
	if s.identifier > 0 {
		r.identifiers = append(r.identifiers, s.identifier)
	}
}

// delivery makes the delivery of a message to this receiver (B108, B147).
func (r *receiver) delivery(m *bridge.Message, expires time.Duration) *delivery {
	d := newDelivery(m, min(m.QoS, r.qos))
	d.retain = m.Retain && r.asRetained
	d.identifiers, d.expires = r.identifiers, expires
	if r.via != nil {
		d.via, d.share, d.shared = r.via, r.via.filter.group, true
	}
	return d
}
