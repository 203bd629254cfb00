package bridge

import (
	"cmp"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// DropLog counts every message that is refused or dropped, with its reason,
// and keeps one of the latest of each reason as an example. The zero DropLog is
// ready. Counting is cheap: a device that reads nothing has thousands of
// messages a second dropped, and who sends them must not wait for each other.
type DropLog struct {
	reasons atomic.Pointer[map[string]*dropped] // replaced, never written to
	mu      sync.Mutex                          // of who replaces it
}

// dropped is one reason.
type dropped struct {
	count atomic.Int64

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
}

// Count records one drop. Reasons are a small fixed set of kebab-case words;
// names and topics are examples, not labels.
func (l *DropLog) Count(reason, device, topic string) { l.count(reason, device, topic, "") }

// CountError records one drop for err: its kind is the reason, its text the
// detail.
func (l *DropLog) CountError(err error, device, topic string) {
	l.count(KindOf(err).String(), device, topic, err.Error())
}

func (l *DropLog) count(reason, device, topic, detail string) {
	d := l.reason(reason)
	d.count.Add(1)
	if d.mu.TryLock() { // an example is enough: nobody waits for it
		d.last = Drops{Reason: reason, Last: time.Now(), Device: device, Topic: topic, Detail: detail}
		d.mu.Unlock()
	}
}

func (l *DropLog) reason(reason string) *dropped {
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
	l.reasons.Store(&reasons)
	return d
}

func (l *DropLog) known() map[string]*dropped {
	if reasons := l.reasons.Load(); reasons != nil {
		return *reasons
	}
	return nil
}

// All lists the drops by falling count.
func (l *DropLog) All() []Drops {
	reasons := l.known()
	out := make([]Drops, 0, len(reasons))
	for _, d := range reasons {
		d.mu.Lock()
		one := d.last
		d.mu.Unlock()
		one.Count = d.count.Load()
		out = append(out, one)
	}
	slices.SortFunc(out, func(a, b Drops) int {
		return cmp.Or(cmp.Compare(b.Count, a.Count), cmp.Compare(a.Reason, b.Reason))
	})
	return out
}
