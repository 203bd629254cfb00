package localbroker

import (
	"sync/atomic"
	"time"

	"github.com/ebbgate/ebbgate/bridge"
)

// delivery is one message for one session.
type delivery struct {
	msg         *bridge.Message // shared with other deliveries, never written to
	qos         byte
	retain      bool
	identifiers []int
	expires     time.Time // zero: never
	id          uint16    // packet id, once sent
	size        int

	share     string // ShareName of a subscription that it goes through, or empty
	shared    bool   // and through no ordinary one
	decidedIn uint64 // the policy's generation that allowed it

	await awaiter // who waits for what becomes of it; nil: nobody
}

// awaiter is told about a QoS 1 delivery. It is called with the session locked
// and does not block.
type awaiter interface {
	// settle tells once what became of it.
	settle(r bridge.Result)
	// park asks whether it may wait for an absent device.
	park() bool
}

// parks reports whether the delivery may wait for an absent device.
func (d *delivery) parks() bool { return d.await == nil || d.await.park() }

const deliveryOverhead = 128 // bytes of a waiting delivery beside its message

func newDelivery(m *bridge.Message, qos byte) *delivery {
	return &delivery{msg: m, qos: qos, size: m.MeteredSize() + deliveryOverhead}
}

func (d *delivery) done(r bridge.Result) {
	if d.await != nil {
		d.await.settle(r)
		d.await = nil
	}
}

// outbox is the ordered queue of one session: what was sent and awaits its
// PUBACK, then what waits. It is bounded by messages and bytes, its own and
// those of all sessions together. It lives in memory, guarded by its session.
type outbox struct {
	flight  []*delivery // sent on this connection, QoS 1, in order
	waiting []*delivery // waiting[head:], in order
	head    int
	bytes   int
	next    uint16        // last packet id given
	total   *atomic.Int64 // bytes of all sessions
}

// len is how many messages are in the outbox.
func (o *outbox) len() int { return len(o.flight) + len(o.waiting) - o.head }

// fits reports whether one more delivery may wait.
func (o *outbox) fits(d *delivery, l LimitOptions, total bridge.Size) bool {
	return o.len() < l.QueueMessages &&
		o.bytes+d.size <= int(l.QueueSize) &&
		o.total.Load()+int64(d.size) <= int64(total)
}

// push appends a delivery.
func (o *outbox) push(d *delivery) {
	if o.head > 0 && len(o.waiting) == cap(o.waiting) {
		n := copy(o.waiting, o.waiting[o.head:])
		clear(o.waiting[n:])
		o.waiting, o.head = o.waiting[:n], 0
	}
	o.waiting = append(o.waiting, d)
	o.charge(d, 1)
}

func (o *outbox) charge(d *delivery, sign int) {
	o.bytes += sign * d.size
	o.total.Add(int64(sign * d.size))
}

// front is the delivery to be sent next, nil for none.
func (o *outbox) front() *delivery {
	if o.head == len(o.waiting) {
		return nil
	}
	return o.waiting[o.head]
}

// pop takes the front away: for good, or into the flight.
func (o *outbox) pop(flies bool) {
	d := o.waiting[o.head]
	o.waiting[o.head] = nil
	if o.head++; o.head == len(o.waiting) {
		o.waiting, o.head = o.waiting[:0], 0
		if cap(o.waiting) > 64 {
			o.waiting = nil // an idle session holds no memory
		}
	}
	if flies {
		o.flight = append(o.flight, d)
		return
	}
	o.charge(d, -1)
}

// number gives d a packet id that nothing in flight has.
func (o *outbox) number(d *delivery) {
	for d.id == 0 || o.flying(d.id) {
		o.next++
		d.id = o.next
	}
}

func (o *outbox) flying(id uint16) bool {
	for _, d := range o.flight {
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
		if d.id == id {
			copy(o.flight[i:], o.flight[i+1:])
			o.flight[len(o.flight)-1] = nil
			o.flight = o.flight[:len(o.flight)-1]
			o.charge(d, -1)
			return d
		}
	}
	return nil
}

// rewind puts what is in flight back in front, to be sent again in order with
// its packet ids [MQTT-4.4.0-1].
func (o *outbox) rewind() {
	if len(o.flight) == 0 {
		return
	}
	o.waiting = append(o.flight, o.waiting[o.head:]...)
	o.flight, o.head = nil, 0
}

// keep drops what keep refuses, and all that flies with it.
func (o *outbox) keep(keep func(*delivery) bool) {
	o.rewind()
	kept := o.waiting[:0]
	for _, d := range o.waiting[o.head:] {
		if keep(d) {
			kept = append(kept, d)
		} else {
			o.charge(d, -1)
		}
	}
	clear(o.waiting[len(kept):])
	o.waiting, o.head = kept, 0
}
