package localbroker

import (
	"cmp"
	"fmt"
	"maps"
	"math"
	"runtime/metrics"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/ebbgate/ebbgate/bridge"
)

// $SYS, as Mosquitto has it: what the broker does, in topics that anybody who may
// can subscribe to. A new subscriber gets all, as retained messages; then comes
// what has changed, every ten seconds. All are of QoS 0, so that no session keeps
// them. While nobody subscribes only the moving averages are kept up.

const (
	sysRoot  = "$SYS"
	sysEvery = 10 * time.Second
)

// sys is the topics of $SYS.
type sys struct {
	broker  *Broker
	version string

	mu      sync.Mutex
	values  map[string]string // what was told last
	made    time.Duration     // age of values
	ticked  time.Duration     // when the averages were brought up to date
	loads   map[string]*load
	maximum uint64 // heap
}

// load is the averages of a counter's growth in a minute.
type load struct {
	last     int64
	averages [3]float64
}

// The intervals of the averages.
var loadSpans = []struct {
	name    string
	minutes float64
}{{"1min", 1}, {"5min", 5}, {"15min", 15}}

func newSys(b *Broker, version string) *sys {
	return &sys{broker: b, version: cmp.Or(version, "dev"), loads: map[string]*load{}, ticked: b.age(), made: math.MinInt64}
}

// under reports whether there is a subscription whose filter begins with a
// level, shared ones included.
func (x *index) under(first string) bool {
	x.mu.RLock()
	defer x.mu.RUnlock()
	return x.root.next[first] != nil
}

// sweep brings the averages up to date, and tells subscribers what has changed.
func (s *sys) sweep(now time.Duration) {
	s.mu.Lock()
	passed := now - s.ticked
	if passed < sysEvery {
		s.mu.Unlock()
		return
	}
	s.ticked = now
	counts := s.counters()
	for name, n := range counts {
		if s.loads[name] == nil {
			s.loads[name] = &load{}
		}
		s.loads[name].take(n, passed)
	}
	s.mu.Unlock()
	if !s.broker.index.under(sysRoot) {
		return
	}
	for _, m := range s.changed(now) {
		for _, r := range s.broker.receivers("", m.Topic, nil) {
			r.session.offer(r.delivery(m, 0))
		}
	}
}

// take moves the averages on by what was counted in a time.
func (l *load) take(n int64, passed time.Duration) {
	minute := float64(n-l.last) / passed.Minutes()
	l.last = n
	for i, span := range loadSpans {
		weight := math.Exp(-passed.Minutes() / span.minutes)
		l.averages[i] = minute + weight*(l.averages[i]-minute)
	}
}

// changed makes the values anew and lists the messages of those that differ.
func (s *sys) changed(now time.Duration) (out []*bridge.Message) {
	next := s.measure()
	s.mu.Lock()
	defer s.mu.Unlock()
	for topic, value := range next {
		if old, known := s.values[topic]; !known || old != value {
			out = append(out, sysMessage(topic, value))
		}
	}
	s.values, s.made = next, now
	slices.SortFunc(out, func(a, b *bridge.Message) int { return cmp.Compare(a.Topic, b.Topic) })
	return out
}

func sysMessage(topic, value string) *bridge.Message {
	return &bridge.Message{Topic: topic, Payload: []byte(value), Retain: true}
}

// refresh makes the values anew for a subscriber, unless that has just been done:
// while nobody subscribed nobody did. It is called without locks.
func (s *sys) refresh() {
	now := s.broker.age()
	s.mu.Lock()
	fresh := s.values != nil && now-s.made < sysEvery
	s.mu.Unlock()
	if fresh {
		return
	}
	s.changed(now)
}

// asksSys reports whether a filter is about $SYS.
func asksSys(topic string) bool { return topic == sysRoot || strings.HasPrefix(topic, sysRoot+"/") }

