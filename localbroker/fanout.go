package localbroker

import (
	"cmp"
	"slices"
	"time"

	"github.com/ebbgate/ebbgate/bridge"
)

// accepted keeps and fans out a message that does not go through the walk.
func (b *Broker) accepted(from string, m *bridge.Message, expires time.Duration) {
	p := &parcel{broker: b, from: from, msg: m, expires: expires}
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
			b.drops.CountError(err, from, m.Topic)
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
	share       string        // ShareName of a shared subscription among them
	shared      bool          // there is no ordinary one
	via         *subscription // the shared one
	queue       bool          // of its group: no member is connected
}

// receivers finds who receives a topic: each session once, at the highest of
// its granted QoS (B114), with all its Subscription Identifiers
// [MQTT-3.3.4-3]. It leaves out sessions that vain, if given, says so of; it is
// asked once for each.
func (b *Broker) receivers(from, topic string, vain func(*subscription) bool) []receiver {
	subs := b.index.match(topic, make([]*subscription, 0, 4))
	if len(subs) == 0 {
		return nil
	}
	slices.SortFunc(subs, func(a, b *subscription) int { return cmp.Compare(a.session.serial, b.session.serial) })
	var out []receiver
	var full *session
	for i, s := range subs {
		if s.session == full || s.noLocal && s.session.id == from {
			continue
		}
		if vain != nil && vain(s) {
			full = s.session
			continue
		}
		if out == nil {
			out = make([]receiver, 0, len(subs)-i)
		}
		if s.filter.group != "" && !s.session.online.Load() { // nobody in the group is
			out = append(out, receiver{session: s.session, qos: s.qos, share: s.filter.group, shared: true, via: s, queue: true})
			continue
		}
		if n := len(out); n == 0 || out[n-1].queue || out[n-1].session != s.session || s.each {
			out = append(out, receiver{session: s.session, shared: true})
		}
		r := &out[len(out)-1]
		r.qos = max(r.qos, s.qos)
		r.asRetained = r.asRetained || s.asRetained
		if s.filter.group == "" {
			r.shared = false
		} else {
			r.share, r.via = s.filter.group, s
		}
		if s.identifier > 0 {
			r.identifiers = append(r.identifiers, s.identifier)
		}
	}
	return out
}

// delivery makes the delivery of a message to this receiver (B108, B147).
func (r *receiver) delivery(m *bridge.Message, expires time.Duration) *delivery {
	d := newDelivery(m, min(m.QoS, r.qos))
	d.retain = m.Retain && r.asRetained
	d.identifiers, d.expires = r.identifiers, expires
	if d.share, d.shared = r.share, r.shared; d.shared {
		d.via = r.via
	}
	return d
}
