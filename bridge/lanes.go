package bridge

import (
	"cmp"
	"slices"
	"sync/atomic"
	"time"
)

// lane is the queues of one priority. They are read as one, in the order of
// acceptance.
type lane struct {
	priority int
	sources  []*source
}

// source is one queue as its forwarder reads it.
type source struct {
	queue  string
	cursor Cursor

	requests bool      // see QueueRef
	last     *KeepLast // see QueueRef

	head   *Stored
	flying map[Place]*flight
	done   map[Place]bool // released in a batch that is not confirmed yet
	tries  map[Place]int  // transmissions of what came back

	lastSeen Place // the last that the cursor returned
	furthest Place // that a cursor ever returned: none beyond it flies or is done

	paused  time.Time // the receiver's policy denied the queue: not before
	denials int

	asked    Place       // the mark that has been asked for
	stride   Place       // how far ahead the next is asked for
	unmarked atomic.Bool // asking failed
	askAgain time.Time
	durable  atomic.Uint64 // the mark that is durable: places below may have been sent
}

// flight is a delivery that awaits its outcome.
type flight struct {
	*Stored
	lane    *lane
	source  *source
	attempt int
	probe   bool // sent while its queue was paused

	delivery Delivery // as it was sent
}

// hold keeps one device (or topic) back after a refusal.
type hold struct {
	until time.Time
	from  map[*source]Place // where to read again from
}

// maxAhead bounds how far a queue is read past what is held back, in places.
const maxAhead = 10_000

// Back-off of a held device, and of a paused queue.
const (
	holdBase, holdMax   = time.Second, 30 * time.Second
	pauseBase, pauseMax = 30 * time.Second, 10 * time.Minute
)

func newLanes(queues []QueueRef) (out []*lane) {
	for _, q := range queues {
		i := slices.IndexFunc(out, func(l *lane) bool { return l.priority == q.Priority })
		if i < 0 {
			out = append(out, &lane{priority: q.Priority})
			i = len(out) - 1
		}
		out[i].sources = append(out[i].sources, &source{queue: q.Name, requests: q.Requests, last: q.Last, done: map[Place]bool{}})
	}
	slices.SortFunc(out, func(a, b *lane) int { return cmp.Compare(b.priority, a.priority) })
	return out
}

func (f *Forwarder) sources(fn func(*source)) {
	for _, l := range f.lanes {
		for _, s := range l.sources {
			fn(s)
		}
	}
}

func (f *Forwarder) openCursors() {
	f.holds = map[string]*hold{}
	f.sources(func(s *source) {
		s.cursor, s.head = f.spool.Cursor(s.queue), nil
		s.flying, s.tries = map[Place]*flight{}, map[Place]int{}
	})
}

func (f *Forwarder) closeCursors() {
	f.sources(func(s *source) { s.cursor.Close(); s.cursor, s.head = nil, nil })
}

func (l *lane) inFlight() (n int) {
	for _, s := range l.sources {
		n += len(s.flying)
	}
	return n
}

// forget takes back a flight that was not transmitted.
func (l *lane) forget(fl *flight) { delete(fl.source.flying, fl.Place) }

// pick takes the next record to send and marks it as in flight: the oldest of
// the highest priority that has one. nil means that there is nothing to do now.
func (f *Forwarder) pick() (*flight, error) {
	f.endHolds()
	for _, l := range f.lanes {
		fl, err := f.pickFrom(l)
		if fl != nil || err != nil {
			return fl, err
		}
	}
	return nil, nil
}

func (f *Forwarder) pickFrom(l *lane) (*flight, error) {
	var best *source
	for _, s := range l.sources {
		if err := f.advance(s); err != nil {
			return nil, err
		}
		if s.head != nil && (best == nil || s.head.Seq < best.head.Seq) {
			best = s
		}
	}
	if best == nil || !f.marked(best) {
		return nil, nil
	}
	fl := &flight{Stored: best.head, lane: l, source: best, attempt: best.tries[best.head.Place] + 1, probe: !best.paused.IsZero()}
	best.flying[fl.Place] = fl
	best.head = nil
	return fl, nil
}

