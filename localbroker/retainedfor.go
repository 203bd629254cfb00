package localbroker

import (
	"log/slog"
	"time"

	"github.com/ebbgate/ebbgate/bridge"
)

// The retained messages of a SUBSCRIBE. All of its filters may fit all of them,
// so that no more are listed than the session's queue takes, and the session is
// locked for a step at a time: whoever gives it a message waits for that lock.

// retainedStep is how many are sent at once.
const retainedStep = 256

// due lists the retained messages of what was granted. It is called without the
// session's lock.
func (s *session) due(c *client, plan []grant) []*delivery {
	l := &listing{session: s, room: c.settings.Limits.QueueMessages, bytes: min(int64(c.settings.Limits.QueueSize), s.broker.queued.total)}
	for i := range plan {
		switch sub := plan[i].sub; {
		case sub == nil || plan[i].silent:
		case l.full:
			s.broker.drops.Missed("session-queue-full", s.id, sub.filter.text)
		default:
			l.list(sub, c.profile.aws)
		}
	}
	if l.full {
		s.broker.quiet.warn("retained-dropped", "a SUBSCRIBE asks for more retained messages than its session's queue takes: the rest is not sent", slog.String("client", s.id))
	}
	return l.due
}

// listing is the deliveries of one SUBSCRIBE, while there is room for them.
type listing struct {
	session *session
	due     []*delivery
	room    int
	bytes   int64
	full    bool
}

// list adds those of a subscription.
func (l *listing) list(sub *subscription, exact bool) {
	b := l.session.broker
	for _, k := range b.retained.match(sub.filter.topic, exact, sub.retained) {
		l.add(sub, k.msg, min(k.msg.QoS, sub.qos), k.expires) // B158
	}
	for _, m := range b.sys.match(sub.filter.topic) {
		l.add(sub, m, 0, 0)
	}
}

func (l *listing) add(sub *subscription, m *bridge.Message, qos byte, expires time.Duration) {
	d := newDelivery(m, qos)
	if l.full = l.full || l.room < 1 || l.bytes < int64(d.size); l.full {
		l.session.broker.drops.Missed("session-queue-full", l.session.id, m.Topic)
		return
	}
	d.retain, d.expires = true, expires
	if sub.identifier > 0 {
		d.identifiers = []int{sub.identifier}
	}
	l.due = append(l.due, d)
	l.room--
	l.bytes -= int64(d.size)
}

// superseded reports whether a listed message is not the retained one of its
// topic any more: its successor comes, or has come, to the subscription.
func (s *session) superseded(d *delivery) bool {
	return !asksSys(d.msg.Topic) && !s.broker.retained.is(d.msg)
}

// offerRetained sends what was listed, or queues it.
func (s *session) offerRetained(step []*delivery) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, d := range step {
		switch {
		case !s.superseded(d):
			s.offerLocked(d)
		case d.kept.ordinal > 0:
			s.keep.settle(d.kept.ordinal)
			s.keep.remove(d)
		}
	}
}
