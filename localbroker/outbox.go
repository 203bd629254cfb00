package localbroker

import (
	"slices"
	"sync/atomic"
	"time"

	"github.com/ebbgate/ebbgate/bridge"
)

// delivery is one message for one session.
type delivery struct {
	msg             *bridge.Message // shared with other deliveries, never written to; see outbox.pop
	qos             byte
	retain          bool
	identifiers     []int
	expires         time.Duration // on the shelf's clock; 0: never
	shortened       bool          // expires is earlier than the message's own
	id              uint16        // packet id, once sent
	size            int
	firstAt, sentAt time.Duration // when this connection sent it first and last, on the shelf's clock

	large bool // a service's own: only the device bounds its size

	share     string // ShareName of a subscription that it goes through, or empty
	shared    bool   // and through no ordinary one
	decidedIn uint64 // the policy's generation that allowed it, or undecided

	via     *subscription // the shared one, when there is no ordinary one
	counted bool          // against the quotas of pace, or not of them
	tries   int           // members of its share group that have failed to take it
	from    *group        // whose queue it was drawn from; nil: none

	begun     bool // QoS 2: its PUBLISH may have been sent by an earlier start
	releasing bool // QoS 2: that PUBREC has come is being put on the shelf
	released  bool // QoS 2: PUBREC has come, only PUBREL is sent from now on

	kept  entry   // where it is on the shelf; of ordinal 0 it is in memory only
	await awaiter // who waits for what becomes of it; nil: nobody
}

// undecided is a generation that no policy has.
const undecided = ^uint64(0)

// awaiter is told about a QoS 1 delivery that is in memory only. It is called
// once, with the session locked, and does not block.
type awaiter interface {
	settle(r bridge.Result)
}

const deliveryOverhead = 128 // bytes of a waiting delivery beside its message

func newDelivery(m *bridge.Message, qos byte) *delivery {
	return &delivery{msg: m, qos: qos, size: m.MeteredSize() + deliveryOverhead, decidedIn: undecided}
}

func (d *delivery) done(r bridge.Result) {
	if d.await != nil {
		d.await.settle(r)
		d.await = nil
	}
}

// fifo is a queue of deliveries.
type fifo struct {
	list []*delivery // list[head:], in order
	head int
}

func (q *fifo) len() int { return len(q.list) - q.head }

func (q *fifo) front() *delivery {
	if q.head == len(q.list) {
		return nil
	}
	return q.list[q.head]
}

func (q *fifo) push(d *delivery) {
	if q.head > 0 && len(q.list) == cap(q.list) {
		n := copy(q.list, q.list[q.head:])
		clear(q.list[n:])
		q.list, q.head = q.list[:n], 0
	}
	q.list = append(q.list, d)
}

func (q *fifo) pop() {
	q.list[q.head] = nil
	if q.head++; q.head == len(q.list) {
		q.list, q.head = q.list[:0], 0
		if cap(q.list) > 64 {
			q.list = nil // an idle session holds no memory
		}
	}
}

// unpop puts the front back.
func (q *fifo) unpop(d *delivery) {
	if q.head > 0 {
		q.head--
		q.list[q.head] = d
		return
	}
	q.list = slices.Insert(q.list, 0, d)
}

// back is the last delivery, drop takes it away.
func (q *fifo) back() *delivery {
	if q.len() == 0 {
		return nil
	}
	return q.list[len(q.list)-1]
}

func (q *fifo) drop() {
	last := len(q.list) - 1
	q.list[last] = nil
	q.list = q.list[:last]
}

// take empties the queue.
func (q *fifo) take() []*delivery {
	out := q.list[q.head:]
	q.list, q.head = nil, 0
	return out
}

// outbox is what memory holds for a present device: what was sent and awaits
// its PUBACK, then what waits. For a session that is kept this is a part of its
// backlog, else it is all there is. It is guarded by its session.
type outbox struct {
	flight  []*delivery // sent on this connection, QoS 1 and 2, in order
	again   fifo        // was in flight on an earlier connection: before all else
	replay  fifo        // stored while the device was away, at its own pace
	waiting fifo
	far     stash        // what is behind waiting, which is not empty then
	bytes   atomic.Int64 // of all of it; it may be read without the session's lock
	loose   volume       // of what is not on the shelf
	next    uint16       // last packet id given
	all     *queueMemory

	// brim is the size of the smallest delivery that has not fitted since
	// something left, 0 when all have. It may be read without the session's lock.
	brim atomic.Int64
}

// len is how many messages are in the outbox.
func (o *outbox) len() int {
	return len(o.flight) + o.again.len() + o.replay.len() + o.waits()
}

// waits is how many wait that came while the device was there.
func (o *outbox) waits() int { return o.waiting.len() + o.far.count }