// advance reads the source's next record that may be sent into head.
func (f *Forwarder) advance(s *source) error {
	if !s.paused.IsZero() {
		if len(s.flying) > 0 || time.Now().Before(s.paused) {
			s.head = nil
			return nil
		}
		if s.head == nil {
			s.cursor.Seek(0) // the probe is the oldest
		}
	}
	for expired := 0; s.head == nil; {
		if expired == releaseBatch || f.batch.heavy() { // the rest after this batch: a backlog may be all expired
			f.flush()
			select {
			case f.wake <- struct{}{}:
			default:
			}
			return nil
		}
		if from, ok := f.heldFrom(s); ok && s.lastSeen > from+maxAhead {
			return nil
		}
		r, err := s.cursor.Next()
		if err != nil || r == nil {
			return err
		}
		s.lastSeen = r.Place
		again := r.Place <= s.furthest
		s.furthest = max(s.furthest, r.Place)
		switch {
		case again && (s.flying[r.Place] != nil || s.done[r.Place]):
		case s.last != nil && s.last.Reached(r.Place):
		case r.Mortal() && r.Expired(f.spool.Age()):
			expired++
			f.giveUp(&flight{Stored: r, source: s}, Expired.String(), "")
		case f.heldBack(s, r):
		default:
			s.head = r
		}
	}
	return nil
}

// heldBack notes a record of a held device, to be read again, and reports
// whether it is one.
func (f *Forwarder) heldBack(s *source, r *Stored) bool {
	h := f.holds[f.cfg.HoldBy(r)]
	if h == nil {
		return false
	}
	h.note(s, r.Place)
	return true
}

func (h *hold) note(s *source, p Place) {
	if from, ok := h.from[s]; !ok || p < from {
		h.from[s] = p
	}
}

// heldFrom is the oldest place of a source that a hold keeps back.
func (f *Forwarder) heldFrom(s *source) (oldest Place, ok bool) {
	for _, h := range f.holds {
		if from, held := h.from[s]; held && (!ok || from < oldest) {
			oldest, ok = from, true
		}
	}
	return oldest, ok
}

// hold keeps back the device of a flight that came back.
func (f *Forwarder) hold(fl *flight) {
	key := f.cfg.HoldBy(fl.Stored)
	h := f.holds[key]
	if h == nil {
		h = &hold{from: map[*source]Place{}}
		f.holds[key] = h
	}
	h.note(fl.source, fl.Place)
	n := fl.attempt
	h.until = time.Now().Add(min(holdBase<<min(n-1, 10), holdMax))
	fl.source.tries[fl.Place] = n
	// A record of the device that has been read but not sent waits as well.
	f.sources(func(s *source) {
		if s.head != nil && f.cfg.HoldBy(s.head) == key {
			h.note(s, s.head.Place)
			s.head = nil
		}
	})
}

// endHolds sends held devices again whose time has come and whose flights have
// all come back.
func (f *Forwarder) endHolds() {
	if len(f.holds) == 0 {
		return
	}
	now, at := time.Now(), f.retryNow.Swap(false)
	for key, h := range f.holds {
		if at {
			h.until = now
		}
		if now.Before(h.until) || f.isFlying(key) {
			continue
		}
		delete(f.holds, key)
		for s, from := range h.from {
			if s.head != nil && s.head.Place < from {
				from = s.head.Place
			}
			s.cursor.Seek(from)
			s.head, s.lastSeen = nil, from
		}
	}
}

func (f *Forwarder) isFlying(key string) bool {
	found := false
	f.sources(func(s *source) {
		for _, fl := range s.flying {
			found = found || f.cfg.HoldBy(fl.Stored) == key
		}
	})
	return found
}
