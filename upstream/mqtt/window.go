package mqtt

import (
	"sync"
	"time"

	"github.com/ebbgate/ebbgate/bridge"
)

// window holds the sends whose outcome is awaited, by packet identifier and in
// the order of sending. Whoever takes an entry out reports it: that is what
// makes every report happen once.
type window struct {
	mu       sync.Mutex
	slots    []slot        // slot i belongs to packet identifier i+1
	free     []uint16      // ring of identifiers, the longest unused at first
	first    int           // index in free
	unused   int           // entries of free that count
	head     uint16        // oldest sent, 0: none
	tail     uint16        // newest sent
	progress time.Time     // when the oldest was last acknowledged in its turn
	freed    chan struct{} // a token when an identifier came free
}

type slot struct {
	report     func(bridge.Outcome) // nil: not sent
	wire       int                  // bytes of the PUBLISH
	sent       time.Time
	prev, next uint16 // identifiers; 0: none
}

func newWindow(size int) *window {
	w := &window{slots: make([]slot, size), free: make([]uint16, size), unused: size, freed: make(chan struct{}, 1)}
	for i := range w.free {
		w.free[i] = uint16(i + 1)
	}
	return w
}

// reserve takes a free identifier, or 0 when there is none: await freed.
func (w *window) reserve() uint16 {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.unused == 0 {
		return 0
	}
	id := w.free[w.first]
	w.first = (w.first + 1) % len(w.free)
	w.unused--
	return id
}

// inFlight is how many are sent, or about to be.
func (w *window) inFlight() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.free) - w.unused
}

// giveBack returns an identifier that was reserved and not sent.
func (w *window) giveBack(id uint16) {
	w.mu.Lock()
	w.release(id)
	w.mu.Unlock()
}

// send puts a reserved identifier at the end of the window.
func (w *window) send(id uint16, report func(bridge.Outcome), wire int, at time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.slots[id-1] = slot{report: report, wire: wire, sent: at, prev: w.tail}
	if w.tail != 0 {
		w.slots[w.tail-1].next = id
	} else {
		w.head = id
	}
	w.tail = id
}

// take removes what was sent with an identifier and acknowledged at a time; ok is
// false when nothing was sent.
func (w *window) take(id uint16, at time.Time) (s slot, ok bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if id == 0 || int(id) > len(w.slots) || w.slots[id-1].report == nil {
		return slot{}, false
	}
	if id == w.head {
		w.progress = at
	}
	s = w.unlink(id)
	w.release(id)
	return s, true
}

// takeOldest removes the oldest; ok is false when the window is empty.
func (w *window) takeOldest() (s slot, ok bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.head == 0 {
		return slot{}, false
	}
	id := w.head
	s = w.unlink(id)
	w.release(id)
	return s, true
}

// overdue is how long the oldest has been the one whose acknowledgement is due.
// A broker acknowledges in order [MQTT-4.6.0-2], so its time begins when the
// one before it was acknowledged: a slow link with a full window is not taken
// for a dead one. An acknowledgement that was left out is overtaken by others,
// and those do not count.
func (w *window) overdue(now time.Time) time.Duration {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.head == 0 {
		return 0
	}
	since := w.slots[w.head-1].sent
	if w.progress.After(since) {
		since = w.progress
	}
	return now.Sub(since)
}

func (w *window) unlink(id uint16) slot {
	s := w.slots[id-1]
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
	w.slots[id-1] = slot{}
	return s
}

func (w *window) release(id uint16) {
	w.free[(w.first+w.unused)%len(w.free)] = id
	w.unused++
	select {
	case w.freed <- struct{}{}:
	default:
	}
}
