package shape

import (
	"bytes"
	"encoding/binary"
	"slices"
	"time"

	"github.com/ebbgate/ebbgate/bridge"
)

// Bounds of what open batches keep in memory. What would pass them closes the
// batch that has waited longest; nothing is lost by it but a part of the saving.
const (
	maxGroups  = 4096     // open batches of a route
	maxPlain   = 1 << 20  // bytes of a batch before its compression
	maxWaiting = 32 << 20 // bytes of all open batches of a route
	heldBytes  = 600      // that a message takes besides its payload
)

// full is how many percent of its limit a compressed batch must have to be sent:
// looking once more for the rest costs more than it saves.
const full = 97

// several is the device of a batch whose messages are of more than one.
const several = "(several)"

// batcher collects messages that go to the same topic in the same way.
type batcher struct {
	framing framing
	codec   *codec
	limit   int // metered bytes
	count   int
	age     func() time.Duration
	apart   bool // see Terms
	divert  int  // payloads above go alone: as files; 0: none

	groups  map[groupKey]*group
	waits   map[stream]*group // in which of them messages wait
	oldest  []*group          // by the age of their first message
	waiting int               // bytes of all
	next    time.Duration     // none is due before
}

// groupKey is what the messages of a batch have in common.
type groupKey struct {
	topic  string
	device string // when devices stay apart
	retain bool
	ttl    time.Duration
	origin bridge.OriginMode
	user   string // the devices' user properties: the batch has them for all of its messages
}

// stream is what one device has sent to one topic: it keeps its order, so all of it that
// waits is in one open batch.
type stream struct{ topic, device string }

// group is an open batch.
type group struct {
	key      groupKey
	elements []element
	plain    int           // bytes of the batch before compression
	members  int           // records that it releases
	due      time.Duration // when it is sent at the latest
	head     head
	tryAt    int // with compression: plain bytes at which its size is looked at
}

// element is a message in a batch.
type element struct {
	data []byte
	it   *item
}

func newBatcher(o Batch, c *codec, divert int, terms Terms) *batcher {
	b := &batcher{
		framing: framings[o.Format], codec: c, limit: o.Limit(terms.Unit), count: o.Count, age: o.waits(terms.Patience), apart: terms.Apart, divert: divert,
		groups: map[groupKey]*group{}, waits: map[stream]*group{}, next: never,
	}
	if b.count == 0 {
		b.count = bridge.MaxMembers
	}
	return b
}

// waits is how long a message may wait for others, asked anew for each.
func (b Batch) waits(patience func() time.Duration) func() time.Duration {
	if patience == nil {
		return func() time.Duration { return b.Age }
	}
	return func() time.Duration { return max(b.Age, patience()) }
}

func (b *batcher) take(it *item, next func(*item)) {
	key := groupKey{it.to.Topic, "", it.to.Retain, it.to.TTL, it.to.Origin, it.propertiesOfBatch()}
	if b.apart {
		key.device = it.rec.Device
	}
	switch {
	case it.order == barrier:
		for len(b.oldest) > 0 {
			b.close(b.oldest[0], next)
		}
		next(it)
		return
	case it.order == alone, it.diverted(b.divert):
		for i := 0; i < len(b.oldest); {
			if g := b.oldest[i]; g.key.topic == key.topic && g.key.device == key.device {
				b.close(g, next)
			} else {
				i++
			}
		}
		if it.order == joins {
			it.order = alone
			(&compressor{b.codec}).take(it, next) // as it would be without batches
		} else {
			next(it)
		}
		return
	}
	if before := b.waits[it.stream()]; before != nil && before.key != key {
		b.close(before, next) // as it would be for what goes alone
	}
	payload, _ := it.enveloped(true)
	e := element{b.framing.element(payload), it}
	g := b.groups[key]
	if g != nil && g.members+len(it.members) > bridge.MaxMembers {
		b.close(g, next)
		g = nil
	}
	if b.codec == nil && g != nil && g.sizeWith(b, e) > b.limit {
		b.close(g, next)
		g = nil
	}
	if g == nil {
		g = b.open(key, next)
	}
	b.add(g, e)
	switch {
	case len(g.elements) >= b.count || g.plain >= maxPlain:
		b.close(g, next)
	case b.codec == nil && g.head.overhead+g.plain >= b.limit:
		b.close(g, next)
	case b.codec != nil && g.plain >= g.tryAt:
		b.try(g, next)
	}
	for b.waiting > maxWaiting && len(b.oldest) > 0 {
		b.close(b.oldest[0], next)
	}
}

// propertiesOfBatch is what tells the user properties of messages apart that are
// to have them in common: in envelopes each has its own.
func (it *item) propertiesOfBatch() string {
	if len(it.rec.User) == 0 || it.to.Origin == bridge.OriginEnvelope {
		return ""
	}
	var out []byte
	for _, u := range bridge.DeviceProperties(it.rec.User) {
		out = binary.AppendUvarint(out, uint64(len(u.Key)))
		out = binary.AppendUvarint(append(out, u.Key...), uint64(len(u.Value)))
		out = append(out, u.Value...)
	}
	return string(out)
}

func (it *item) stream() stream { return stream{it.to.Topic, it.rec.Device} }

// open begins a batch.
func (b *batcher) open(key groupKey, next func(*item)) *group {
	if len(b.groups) >= maxGroups {
		b.close(b.oldest[0], next)
	}
	g := &group{key: key, plain: b.framing.around, due: never, tryAt: b.limit}
	b.groups[key] = g
	b.oldest = append(b.oldest, g)
	return g
}

