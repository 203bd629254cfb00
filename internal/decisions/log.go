package decisions

import (
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ebbgate/ebbgate/bridge"
)

// Options bound what a Log keeps.
type Options struct {
	Entries int              // most decisions; 0 keeps none
	Sample  int              // of so many allowed requests one is kept, beside the first; 0 or 1: all
	Now     func() time.Time // nil: time.Now
}

// Log is the decision log. It implements [bridge.Authorizer] and is safe for
// concurrent use.
type Log struct {
	policy  bridge.Authorizer
	entries int
	sample  uint32
	now     func() time.Time
	dry     atomic.Pointer[run]

	mu      sync.Mutex
	ring    []record      // grows to entries
	next    uint64        // number of the record to come
	waiting chan struct{} // closed by the next record; nil while nobody waits
}

var _ bridge.Authorizer = (*Log)(nil)

// NewLog watches what policy answers.
func NewLog(policy bridge.Authorizer, o Options) *Log {
	l := &Log{policy: policy, entries: o.Entries, sample: uint32(max(o.Sample, 1)), now: o.Now}
	if l.now == nil {
		l.now = time.Now
	}
	return l
}

// Grants implements [bridge.Authorizer]. A principal that may do nothing is
// kept as a denied CONNECT.
func (l *Log) Grants(p *bridge.Principal) (bridge.Grants, error) {
	g, err := l.policy.Grants(p)
	if err != nil {
		l.add(p, bridge.Request{Action: bridge.ActionConnect, Name: p.ClientID}, bridge.Decision{Reason: err.Error()})
		return nil, err
	}
	return &watched{log: l, who: p, grants: g}, nil
}

// watched are the grants of one principal, watched.
type watched struct {
	log    *Log
	who    *bridge.Principal
	grants bridge.Grants
	seen   atomic.Uint32 // actions of which an allowed request has been kept
}

// Decide implements [bridge.Grants].
func (w *watched) Decide(r bridge.Request) bridge.Decision {
	d := w.grants.Decide(r)
	l := w.log
	if dry := l.dry.Load(); dry != nil {
		dry.offer(question{w.who, copied(r), d})
	}
	if d.Allowed {
		first := bit(r.Action)
		if w.seen.Load()&first != 0 {
			if l.sample > 1 && rand.Uint32N(l.sample) != 0 {
				return d
			}
		} else {
			w.seen.Or(first)
		}
	}
	l.add(w.who, r, d)
	return d
}

// bit tells the actions apart that packets ask about.
func bit(a bridge.Action) uint32 {
	switch a {
	case bridge.ActionPublish:
		return 1
	case bridge.ActionReceive:
		return 2
	case bridge.ActionSubscribe:
		return 4
	case bridge.ActionConnect:
		return 8
	case bridge.ActionRetainPublish:
		return 16
	default:
		return 32
	}
}

// record is a decision as it is kept. It shares nothing with the packet that
// asked, whose memory would live as long.
type record struct {
	at     time.Time
	number uint64
	who    subject
	ask    bridge.Request
	answer bridge.Decision
}

// subject is what is kept of a principal: its certificate would hold kilobytes.
type subject struct{ client, thing, name string }

func subjectOf(p *bridge.Principal) subject {
	s := subject{client: p.ClientID, thing: p.Thing.Name, name: p.User}
	if p.CertificateID != "" {
		s.name = p.CertificateID
	}
	return s
}

// copied is a request that shares nothing with the packet that brought it.
func copied(r bridge.Request) bridge.Request {
	r.Name, r.WillTopic, r.Topic = strings.Clone(r.Name), strings.Clone(r.WillTopic), strings.Clone(r.Topic)
	return r
}

// longestName bounds what is kept of a topic, in bytes.
const longestName = 512

func (l *Log) add(p *bridge.Principal, r bridge.Request, d bridge.Decision) {
	if l.entries == 0 {
		return
	}
	r.Name, r.WillTopic, r.Topic = keep(r.Name), keep(r.WillTopic), keep(r.Topic)
	at := l.now()
	l.mu.Lock()
	defer l.mu.Unlock()
	x := record{at: at, number: l.next, who: subjectOf(p), ask: r, answer: d}
	if len(l.ring) < l.entries {
		l.ring = append(l.ring, x)
	} else {
		l.ring[l.next%uint64(l.entries)] = x
	}
	l.next++
	if l.waiting != nil {
		close(l.waiting)
		l.waiting = nil
	}
}

// keep copies a text, so that it does not hold a whole packet.
func keep(text string) string {
	if len(text) > longestName {
		return strings.ToValidUTF8(text[:longestName], "") + "…"
	}
	return strings.Clone(text)
}

// readBatch is how many decisions are read under one lock.
const readBatch = 256

// read returns decisions from number on, at most readBatch, the number to go on
// from, and how many of those asked for are no longer there.
func (l *Log) read(from uint64) (records []record, next, missed uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	oldest := l.next - uint64(len(l.ring))
	if from < oldest {
		from, missed = oldest, oldest-from
	}
	for next = from; next < l.next && len(records) < readBatch; next++ {
		records = append(records, l.ring[next%uint64(l.entries)])
	}
	return records, next, missed
}

// oldest is the number of the oldest decision that is there, end that of the
// one to come.
func (l *Log) bounds() (oldest, end uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.next - uint64(len(l.ring)), l.next
}

// news is closed once there is a decision with this number.
func (l *Log) news(number uint64) <-chan struct{} {
	l.mu.Lock()
	defer l.mu.Unlock()
	if number < l.next {
		return closed
	}
	if l.waiting == nil {
		l.waiting = make(chan struct{})
	}
	return l.waiting
}

var closed = func() chan struct{} {
	c := make(chan struct{})
	close(c)
	return c
}()