// fits reports whether one more delivery may wait in memory only.
func (o *outbox) fits(d *delivery, l LimitOptions) bool {
	switch {
	case o.len() >= l.QueueMessages:
		o.brim.Store(1)
		return false
	case o.bytes.Load()+int64(d.size) > int64(l.QueueSize):
		if o.brim.Load() == 0 {
			o.brim.Store(int64(d.size))
		}
		return false
	}
	return o.all.takes(o.bytes.Load(), d.size)
}

// brimful reports whether a delivery of that size would not fit: for who would
// else make it in vain. Nothing that comes makes room, and what leaves says so. It
// may be called without the session's lock.
func (o *outbox) brimful(size int) bool {
	brim := o.brim.Load()
	return brim > 0 && int64(size) >= brim || !o.all.takes(o.bytes.Load(), size)
}

// left is told that something has left.
func (o *outbox) left() {
	if o.brim.Load() > 0 {
		o.brim.Store(0)
	}
}

// room reports whether memory takes one more delivery that is on the shelf too.
func (o *outbox) room(d *delivery) bool {
	held := o.bytes.Load()
	return o.waits() < aheadMessages && held < aheadBytes && o.all.reads(held, d.size)
}

// push appends a delivery to one of the queues.
func (o *outbox) push(q *fifo, d *delivery) {
	o.charge(d, 1)
	if q == &o.waiting && (o.far.count > 0 || q.len() >= nearMessages) {
		o.far.push(d)
		return
	}
	q.push(d)
}

func (o *outbox) charge(d *delivery, sign int) {
	n := int64(sign * d.size)
	o.bytes.Add(n)
	o.all.bytes.Add(n)
	if d.kept.ordinal == 0 {
		o.loose.add(d, sign)
		o.all.loose.Add(n)
	}
}

// newest takes away what came last and is in memory only, nil when there is
// nothing such at the end.
func (o *outbox) newest() (d *delivery) {
	if o.far.count > 0 {
		d = o.far.back()
	} else if d = o.waiting.back(); d != nil && !d.held() {
		o.waiting.drop()
	} else {
		return nil
	}
	if d != nil {
		o.left()
		o.charge(d, -1)
	}
	return d
}

// pop takes the front of a queue away: for good, or into the flight. What is on
// the shelf needs no memory while it flies.
func (o *outbox) pop(q *fifo, flies bool) {
	d := q.front()
	q.pop()
	if q == &o.waiting && q.len() == 0 {
		for range min(o.far.count, nearMessages/2) {
			q.push(o.far.front())
		}
	}
	o.left()
	if flies {
		o.flight = append(o.flight, d)
	}
	if !flies || d.kept.ordinal > 0 {
		o.charge(d, -1)
		d.msg = nil
	}
}

// number gives d a packet id that nothing in flight has, nor what will be sent
// again with its own.
func (o *outbox) number(d *delivery) {
	for d.id == 0 {
		o.next++
		if o.next != 0 && !o.flying(o.next) {
			d.id = o.next
		}
	}
}

func (o *outbox) flying(id uint16) bool {
	for _, d := range o.flight {
		if d.id == id {
			return true
		}
	}
	for _, d := range o.again.list[o.again.head:] {
		if d.id == id {
			return true
		}
	}
	return false
}

// acked takes the delivery with that packet id out of the flight, nil if there
// is none.
func (o *outbox) acked(id uint16) *delivery {
	for i, d := range o.flight {
		if d.id == id && d.qos < 2 {
			return o.land(i)
		}
	}
	return nil
}

// land takes a delivery out of the flight.
func (o *outbox) land(i int) *delivery {
	d := o.flight[i]
	copy(o.flight[i:], o.flight[i+1:])
	o.flight[len(o.flight)-1] = nil
	o.flight = o.flight[:len(o.flight)-1]
	o.landed(d)
	return d
}

// landed uncharges a delivery of the flight.
func (o *outbox) landed(d *delivery) {
	o.left()
	if d.kept.ordinal == 0 {
		o.charge(d, -1)
	}
}

// empty takes everything out: the flight in the order of sending, and of what
// waits that which somebody else has to do with.
func (o *outbox) empty() (flight, waiting []*delivery) {
	o.left()
	flight = o.flight
	o.flight = nil
	waiting = append(append(o.again.take(), o.replay.take()...), o.waiting.take()...)
	for _, d := range flight {
		o.landed(d)
	}
	written := o.far.written
	whole, shared := o.far.empty()
	waiting = append(waiting, whole...)
	for _, d := range waiting {
		o.charge(d, -1)
	}
	o.loose.count -= written.count
	o.loose.bytes -= written.bytes
	for _, n := range []*atomic.Int64{&o.bytes, &o.all.bytes, &o.all.loose} {
		n.Add(-int64(written.bytes))
	}
	return flight, append(waiting, shared...)
}
