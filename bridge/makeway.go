package bridge

import (
	"fmt"
	"time"
)

// A message that the receiver refuses for now, or that nobody is there to take, keeps
// back what follows of its device (or topic), and nobody else: others are read past
// it. How far is bounded, and whoever is refused for days would stop all others there.
// So when the front has come that far, the message has been refused
// again and again for a while, in which the receiver took others, and it has taken at
// least a part of what lies between, it makes way: it becomes a dead letter, which a person can send again. Then
// the next of the device is tried. When that is refused too, twice as many make way as
// before; when it is taken, all begins anew. A receiver that takes nothing makes no
// dead letters, nor does one that has a bad moment.
const (
	wayGrace = 30 * time.Second // how long a message is refused before
	wayTries = rejectsTold      // and how often

	// The same where the receiver speaks of itself and of the moment (it is busy, it is
	// sent too much): then it is most often not the message.
	patientGrace = 3 * time.Minute
	patientTries = 10

	wayAtOnce = 1000 // places, the oldest of maxAhead
	wayBatch  = 256  // dead letters of one commit
	wayBytes  = 1 << 20
	wayEvery  = time.Second // how often: what is refused for a while only shall not all be dead letters
)

// balk holds a device for a refusal that may be about its message.
func (f *Forwarder) balk(fl *flight, patient bool, why string) {
	h, now, acked := f.hold(fl), f.spool.Age(), f.stats.acked.Load()
	t := fl.source.tries[fl.Place]
	if t.refused == 0 {
		t.acked = acked
	}
	if t.refused <= 1 && t.acked == acked { // while nothing else is taken it is not the message
		t.refused, t.since = 1, now
	} else {
		t.refused++
	}
	t.patient = patient
	fl.source.tries[fl.Place] = t
	h.why = why
	if t.refused > h.tried.refused {
		h.tried = t
	}
}

// makeWay looks whether the front of a lane has come as far as it may past what is
// kept back.
func (f *Forwarder) makeWay(ln *lane) error {
	if len(f.holds) == 0 {
		return nil
	}
	for _, s := range ln.sources {
		oldest, first := s.front.at(), (*hold)(nil)
		for _, h := range f.holds {
			if from, ok := h.from[s]; ok && from < oldest {
				oldest, first = from, h
			}
		}
		if s.front.at()-oldest < maxAhead || time.Now().Before(s.wayAfter) {
			continue
		}
		if !f.mayMakeWay(first) {
			if soon := time.Now().Add(hurry); first != nil && first.denials > 0 && first.until.After(soon) {
				first.until = soon
			}
			continue
		}
		s.wayAfter = time.Now().Add(wayEvery)
		if err := f.makeWayOf(s, oldest); err != nil {
			return err
		}
	}
	return nil
}

// mayMakeWay reports whether a hold is of refusals that have lasted for long enough,
// and nothing of it is on its way.
func (f *Forwarder) mayMakeWay(h *hold) bool {
	if h == nil {
		return false
	}
	tries, grace := wayTries, wayGrace
	if h.tried.patient {
		tries, grace = patientTries, patientGrace
	}
	return h.why != "" && h.flying == 0 && !h.trying &&
		h.tried.refused >= tries && f.spool.Age()-h.tried.since >= grace
}

// leaving is what makes way of one hold.
type leaving struct {
	n    int   // so many
	next Place // the first that does not; 0: none is known
}

// makeWayOf is makeWay of one source, of which a hold begins at oldest.
func (f *Forwarder) makeWayOf(s *source, oldest Place) error {
	c := f.spool.Cursor(s.queue)
	defer c.Close()
	c.Seek(oldest)
	var old []*Stored // of held devices
	leave := map[*hold]*leaving{}
	for _, h := range f.holds {
		if f.mayMakeWay(h) {
			leave[h] = new(leaving)
		}
	}
	cut, live, size := oldest+wayAtOnce, 0, 0
	for live <= maxAhead-maxAhead/4 {
		r, err := c.Next()
		if err != nil {
			return err
		}
		if r == nil || r.Place >= s.front.at() {
			f.bury(s, old, cut, leave)
			return nil
		}
		if s.flying[r.Place] != nil || s.done[r.Place] {
			continue
		}
		live++
		h := f.leaves(r, s, leave)
		l := leave[h]
		if l == nil || l.next != 0 {
			continue
		}
		if s.last != nil {
			gone, open := s.last.Reached(s.first(), r.Place)
			if open {
				cut = min(cut, r.Place)
			}
			if gone {
				continue
			}
		}
		if len(old) >= wayBatch || size >= wayBytes {
			cut = min(cut, r.Place)
		}
		if r.Place >= cut || l.n >= max(h.tried.way, 1) {
			l.next = r.Place
			continue
		}
		l.n++
		size += r.Size()
		old = append(old, r)
	}
	return nil // of what was read, nearly nothing was taken
}

// bury makes dead letters of what makes way below a place, and has the next of each
// device tried.
func (f *Forwarder) bury(s *source, old []*Stored, cut Place, leave map[*hold]*leaving) {
	var set settlement
	var last *Stored
	for _, r := range old {
		h := f.leaves(r, s, leave)
		if r.Mortal() && r.Expired(f.spool.Age()) {
			f.giveUp(&flight{Stored: r, source: s}, Expired.String(), "")
			continue
		}
		if f.interred(&set, &flight{Stored: r, source: s}, h.reason()) {
			last = r
		}
	}
	if last != nil {
		f.inter(set, last, f.leaves(last, s, leave).reason())
	}
	f.readOver(func(queue string, p Place) bool { return queue == s.queue && s.done[p] })
	for h, l := range leave {
		if from, ok := h.from[s]; !ok || from >= cut {
			continue
		}
		h.from[s] = cut
		if l.n == 0 {
			continue
		}
		if l.next != 0 {
			h.from[s] = l.next
			t := h.tried
			t.times, t.way = s.tries[l.next].times, min(2*max(t.way, 1), wayBatch)
			s.tries[l.next] = t
		}
		h.trying, h.until = true, time.Now().Add(holdBase)
		f.readAgain(h)
	}
	f.wakeUp()
}

// leaves is which of a message's holds makes way; nil: none does.
func (f *Forwarder) leaves(r *Stored, s *source, leave map[*hold]*leaving) *hold {
	for _, h := range f.holdsOf(r, s) {
		if leave[h] != nil {
			return h
		}
	}
	return nil
}

// took ends the hold of a device whose next message was taken.
func (h *hold) took() { h.why, h.until = "", time.Now() }

// reason is why something held makes way.
func (h *hold) reason() string {
	return fmt.Sprintf("%s; it, or one before it of the same device, and %d others waited behind", h.why, maxAhead)
}
