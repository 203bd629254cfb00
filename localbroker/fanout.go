package localbroker

import (
	"cmp"
	"slices"
	"time"

	"github.com/ebbgate/ebbgate/bridge"
)

// accepted retains and fans out a message whose answer has been decided, in the
// order of its giver.
func (b *Broker) accepted(from string, m *bridge.Message, expires time.Time) {
	if m.Retain {
		b.retained.store(m, expires)
	}
	for _, r := range b.receivers(from, m.Topic) {
		r.session.offer(r.delivery(m, expires))
	}
}

// expiry is when a message that came now expires, zero for never (B97, B99).
func (b *Broker) expiry(m *bridge.Message) time.Time {
	if !m.HasExpiry {
		return time.Time{}
	}
	return b.now().Add(time.Duration(max(m.Expiry, 1)) * time.Second)
}

// receiver is one session that a message goes to, with what its matching
// subscriptions make of the message.
type receiver struct {
	session     *session
	qos         byte
	asRetained  bool
	identifiers []int
	share       string // ShareName of a shared subscription among them
	shared      bool   // there is no ordinary one
}

// receivers finds who receives a topic: each session once, at the highest of
// its granted QoS (B114), with all its Subscription Identifiers
// [MQTT-3.3.4-3].
func (b *Broker) receivers(from, topic string) []receiver {
	subs := b.index.match(topic, nil)
	if len(subs) == 0 {
		return nil
	}
	slices.SortFunc(subs, func(a, b *subscription) int { return cmp.Compare(a.session.serial, b.session.serial) })
	out := make([]receiver, 0, len(subs))
	for _, s := range subs {
		if s.noLocal && s.session.id == from {
			continue
		}
		if n := len(out); n == 0 || out[n-1].session != s.session || s.each {
			out = append(out, receiver{session: s.session, shared: true})
		}
		r := &out[len(out)-1]
		r.qos = max(r.qos, s.qos)
		r.asRetained = r.asRetained || s.asRetained
		if s.filter.group == "" {
			r.shared = false
		} else {
			r.share = s.filter.group
		}
		if s.identifier > 0 {
			r.identifiers = append(r.identifiers, s.identifier)
		}
	}
	return out
}

// delivery makes the delivery of a message to this receiver (B108, B147).
func (r *receiver) delivery(m *bridge.Message, expires time.Time) *delivery {
	d := newDelivery(m, min(m.QoS, r.qos))
	d.retain = m.Retain && r.asRetained
	d.identifiers, d.expires = r.identifiers, expires
	d.share, d.shared = r.share, r.shared
	return d
}