func (b *batcher) add(g *group, e element) {
	if len(g.elements) > 0 {
		g.plain += b.framing.between
	}
	g.elements = append(g.elements, e)
	if s := e.it.stream(); b.waits[s] != g {
		b.waits[s] = g
	}
	g.plain += len(e.data)
	g.members += len(e.it.members)
	b.waiting += heldBytes + len(e.data)
	g.due = min(g.due, e.it.rec.Age+b.age(), endOf(e.it.rec))
	b.next = min(b.next, g.due)
	if g.head.add(e.it) {
		g.head.overhead = b.overhead(g)
	}
}

// endOf is the age at which a message expires by its own expiry.
func endOf(r *bridge.Record) time.Duration {
	if !r.HasExpiry {
		return never
	}
	return r.Age + time.Duration(r.Expiry)*time.Second
}

// sizeWith is the metered size of the batch with one more message.
func (g *group) sizeWith(b *batcher, e element) int {
	head := g.head
	if head.add(e.it) {
		with := &group{key: g.key, head: head}
		head.overhead = b.overhead(with)
	}
	return head.overhead + g.plain + b.framing.between + len(e.data)
}

// overhead is the metered size of the batch without its payload.
func (b *batcher) overhead(g *group) int {
	rec, to := b.product(g, nil)
	if b.codec != nil {
		b.codec.mark(rec)
	}
	return bridge.Outgoing(&bridge.Stored{Record: rec, Receiver: to}).MeteredSize()
}

// try looks at the compressed size of a batch, and sends it when it is full. If
// it is too large by then its last messages begin the next one.
func (b *batcher) try(g *group, next func(*item)) {
	n, size := b.fit(g.elements)
	if room := b.limit - g.head.overhead; n == len(g.elements) && size < room*full/100 {
		// The next look is when it is full if it goes on like this, a little early.
		g.tryAt = max(g.plain+1, g.plain*(100*room/max(size, 1))/102)
		return
	}
	b.remove(g)
	b.emit(g.key, g.elements[:n], next)
	if n == len(g.elements) {
		return
	}
	again := b.open(g.key, next)
	for _, e := range g.elements[n:] {
		b.add(again, e)
	}
}

// fit is how many of the elements, at least one, make a batch that keeps its
// limit compressed, and the size of its payload when all do.
func (b *batcher) fit(elements []element) (n, size int) {
	fits := func(n int) bool {
		g := b.groupOf(groupKey{}, elements[:n])
		size = len(b.codec.compress(b.framing.join(g.elements)))
		return g.head.overhead+size <= b.limit
	}
	if fits(len(elements)) {
		return len(elements), size
	}
	low, high := 1, len(elements)-1
	guess := len(elements) * (b.limit - b.groupOf(groupKey{}, elements).head.overhead) / max(size, 1) * full / 100
	for low < high {
		middle := (low + high + 1) / 2
		if guess > low && guess <= high { // once: near the end
			middle, guess = guess, 0
		}
		if fits(middle) {
			low = middle
		} else {
			high = middle - 1
		}
	}
	return low, size
}

// groupOf is a batch of the elements that is not open.
func (b *batcher) groupOf(key groupKey, elements []element) *group {
	g := &group{key: key, elements: elements}
	for _, e := range elements {
		g.head.add(e.it)
	}
	g.head.overhead = b.overhead(g)
	return g
}

// remove takes a batch out of those that are open.
func (b *batcher) remove(g *group) {
	delete(b.groups, g.key)
	b.oldest = slices.DeleteFunc(b.oldest, func(o *group) bool { return o == g })
	for _, e := range g.elements {
		b.waiting -= heldBytes + len(e.data)
		delete(b.waits, e.it.stream())
	}
}

// close sends an open batch, in several when it turns out too large.
func (b *batcher) close(g *group, next func(*item)) {
	b.remove(g)
	for rest := g.elements; len(rest) > 0; {
		n := len(rest)
		if b.codec != nil {
			n, _ = b.fit(rest)
		}
		b.emit(g.key, rest[:n], next)
		rest = rest[n:]
	}
}

// emit sends a batch of the elements on.
func (b *batcher) emit(key groupKey, elements []element, next func(*item)) {
	payload := b.framing.join(elements)
	small, smaller := b.codec.smaller(payload)
	if len(elements) == 1 && len(payload) > maxPayload && !smaller {
		next(elements[0].it) // framed, AWS would not take it
		return
	}
	rec, to := b.product(b.groupOf(key, elements), payload)
	if smaller {
		rec.Payload = bytes.Clone(small)
		b.codec.mark(rec)
	}
	it := &item{rec: rec, to: to, order: alone}
	for _, e := range elements {
		it.members = append(it.members, e.it.members...)
	}
	next(it)
}

// product is the batch as a record: the first message's origin, the batch's
// payload.
func (b *batcher) product(g *group, payload []byte) (*bridge.Record, *bridge.Receiver) {
	rec := g.head.record()
	rec.Payload, rec.ContentType = payload, b.framing.contentType
	to := *g.head.first.to
	to.QoS = g.head.qos
	if to.Origin == bridge.OriginEnvelope {
		to.Origin = bridge.OriginNone // each message has its own
	} else {
		rec.User = bridge.DeviceProperties(g.head.first.rec.User) // those of all
	}
	return rec, &to
}

func (b *batcher) ripe(now time.Duration, next func(*item)) time.Duration {
	if now < b.next {
		return b.next
	}
	b.next = never
	for _, g := range slices.Clone(b.oldest) {
		if g.due <= now {
			b.close(g, next)
		} else {
			b.next = min(b.next, g.due)
		}
	}
	return b.next
}
