package localbroker

import (
	"cmp"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/ebbgate/ebbgate/bridge"
)

// retained is the last retained message of each topic (B147-B149), bounded by
// number and bytes. Memory mirrors the shelf, in the order of its commits.
type retained struct {
	limits MemoryOptions
	shelf  *store

	mu      sync.RWMutex
	byTopic map[string]retainedMessage
	coming  map[string]*coming
	bytes   int64
	fresh   int    // topics of coming that will be retained ones, and are not
	growth  int64  // bytes by which those of coming will be more
	settled uint64 // messages that have become the retained ones since the start
}

// coming is the commits under way of a topic. What they will need is taken at
// once, or those who publish at the same time would exceed the bounds.
type coming struct {
	commits, keep int   // how many, and those of them that retain something
	most          int64 // bytes of the largest
	fresh         bool
	growth        int64
}

type retainedMessage struct {
	msg      *bridge.Message
	expires  time.Duration // on the shelf's clock; 0: never
	modified time.Time     // by the wall clock, for people
	number   uint64        // see retained.settled; 0: of an earlier start
	body     uint64        // number of the shared body that the shelf has it in; 0: its own
}

// retainedWhole is the largest message that is written twice, for the devices and
// as the retained one. Of a larger one the shelf has one body for both: two copies
// are more than a batch takes.
const retainedWhole = 64 << 10

func newRetained(limits MemoryOptions, shelf *store) *retained {
	return &retained{limits: limits, shelf: shelf, byTopic: map[string]retainedMessage{}, coming: map[string]*coming{}}
}

// fits reports whether there is room to retain m (B154).
func (r *retained) fits(m *bridge.Message) bool {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return r.fitsLocked(m)
}

func (r *retained) fitsLocked(m *bridge.Message) bool {
	bytes, count := r.bytes+r.growth, len(r.byTopic)+r.fresh
	size, taken := retainedSize(m), int64(0)
	c := r.coming[m.Topic]
	if c != nil {
		taken = c.growth
	}
	if old, ok := r.byTopic[m.Topic]; ok {
		size -= retainedSize(old.msg)
	} else if c == nil || !c.fresh {
		count++
	}
	bytes += max(size-taken, 0)
	return count <= r.limits.RetainedMessages && bytes <= int64(r.limits.RetainedSize)
}

func retainedSize(m *bridge.Message) int64 { return int64(m.MeteredSize() + deliveryOverhead) }

// plan decides what m does to its topic's retained message, which a commit that
// follows makes durable: settle must be told. An empty one clears it (B148), and
// so does one without room, because the old one is no longer the last.
func (r *retained) plan(m *bridge.Message) retaining {
	r.mu.Lock()
	defer r.mu.Unlock()
	keeps := len(m.Payload) > 0 && r.fitsLocked(m)
	c := r.coming[m.Topic]
	if c == nil {
		c = &coming{}
		r.coming[m.Topic] = c
	}
	c.commits++
	if !keeps {
		return retainClear
	}
	c.keep++
	c.most = max(c.most, retainedSize(m))
	r.noteLocked(m.Topic, c)
	return retainMessage
}

// noteLocked counts what the commits of a topic will need.
func (r *retained) noteLocked(topic string, c *coming) {
	old, there := r.byTopic[topic]
	fresh, growth := false, int64(0)
	if c.keep > 0 {
		fresh, growth = !there, c.most
		if there {
			growth = max(growth-retainedSize(old.msg), 0)
		}
	}
	if fresh != c.fresh {
		if r.fresh--; fresh {
			r.fresh += 2
		}
	}
	r.growth += growth - c.growth
	c.fresh, c.growth = fresh, growth
}

// settle does what was planned, once it is durable, and returns the number of a
// message that is retained now, 0 when there is none. It is called in the order
// of the commits.
func (r *retained) settle(what retaining, k retainedMessage, err error) uint64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	topic := k.msg.Topic
	c := r.coming[topic]
	if c.commits--; c.commits == 0 {
		delete(r.coming, topic)
	}
	if what == retainMessage {
		c.keep--
	}
	defer r.noteLocked(topic, c)
	if err != nil {
		return 0
	}
	r.clearLocked(topic)
	if what != retainMessage {
		return 0
	}
	r.settled++
	k.number = r.settled
	r.keepLocked(k)
	return k.number
}

func (r *retained) keepLocked(k retainedMessage) {
	r.byTopic[k.msg.Topic] = k
	r.bytes += retainedSize(k.msg)
}

func (r *retained) clearLocked(topic string) {
	if old, ok := r.byTopic[topic]; ok {
		r.bytes -= retainedSize(old.msg)
		delete(r.byTopic, topic)
		r.shelf.release(old.body)
	}
}

// upTo is the number of the last message that has become a retained one.
func (r *retained) upTo() uint64 {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return r.settled
}

// is reports whether m is the retained message of its topic.
func (r *retained) is(m *bridge.Message) bool {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return r.byTopic[m.Topic].msg == m
}

// find returns the retained message of a topic.
func (r *retained) find(topic string) (retainedMessage, bool) {
	now := r.shelf.Age()
	r.mu.RLock()
	defer r.mu.RUnlock()
	k, ok := r.byTopic[topic]
	return k, ok && k.live(now)
}

// match lists the messages up to a number that a new subscription receives, by
// topic: on AWS the one whose topic equals the filter (B150, B151).
func (r *retained) match(filter string, exact bool, upTo uint64) (list []retainedMessage) {
	if exact || !strings.ContainsAny(filter, "+#") {
		if k, ok := r.find(filter); ok && k.number <= upTo {
			list = append(list, k)
		}
		return list
	}
	now := r.shelf.Age()
	r.mu.RLock()
	defer r.mu.RUnlock()
	for topic, k := range r.byTopic {
		if k.number <= upTo && matches(filter, topic, true) && k.live(now) {
			list = append(list, k)
		}
	}
	slices.SortFunc(list, func(a, b retainedMessage) int { return cmp.Compare(a.msg.Topic, b.msg.Topic) })
	return list
}

func (k retainedMessage) live(now time.Duration) bool { return k.expires == 0 || k.expires > now } // B156

// sweep forgets what has expired. A topic whose next message is being committed
// is left to that.
func (r *retained) sweep(now time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	var gone []string
	for topic, k := range r.byTopic {
		if !k.live(now) && r.coming[topic] == nil {
			r.clearLocked(topic)
			gone = append(gone, topic)
		}
	}
	if len(gone) > 0 {
		r.shelf.Forget(shelfRetained, gone...) // under the lock: before the topic's next commit
	}
}
