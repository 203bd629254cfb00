package bridge

import (
	"errors"
	"fmt"
)

// suspect is a message that may be what makes the receiver hang up: the oldest
// that was on its way when it did.
type suspect struct {
	closes int
	slot   *slot
}

// narrowAt is how many hang-ups over one message make the window 1, poisonAt
// how many make it a dead letter; maxSuspects bounds how many are remembered.
const (
	narrowAt    = 3
	poisonAt    = 6
	maxSuspects = 64
)

// narrow is the window for a new link of a line.
func (f *Forwarder) narrow(l *line) int {
	if s := f.suspects[l.suspected]; s != nil && s.closes >= narrowAt {
		return 1
	}
	return l.full
}

// suspectOldest counts the hang-ups of the receiver over the same oldest
// message of a line. Cuts of the network do not count.
func (f *Forwarder) suspectOldest(l *line) {
	oldest := l.oldest
	l.suspected = 0
	if oldest == nil || !errors.Is(l.cause, ErrClosedByPeer) {
		return
	}
	s := f.suspects[oldest.Seq]
	if s == nil {
		if len(f.suspects) >= maxSuspects {
			f.forgetSuspects()
		}
		s = &suspect{slot: f.slotOf(f.cfg.HoldBy(oldest.Stored))}
		s.slot.suspects++
		f.suspects[oldest.Seq] = s
	}
	l.suspected = oldest.Seq
	if s.closes++; s.closes < poisonAt {
		return
	}
	if !f.takes {
		// Not even the message after the last poison was taken: it is not the
		// messages.
		s.closes = narrowAt
		f.health.Raise(Warning{Code: "hangs-up-" + f.cfg.Upstream, Severity: Critical,
			Text: fmt.Sprintf("%s hangs up on every message (%v): look at what it logs; nothing is given up meanwhile", f.cfg.Upstream, l.cause)})
		return
	}
	f.deadLetter(oldest, fmt.Sprintf("the receiver hung up on it %d times: %v", s.closes, l.cause))
	f.takes = false
}

// acquit ends the suspicion of a message that was taken, or is gone.
func (f *Forwarder) acquit(seq Seq) {
	s := f.suspects[seq]
	if s == nil {
		return
	}
	delete(f.suspects, seq)
	s.slot.suspects--
	for _, l := range f.lines {
		if l.suspected == seq && l.up && l.window < l.full {
			l.open(l.full)
		}
	}
}

func (f *Forwarder) forgetSuspects() {
	for seq := range f.suspects {
		f.acquit(seq)
	}
}
