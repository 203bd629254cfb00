package localbroker

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/ebbgate/ebbgate/bridge"
)

// maxReceipts bounds the PUBLISHes of one connection that are not settled, QoS
// 0 included: beyond it the socket is not read.
const maxReceipts = 1000

// receipt is one PUBLISH on its way through the walk, and the place of its
// answer in the queue.
type receipt struct {
	bridge.Message
	client *client
	id     uint16 // packet id; 0 for QoS 0
	parcel parcel
	family Family // that has its topic; nil: the walk
	left   func() // called when it has been answered; may be nil

	settled bool // the walk, or our own rules, have decided; guarded by intake.mu
	err     error
	since   time.Time // first refusal that holds
	back    bool      // it was refused for now, and waits for its turn
	retried bool      // its turn has come, and it was given to the walk again
	refused bool      // its turn has come too late, or that of one before it
}

// intake is the queue of receipts of one connection. The walk settles them in
// any order and from any goroutine; they are answered in the order of their
// PUBLISHes [MQTT-4.6.0-2], several in one write.
//
// Whoever settles the head drains the queue: the reading goroutine itself when
// the walk was done before it returned, else a goroutine that lives as long as
// there is something to answer. So neither the spool's goroutine nor the
// reading one ever does the work of the other, and an idle connection costs
// nothing.
type intake struct {
	client *client

	mu      sync.Mutex
	changed sync.Cond // room, release or close

	queue []*receipt // queue[head:] are open, in order
	ids   []uint16   // their packet ids, beside them: a scan touches one cache line
	head  int
	open  int                 // QoS 1 and 2 receipts without an answer
	owed  map[uint16]struct{} // packet ids answered with PUBREC, without a PUBREL

	submitting bool     // the reading goroutine is inside the walk and will drain
	draining   bool     // somebody drains, or a hold's timer runs
	batch      []answer // of whoever drains
	acks       []byte
	ended      bool // the connection ends: nobody waits
	closed     bool // it has ended: what is held is given back

	back    int           // receipts that were refused for now
	holding bool          // the head was refused for now
	told    bool          // the log knows
	backoff time.Duration // before it is tried again
	timer   *time.Timer

	refusing atomic.Bool   // what waits is refused as soon as the device is silent
	reads    atomic.Uint64 // of the socket, begun and ended: odd during one
}

func (in *intake) init(c *client) {
	in.client = c
	in.changed.L = &in.mu
}

// ready waits while the socket must not be read: a held message, or too many
// open receipts. It reports whether the connection still lives.
func (in *intake) ready() bool {
	in.mu.Lock()
	defer in.mu.Unlock()
	for !in.ended && (in.holdsLocked() || len(in.queue)-in.head >= maxReceipts) {
		in.changed.Wait()
	}
	return !in.ended
}

// holdsLocked reports whether the socket is not read for a held message.
func (in *intake) holdsLocked() bool { return in.holding && !in.refusing.Load() }

// wake frees the reading goroutine because the connection ends.
func (in *intake) wake() {
	in.mu.Lock()
	defer in.mu.Unlock()
	in.ended = true
	in.changed.Broadcast()
}

// reserve takes a place for a PUBLISH of QoS 1 or 2, which has it until PUBACK
// or PUBCOMP. A v5 device that sends more than
// Receive Maximum breaks the protocol (B88); a v3 device was never told, so its
// socket is simply not read until an answer leaves (B89).
func (in *intake) reserve(limit int, wait bool) bool {
	in.mu.Lock()
	defer in.mu.Unlock()
	for !in.ended && (in.holdsLocked() || wait && in.open >= limit) {
		in.changed.Wait()
	}
	return in.open < limit && (wait || in.open+len(in.owed) < limit)
}

// released notes a PUBREL.
func (in *intake) released(id uint16) {
	in.mu.Lock()
	defer in.mu.Unlock()
	delete(in.owed, id)
}

// inUse reports whether a packet id belongs to an open receipt (B87).
func (in *intake) inUse(id uint16) bool {
	in.mu.Lock()
	defer in.mu.Unlock()
	for _, used := range in.ids[in.head:] {
		if used == id {
			return true
		}
	}
	return false
}

