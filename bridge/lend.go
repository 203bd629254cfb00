package bridge

import "time"

// A connection that has nothing to do takes devices over from one that has more
// than it can send: without that the last of eight, with the most devices, would
// go on alone. It is lent slots, until the number of connections changes; a few
// at a time, and never one that makes up most of the other's load: for that one
// would not go faster elsewhere.
const (
	idleBefore = 200 * time.Millisecond // a line is idle when it had nothing for so long
	idleAgain  = 2 * time.Second        // and when it still has nothing so much later
	lentAtOnce = 8                      // slots, each time that it is
)

// noteIdle sees which lines have nothing to do. For the one that is lent to, the
// front goes back to what it has passed over.
func (f *Forwarder) noteIdle(now time.Time) {
	for _, l := range f.lines {
		if !l.takes() || !l.isIdle() {
			l.idleSince = time.Time{}
		} else if l.idleSince.IsZero() {
			l.idleSince = now
		}
	}
	f.idle = nil
	for _, l := range f.lines {
		if !l.idleSince.IsZero() && now.Sub(l.idleSince) >= idleBefore {
			f.idle = l
		}
	}
	if f.idle != nil {
		f.idle.idleSince, f.idle.lent = now.Add(idleAgain-idleBefore), 0
		f.goBack()
	}
}

// isIdle reports whether a line soon has nothing left, and nothing of its own that
// the front has passed over. What is on its way counts for nothing: far from the
// cloud a line would stand still for the time of an answer before it was lent to.
func (l *line) isIdle() bool {
	for n := range l.held {
		if l.passed[n] != nil || !l.isHungry(n) {
			return false
		}
	}
	return true
}

// waits is how much waited on the line when it was last looked at.
func (l *line) waits() (n int) {
	for _, held := range l.held {
		n += held
	}
	return n
}

// lend gives a slot of a full line to one that is idle, and reports whether it
// did: at once, or when what is on its way has come back. What the full line's
// own reader has still to read of the slot would be lost to both.
func (f *Forwarder) lend(s *slot) bool {
	to, from := f.idle, s.line
	if to == nil || to.lent >= lentAtOnce || !from.takes() || s.passed == f.passes || s.suspects > 0 || 2*s.out > from.flying()+from.waits() {
		return false
	}
	to.lent++
	s.lent = to
	if s.out == 0 {
		s.line = to
	} else {
		s.moving = &hold{from: map[*source]Place{}}
		f.moves[s] = struct{}{}
	}
	return true
}