// match lists the messages that a new subscription to the filter receives.
func (s *sys) match(filter string) (out []*bridge.Message) {
	if !asksSys(filter) {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, topic := range slices.Sorted(maps.Keys(s.values)) {
		if matches(filter, topic, true) {
			out = append(out, sysMessage(topic, s.values[topic]))
		}
	}
	return out
}

// counters is what the averages are of, by the last part of the topic.
func (s *sys) counters() map[string]int64 {
	t := &s.broker.traffic
	return map[string]int64{
		"messages/received": t.packetsIn.Load(), "messages/sent": t.packetsOut.Load(),
		"publish/received": t.publishesIn.Load(), "publish/sent": t.publishesOut.Load(), "publish/dropped": s.dropped(),
		"bytes/received": t.bytesIn.Load(), "bytes/sent": t.bytesOut.Load(),
		"sockets": t.sockets.Load(), "connections": t.connects.Load(),
	}
}

// dropped is what found no room in a queue.
func (s *sys) dropped() (n int64) {
	for _, d := range s.broker.drops.All() {
		if d.Reason == "session-queue-full" || d.Reason == "group-queue-full" {
			n += d.Count
		}
	}
	return n
}

// measure makes all values.
func (s *sys) measure() map[string]string {
	b, t := s.broker, &s.broker.traffic
	out := map[string]string{}
	put := func(topic string, value any) { out[sysRoot+"/broker/"+topic] = fmt.Sprint(value) }
	connected, most := b.connected.Load(), t.most.Load()
	total, stored := int64(0), 0
	for _, one := range b.sessions.all() {
		info := one.info()
		total++
		stored += info.Waiting
	}
	away := max(total-connected, 0)
	retained, retainedBytes := b.retained.volume()
	ordinary, shared := b.index.counts()

	put("version", "ebbgate version "+s.version)
	put("uptime", strconv.FormatInt(b.running()/int64(time.Second), 10)+" seconds")
	put("clients/total", connected+away)
	put("clients/connected", connected)
	put("clients/active", connected)
	put("clients/disconnected", away)
	put("clients/inactive", away)
	put("clients/maximum", most)
	put("clients/expired", t.expired.Load())
	put("messages/received", t.packetsIn.Load())
	put("messages/sent", t.packetsOut.Load())
	put("messages/stored", stored+retained)
	put("store/messages/count", stored+retained)
	put("store/messages/bytes", b.store.bytes.Load()+b.queued.loose.Load()+retainedBytes)
	put("subscriptions/count", ordinary)
	put("shared_subscriptions/count", shared)
	put("retained messages/count", retained)
	put("bytes/received", t.bytesIn.Load())
	put("bytes/sent", t.bytesOut.Load())
	put("publish/messages/received", t.publishesIn.Load())
	put("publish/messages/sent", t.publishesOut.Load())
	put("publish/messages/dropped", s.dropped())
	put("publish/bytes/received", t.publishBytesIn.Load())
	put("publish/bytes/sent", t.publishBytesOut.Load())

	heap := []metrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}}
	metrics.Read(heap)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.maximum = max(s.maximum, heap[0].Value.Uint64())
	put("heap/current", heap[0].Value.Uint64())
	put("heap/maximum", s.maximum)
	for name := range s.counters() {
		l := s.loads[name]
		if l == nil {
			l = &load{}
		}
		for i, span := range loadSpans {
			put("load/"+name+"/"+span.name, strconv.FormatFloat(l.averages[i], 'f', 2, 64))
		}
	}
	return out
}

// volume is how many messages are retained, and their bytes.
func (r *retained) volume() (count int, bytes int64) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return len(r.byTopic), r.bytes
}

// counts is how many subscriptions there are, the shared ones apart.
func (x *index) counts() (ordinary, shared int) {
	x.mu.RLock()
	defer x.mu.RUnlock()
	for _, n := range x.share {
		shared += n
	}
	return x.total - shared, shared
}