// submit appends r and gives it to the walk, unless err has decided already.
func (in *intake) submit(r *receipt, err error) {
	in.mu.Lock()
	if in.head > 0 && len(in.queue) == cap(in.queue) {
		n := copy(in.queue, in.queue[in.head:])
		clear(in.queue[n:])
		in.queue = in.queue[:n]
		in.ids = in.ids[:copy(in.ids, in.ids[in.head:])]
		in.head = 0
	}
	in.queue = append(in.queue, r)
	in.ids = append(in.ids, r.id)
	if r.QoS > 0 {
		in.open++
	}
	in.submitting = true
	if err == nil && r.QoS > 0 && (in.back > 0 || in.closed) {
		err = errBehind // taken now, it would pass what came before it
	}
	if err != nil {
		in.settleLocked(r, err)
	}
	in.mu.Unlock()
	if err == nil {
		r.walk()
	}
	in.mu.Lock()
	in.submitting = false
	drain := in.claimLocked()
	in.mu.Unlock()
	if drain {
		in.drain()
	}
}

// done settles the receipt. It is the walk's callback and never blocks.
func (r *receipt) done(err error) {
	r.parcel.settle(err)
	in := &r.client.intake
	in.mu.Lock()
	in.settleLocked(r, err)
	drain := !in.submitting && in.claimLocked()
	in.mu.Unlock()
	if drain {
		go in.client.guard(in.drain)
	}
}

// settleLocked notes what has been decided.
func (in *intake) settleLocked(r *receipt, err error) {
	r.settled, r.err = true, err
	if err == nil {
		return
	}
	if r.since.IsZero() {
		r.since = in.client.broker.now()
	}
	if in.client.judge(err, r.QoS).action == actHold {
		r.back = true
		in.back++
	}
}

// forthLocked ends it that a receipt waits for its turn: it has come.
func (in *intake) forthLocked(r *receipt) {
	if r.back {
		r.back = false
		in.back--
	}
}

// claimLocked makes the caller the drainer when the head can be answered.
func (in *intake) claimLocked() bool {
	if in.draining || in.head == len(in.queue) || !in.queue[in.head].settled {
		return false
	}
	in.draining = true
	return true
}

// answer is a receipt with what is to be done.
type answer struct {
	*receipt
	verdict
}

const answerBatch = 64

// drain answers whatever is settled at the head of the queue.
func (in *intake) drain() {
	for {
		ready := in.take(in.batch[:0])
		if len(ready) == 0 {
			return
		}
		in.acks = in.client.respond(ready, in.acks[:0])
		clear(ready)
		in.batch = ready
	}
}

// take removes settled receipts from the head. None means that the caller is no
// longer the drainer.
func (in *intake) take(out []answer) []answer {
	in.mu.Lock()
	defer in.mu.Unlock()
	for len(out) < answerBatch && in.head < len(in.queue) {
		r := in.queue[in.head]
		if !r.settled {
			break
		}
		v := in.client.judge(r.err, r.QoS)
		if v.action == actHold {
			switch {
			case in.closed: // never acknowledged: the device sends it again
				v = verdict{action: actSilence}
				r.err = errGone
			case r.refused:
				v = v.timedOut()
			case r.retried && in.client.broker.now().Sub(r.since) >= in.client.settings.HoldTimeout:
				// What follows is not taken before it: the device sends both again.
				switch {
				case v.after == actDisconnect:
					v = v.timedOut()
					in.closed = true
				case len(out) > 0:
					return out
				default:
					in.refuseLocked()
					return nil
				}
			case len(out) > 0:
				return out
			default:
				in.holdLocked()
				return nil
			}
		} else if in.holding {
			in.backoff = 0
		}
		in.popLocked()
		out = append(out, answer{r, v})
	}
	if in.holding && (in.head == len(in.queue) || in.queue[in.head].since.IsZero()) {
		in.holding, in.told = false, false
		in.client.broker.holding.Add(-1)
	}
	if len(out) == 0 {
		in.draining = false
		return nil
	}
	in.changed.Broadcast()
	return out
}

func (in *intake) popLocked() {
	r := in.queue[in.head]
	in.forthLocked(r)
	in.queue[in.head] = nil
	in.head++
	if r.QoS > 0 {
		in.open--
	}
	if r.QoS == 2 && r.decided() {
		if in.owed == nil {
			in.owed = map[uint16]struct{}{}
		}
		in.owed[r.id] = struct{}{}
	}
	if in.head == len(in.queue) {
		in.queue, in.ids, in.head = in.queue[:0], in.ids[:0], 0
	}
}

// close gives back what is held; what is in the walk is still finished.
func (in *intake) close() {
	in.mu.Lock()
	in.closed = true
	waiting := in.timer != nil && in.timer.Stop()
	if waiting {
		in.refusing.Store(false)
	}
	in.mu.Unlock()
	if waiting {
		in.drain()
	}
}
