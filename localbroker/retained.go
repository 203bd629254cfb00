package localbroker

import (
	"cmp"
	"slices"
	"sync"
	"time"

	"github.com/ebbgate/ebbgate/bridge"
)

// retained keeps the last retained message of each topic (B147-B149), in
// memory, bounded by number and bytes.
type retained struct {
	limits MemoryOptions
	now    func() time.Time

	mu      sync.RWMutex
	byTopic map[string]retainedMessage
	bytes   int64
}

type retainedMessage struct {
	msg     *bridge.Message
	expires time.Time // zero: never
}

func newRetained(limits MemoryOptions, now func() time.Time) *retained {
	return &retained{limits: limits, now: now, byTopic: map[string]retainedMessage{}}
}

// fits reports whether there is room to retain m (B154).
func (r *retained) fits(m *bridge.Message) bool {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return r.fitsLocked(m)
}

func (r *retained) fitsLocked(m *bridge.Message) bool {
	bytes, count := r.bytes+retainedSize(m), len(r.byTopic)+1
	if old, ok := r.byTopic[m.Topic]; ok {
		bytes, count = bytes-retainedSize(old.msg), count-1
	}
	return count <= r.limits.RetainedMessages && bytes <= int64(r.limits.RetainedSize)
}

func retainedSize(m *bridge.Message) int64 { return int64(m.MeteredSize() + deliveryOverhead) }

// store keeps m as its topic's retained message, or with an empty payload
// forgets the topic's (B148). Without room it forgets the old one all the same:
// it is no longer the last.
func (r *retained) store(m *bridge.Message, expires time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	keep := len(m.Payload) > 0 && r.fitsLocked(m)
	if old, ok := r.byTopic[m.Topic]; ok {
		r.bytes -= retainedSize(old.msg)
		delete(r.byTopic, m.Topic)
	}
	if !keep {
		return
	}
	r.byTopic[m.Topic] = retainedMessage{m, expires}
	r.bytes += retainedSize(m)
}

// match lists the messages that a new subscription receives, by topic: on AWS
// the one whose topic equals the filter (B150, B151).
func (r *retained) match(filter string, exact bool) []retainedMessage {
	now := r.now()
	r.mu.RLock()
	defer r.mu.RUnlock()
	if exact {
		if k, ok := r.byTopic[filter]; ok && k.live(now) {
			return []retainedMessage{k}
		}
		return nil
	}
	var out []retainedMessage
	for topic, k := range r.byTopic {
		if matches(filter, topic, true) && k.live(now) {
			out = append(out, k)
		}
	}
	slices.SortFunc(out, func(a, b retainedMessage) int { return cmp.Compare(a.msg.Topic, b.msg.Topic) })
	return out
}

func (k retainedMessage) live(now time.Time) bool { return k.expires.IsZero() || k.expires.After(now) } // B156

// sweep forgets what has expired.
func (r *retained) sweep(now time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for topic, k := range r.byTopic {
		if !k.live(now) {
			r.bytes -= retainedSize(k.msg)
			delete(r.byTopic, topic)
		}
	}
}
