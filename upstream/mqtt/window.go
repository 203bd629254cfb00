package mqtt

import (
	"sync"
	"time"

	"github.com/ebbgate/ebbgate/bridge"
)

// window holds the sends whose outcome is awaited, by packet identifier and in
// the order of sending. Whoever takes an entry out reports it: that is what
// makes every report happen once.
//
// Identifiers go round all that there are, however small the window is. A broker
// or a proxy that acknowledges twice would otherwise release, with the second, the
// message that has the identifier by then, and that nobody has taken.
type window struct {
	mu       sync.Mutex
	slots    []slot
	in       map[uint16]uint16 // identifiers that are reserved or sent, and the slots of them, from 1
	free     []uint16          // slots that have none
	last     uint16            // the identifier that was reserved last
	head     uint16            // slot of the oldest sent, 0: none
	tail     uint16            // of the newest sent
	progress time.Time         // when the oldest was last acknowledged in its turn
	freed    chan struct{}     // a token when a slot came free
}

type slot struct {
	report     func(bridge.Outcome) // nil: not sent
	id         uint16               // packet identifier
	wire       int                  // bytes of the PUBLISH
	attempt    int
	proves     uint64 // what its acknowledgement proves of QoS 0
	sent       time.Time
	prev, next uint16 // slots; 0: none
}

func newWindow(size int) *window {
	w := &window{slots: make([]slot, size), in: make(map[uint16]uint16, size), free: make([]uint16, size), freed: make(chan struct{}, 1)}
	for i := range w.free {
		w.free[i] = uint16(i + 1)
	}
	return w
}

// reserve takes the free identifier that was used the longest ago, or 0 when the
// window is full: await freed.
func (w *window) reserve() uint16 {
	w.mu.Lock()
	defer w.mu.Unlock()
	n := len(w.free) - 1
	if n < 0 {
		return 0
	}
	for taken := true; taken; _, taken = w.in[w.last] { // ends: a slot is free, so an identifier is
		if w.last++; w.last == 0 {
			w.last = 1
		}
	}
	w.in[w.last] = w.free[n]
	w.free = w.free[:n]
	return w.last
}

// inFlight is how many are sent, or about to be.
func (w *window) inFlight() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.in)
}

// giveBack returns an identifier that was reserved and not sent.
func (w *window) giveBack(id uint16) {
	w.mu.Lock()
	w.release(id)
	w.mu.Unlock()
}

// send puts a reserved identifier at the end of the window.
func (w *window) send(id uint16, report func(bridge.Outcome), wire, attempt int, proves uint64, at time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	i := w.in[id]
	w.slots[i-1] = slot{report: report, id: id, wire: wire, attempt: attempt, proves: proves, sent: at, prev: w.tail}
	if w.tail != 0 {
		w.slots[w.tail-1].next = i
	} else {
		w.head = i
	}
	w.tail = i
}

// awaits reports whether something was sent with an identifier, and not
// acknowledged yet.
func (w *window) awaits(id uint16) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	i := w.in[id]
	return i != 0 && w.slots[i-1].report != nil
}

// take removes what was sent with an identifier and acknowledged at a time; ok is
// false when nothing was sent.
func (w *window) take(id uint16, at time.Time) (s slot, ok bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	i := w.in[id]
	if i == 0 || w.slots[i-1].report == nil {
		return slot{}, false
	}
	if i == w.head {
		w.progress = at
	}
	return w.unlink(i), true
}

// takeOldest removes the oldest; ok is false when the window is empty.
func (w *window) takeOldest() (s slot, ok bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.head == 0 {
		return slot{}, false
	}
	return w.unlink(w.head), true
}

// overdue is how long the oldest has been the one whose acknowledgement is due.
// A broker acknowledges in order [MQTT-4.6.0-2], so its time begins when the
// one before it was acknowledged: a slow link with a full window is not taken
// for a dead one. An acknowledgement that was left out is overtaken by others,
// and those do not count. again is that of the oldest.
func (w *window) overdue(now time.Time) (late time.Duration, again bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.head == 0 {
		return 0, false
	}
	oldest := &w.slots[w.head-1]
	since := oldest.sent
	if w.progress.After(since) {
		since = w.progress
	}
	return now.Sub(since), oldest.again()
}

// again reports whether a message has come back so often that the next refusal is
// most likely about the message, and tells nothing of the rate.
func (s *slot) again() bool { return s.attempt > 2 }

// unlink takes what is in a slot out, and frees it.
func (w *window) unlink(i uint16) slot {
	s := w.slots[i-1]
	if s.prev != 0 {
		w.slots[s.prev-1].next = s.next
	} else {
		w.head = s.next
	}
	if s.next != 0 {
		w.slots[s.next-1].prev = s.prev
	} else {
		w.tail = s.prev
	}
	w.slots[i-1] = slot{}
	w.release(s.id)
	return s
}

func (w *window) release(id uint16) {
	w.free = append(w.free, w.in[id])
	delete(w.in, id)
	select {
	case w.freed <- struct{}{}:
	default:
	}
}
