package bridge

import (
	"cmp"
	"slices"
	"sync"
	"time"
)

// DropLog counts every message that is refused or dropped, with its reason,
// and keeps the latest of each reason as an example. The zero DropLog is ready.
type DropLog struct {
	mu      sync.Mutex
	reasons map[string]*Drops
}

// Drops is what the drop log knows about one reason.
type Drops struct {
	Reason string
	Count  int64
	Last   time.Time
	Device string // of the latest
	Topic  string // of the latest
	Detail string // of the latest, for a person: which statement denied it
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
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.reasons == nil {
		l.reasons = map[string]*Drops{}
	}
	d := l.reasons[reason]
	if d == nil {
		d = &Drops{Reason: reason}
		l.reasons[reason] = d
	}
	d.Count++
	d.Last, d.Device, d.Topic, d.Detail = time.Now(), device, topic, detail
}

// All lists the drops by falling count.
func (l *DropLog) All() []Drops {
	l.mu.Lock()
	defer l.mu.Unlock()
	out := make([]Drops, 0, len(l.reasons))
	for _, d := range l.reasons {
		out = append(out, *d)
	}
	slices.SortFunc(out, func(a, b Drops) int {
		return cmp.Or(cmp.Compare(b.Count, a.Count), cmp.Compare(a.Reason, b.Reason))
	})
	return out
}
