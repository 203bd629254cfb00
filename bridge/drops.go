package bridge

import (
	"cmp"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"
	"unicode/utf8"
)

// DropLog knows of every message that did not go where it should.
//
// What was refused, and so never accepted, is counted by reason since the start,
// with one of the latest as an example (Count). Counting is cheap.
//
// What the local broker owed one of its subscribers and gives up is counted in
// the same way (Missed), and written by reason and hour within a second. It is not
// written one by one, nor before the message's giver is acknowledged: one device
// that reads nothing has thousands of messages a second dropped, for which their
// givers must not wait nor the flash wear, and which would push out of the log
// what was accepted for an upstream. A crash forgets the last second of it.
//
// What was accepted for an upstream and is given up is logged (Note): durable,
// in the transaction that releases it, by reason and hour and one by one. A log
// of [OpenDropLog] keeps all that; the zero DropLog counts only.
type DropLog struct {
	refused, missed, given reasons
	book                   *dropBook // nil keeps nothing
	parts                  *book     // what was made a part of something else
	claims                 claims
}

// SiteQueue stands for the queues of the site's own devices in the sums by hour.
const SiteQueue = "site"

// The reasons of what was accepted and given up; [Expired] is one as well.
const (
	DeadLetter    = "dead-letter"    // refused for good: it is kept in the dead letters
	RequestDenied = "request-denied" // a request of a device that the receiver's policy denies
	ByOperator    = "operator"       // ebbgate spool drop
)

// reasons counts by reason.
type reasons struct {
	all atomic.Pointer[map[string]*dropped] // replaced, never written to
	mu  sync.Mutex                          // of who replaces it
}

// dropped is one reason.
type dropped struct {
	count atomic.Int64
	saved int64 // of it, in the sums by hour: of those missed, and Keep's alone

	mu   sync.Mutex
	last Drops // but its count
}

// Drops is what the drop log knows about one reason.
type Drops struct {
	Reason string
	Count  int64
	Last   time.Time
	Device string // of the example
	Topic  string // of the example
	Detail string // of the example, for a person: which statement denied it
	Logged bool   // they were accepted, and stand in the log or, as missed, in its sums
}

// Count records one drop. Reasons are a small fixed set of kebab-case words;
// names and topics are examples, not labels.
func (l *DropLog) Count(reason, device, topic string) { l.refused.count(reason, device, topic, "") }

// Missed records that a message which was accepted does not go to a device of the
// site that was to have it. Reasons are as with Count.
func (l *DropLog) Missed(reason, device, topic string) { l.missed.count(reason, device, topic, "") }

// MissedAll is Missed for n messages of one device.
func (l *DropLog) MissedAll(reason string, n int, device, topic string) {
	if n > 0 {
		l.missed.count(reason, device, topic, "")
		l.missed.reason(reason).count.Add(int64(n) - 1)
	}
}

// CountError records one drop for err: its kind is the reason, its text the
// detail.
func (l *DropLog) CountError(err error, device, topic string) {
	l.refused.count(KindOf(err).String(), device, topic, err.Error())
}

// Note records in b, which releases s, that s is given up: it is in the log when
// b is committed, and only then.
func (l *DropLog) Note(b *Batch, s *Stored, reason, detail string) {
	l.enter(b, entryOf(s, reason, detail))
}

// NoteAgain is Note for a record that a batch before has noted which came to
// nothing: the counters of this start have it already.
func (l *DropLog) NoteAgain(b *Batch, s *Stored, reason, detail string) {
	l.write(b, entryOf(s, reason, detail))
}

func entryOf(s *Stored, reason, detail string) *DropEntry {
	return &DropEntry{
		ID: s.ID, Reason: reason, Queue: s.Receiver.Queue, Size: s.Size(),
		Device: s.Device, Topic: s.Topic, Detail: detail, Accepted: s.Wall,
	}
}

// enter is Note for who knows no more of the message than this; when it is
// dropped is filled in.
func (l *DropLog) enter(b *Batch, e *DropEntry) {
	l.given.count(e.Reason, e.Device, e.Topic, e.Detail)
	l.write(b, e)
}

func (l *DropLog) write(b *Batch, e *DropEntry) {
	if l.book == nil {
		return
	}
	now := l.book.now()
	e.Dropped, e.Synced = now.Wall, now.Synced
	e.Device, e.Topic, e.Detail = cut(e.Device, maxDropDevice), cut(e.Topic, maxDropTopic), cut(e.Detail, maxDropDetail)
	l.book.note(b, e)
}

// cut shortens a text, and leaves it UTF-8 if it was.
func cut(s string, most int) string {
	if len(s) <= most {
		return s
	}
	for most > 0 && !utf8.RuneStart(s[most]) {
		most--
	}
	return s[:most]
}

func (l *reasons) count(reason, device, topic, detail string) {
	d := l.reason(reason)
	d.count.Add(1)
	if d.mu.TryLock() { // an example is enough: nobody waits for it
		d.last = Drops{Reason: reason, Last: time.Now(), Device: device, Topic: topic, Detail: detail}
		d.mu.Unlock()
	}
}

func (l *reasons) reason(reason string) *dropped {
	if d := l.known()[reason]; d != nil {
		return d
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if d := l.known()[reason]; d != nil {
		return d
	}
	d := &dropped{last: Drops{Reason: reason}}
	reasons := map[string]*dropped{reason: d}
	maps.Copy(reasons, l.known())
	l.all.Store(&reasons)
	return d
}

func (l *reasons) known() map[string]*dropped {
	if reasons := l.all.Load(); reasons != nil {
		return *reasons
	}
	return nil
}

// All lists the drops since the start by falling count.
func (l *DropLog) All() []Drops {
	var out []Drops
	for i, r := range []*reasons{&l.refused, &l.missed, &l.given} {
		for _, d := range r.known() {
			d.mu.Lock()
			one := d.last
			d.mu.Unlock()
			one.Count, one.Logged = d.count.Load(), i > 0
			out = append(out, one)
		}
	}
	slices.SortStableFunc(out, func(a, b Drops) int {
		return cmp.Or(cmp.Compare(b.Count, a.Count), cmp.Compare(a.Reason, b.Reason))
	})
	return out
}
