package bridge

import (
	"fmt"
	"time"
)

// A message that the receiver refuses without a reason, or that nobody is there to
// take, keeps back what follows of its device (or topic), and nobody else: others are
// read past it. How far is bounded, and whoever is refused for days would stop all
// others there. So when the front has come that far, and the receiver has taken at
// least a part of what lies between, the oldest that are kept back make way: they
// become dead letters, which a person can send again. A receiver that takes nothing
// makes none.
const (
	wayAtOnce = 1000 // places, the oldest of maxAhead
	wayBatch  = 256  // dead letters of one commit
	wayBytes  = 1 << 20
	wayEvery  = time.Second // how often it is looked, where it was for nothing
)

// makeWay looks whether the front of a lane has come as far as it may past what is
// kept back.
func (f *Forwarder) makeWay(ln *lane) error {
	if len(f.holds) == 0 {
		return nil
	}
	for _, s := range ln.sources {
		oldest := s.front.at()
		for _, h := range f.holds {
			if from, ok := h.from[s]; ok {
				oldest = min(oldest, from)
			}
		}
		if s.front.at()-oldest < maxAhead || time.Now().Before(s.wayAfter) {
			continue
		}
		s.wayAfter = time.Now().Add(wayEvery)
		if err := f.makeWayOf(s, oldest); err != nil {
			return err
		}
	}
	return nil
}

// makeWayOf is makeWay of one source, of which a hold begins at oldest.
func (f *Forwarder) makeWayOf(s *source, oldest Place) error {
	c := f.spool.Cursor(s.queue)
	defer c.Close()
	c.Seek(oldest)
	var old []*Stored // of held devices
	cut, live, size := oldest+wayAtOnce, 0, 0
	for live <= maxAhead-maxAhead/4 {
		r, err := c.Next()
		if err != nil {
			return err
		}
		if r == nil || r.Place >= s.front.at() {
			f.bury(s, old, cut)
			return nil
		}
		if s.flying[r.Place] == nil && !s.done[r.Place] {
			live++
		}
		if h := f.holds[f.cfg.HoldBy(r)]; r.Place >= cut || h == nil || !h.mayMakeWay() {
			continue
		}
		if s.last != nil {
			gone, open := s.last.Reached(s.first(), r.Place)
			if open {
				cut = r.Place
			}
			if gone || open {
				continue
			}
		}
		if size += r.Size(); len(old) >= wayBatch || size > wayBytes {
			cut = r.Place
			continue
		}
		old = append(old, r)
	}
	return nil // of what was read, nearly nothing was taken
}

// mayMakeWay reports whether a hold is of a refusal that may be about its messages,
// and nothing of it is on its way.
func (h *hold) mayMakeWay() bool { return h.why != "" && h.flying == 0 }

// bury makes dead letters of what is held below a place.
func (f *Forwarder) bury(s *source, old []*Stored, cut Place) {
	var set settlement
	var last *Stored
	for _, r := range old {
		if s.done[r.Place] {
			continue
		}
		h := f.holds[f.cfg.HoldBy(r)]
		if r.Mortal() && r.Expired(f.spool.Age()) {
			f.giveUp(&flight{Stored: r, source: s}, Expired.String(), "")
			continue
		}
		if !f.interred(&set, &flight{Stored: r, source: s}, h.reason()) {
			continue
		}
		last = r
	}
	for _, h := range f.holds {
		if from, ok := h.from[s]; ok && from < cut && h.mayMakeWay() {
			h.from[s] = cut
		}
	}
	if last != nil {
		s.wayAfter = time.Time{} // the next at once
		f.inter(set, last, f.holds[f.cfg.HoldBy(last)].reason())
	}
	f.wakeUp()
}

// reason is why something held makes way.
func (h *hold) reason() string {
	return fmt.Sprintf("%s; it, or one before it of the same device, and %d others waited behind", h.why, maxAhead)
}
