package bridge

import "time"

// holdKey says what a hold keeps back.
type holdKey struct {
	by    string // what ForwarderConfig.HoldBy says of it
	queue string // of this queue alone; empty: of all
}

// hold keeps one device (or topic) back after a refusal, or a slot that moves.
type hold struct {
	from   map[*source]Place // where to read again from
	line   *line             // that it was refused on
	until  time.Time
	flying int // of the device, still on their way

	aside time.Duration // of a suspect: until its line had nothing to do for so long, see standAside
	rests bool          // see rest

	// Of a refusal by an answer, see makeWay, of a rest, and of a denial, see denied.
	why     string
	tried   tried // what there is of the message with the most of it
	trying  bool  // the first is to be sent, or the first that did not make way
	denials int   // one after the other
}

// Back-off of a held device, and of a paused queue.
const (
	holdBase, holdMax   = time.Second, 30 * time.Second
	pauseBase, pauseMax = 30 * time.Second, 10 * time.Minute
)

func (h *hold) note(s *source, p Place) {
	if from, ok := h.from[s]; !ok || p < from {
		h.from[s] = p
	}
}

// hold keeps back the device of a flight that came back.
func (f *Forwarder) hold(fl *flight) *hold {
	h := f.holdOf(holdKey{by: f.cfg.HoldBy(fl.Stored)}, fl.line)
	h.note(fl.source, fl.Place)
	h.why, h.rests, h.aside = "", false, 0
	h.until = time.Now().Add(min(holdBase<<min(fl.attempt-1, 10), holdMax))
	t := fl.source.tries[fl.Place]
	t.times = fl.attempt
	fl.source.tries[fl.Place] = t
	return h
}

// holdsOf are the holds that keep a message of a queue back: of its device (or topic),
// and of that in this queue alone. Either may be nil.
func (f *Forwarder) holdsOf(r *Stored, s *source) (holds [2]*hold) {
	if len(f.holds) > 0 {
		key := f.cfg.HoldBy(r)
		holds = [2]*hold{f.holds[holdKey{by: key}], f.holds[holdKey{key, s.queue}]}
	}
	return holds
}

// holdOf is the hold of a device (or topic) that is on a line, made when there is
// none.
func (f *Forwarder) holdOf(key holdKey, l *line) *hold {
	if h := f.holds[key]; h != nil {
		return h
	}
	h := &hold{from: map[*source]Place{}, line: l}
	f.holds[key] = h
	same := func(x *flight) bool {
		return (key.queue == "" || key.queue == x.source.queue) && f.cfg.HoldBy(x.Stored) == key.by
	}
	for _, x := range l.recall(same) { // waiting to be sent
		f.unsent(x)
		h.note(x.source, x.Place)
	}
	f.sources(func(s *source) {
		if s.live {
			return // its flights are those of the other part
		}
		for _, x := range s.flying {
			if same(x) {
				h.flying++
			}
		}
	})
	return h
}

// endHolds sends held devices again whose time has come and whose flights have
// all come back.
func (f *Forwarder) endHolds() {
	if len(f.holds) == 0 {
		return
	}
	now, at := time.Now(), f.retryNow.Swap(false)
	for _, l := range f.lines {
		if l.flying() > 0 || l.waits() > 0 {
			l.busyAt = now
		}
	}
	for key, h := range f.holds {
		if at || h.aside > 0 && h.line.usable() && now.Sub(h.line.busyAt) >= h.aside {
			h.until = now
		}
		if now.Before(h.until) || h.flying > 0 {
			continue
		}
		if key.queue != "" && !f.endBar(h, now) {
			continue
		}
		delete(f.holds, key)
		f.readAgain(h)
		if key.queue != "" {
			f.clearBars(key.queue)
		}
		if l := h.line; h.aside > 0 && l.crowded && l.usable() { // it has borne the others
			l.crowded = false
			l.open(l.full)
		}
	}
}

// readAgain makes the front read again from where a hold began.
func (f *Forwarder) readAgain(h *hold) {
	for s, from := range h.from {
		s.front.back(from)
	}
}

// unsent makes a flight that was not transmitted one that waits in the spool.
func (f *Forwarder) unsent(fl *flight) {
	f.landed(fl)
	fl.source.front.back(fl.Place)
}

// landed takes a flight out of what is on its way.
func (f *Forwarder) landed(fl *flight) {
	delete(fl.source.flying, fl.Place)
	fl.source.out--
	for _, h := range f.holdsOf(fl.Stored, fl.source) {
		if h != nil && h.flying > 0 {
			h.flying--
		}
	}
	s := fl.slot
	if s.out--; s.out == 0 && s.moving != nil {
		f.move(s)
	}
}
