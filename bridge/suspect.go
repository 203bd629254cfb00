package bridge

import (
	"errors"
	"fmt"
	"time"
)

// suspect is a message that may be what makes the receiver hang up: the oldest
// that was on its way when it did.
type suspect struct {
	closes int
	proven bool // one was by a line that had taken others since the one before
	slot   *slot
	queue  string
	place  Place
	key    string // what a hold keeps back with it
}

// narrowAt is how many hang-ups over one message make the window 1, poisonAt
// how many make it a dead letter; maxSuspects bounds how many are remembered.
//
// With several connections it may also be the one that it goes by: see shun.
//
// After narrowAt hang-ups without any acknowledgement on the line between, the device
// (or topic) of a suspect stands aside for asideFor at the beginning of each link: what
// others have sent goes first. When that is acknowledged, and the receiver hangs up
// once the suspect is sent, it is the message. When the receiver hangs up on the others
// too, it is not. A device that is alone on the only line is not compared with others.
//
// A message becomes a dead letter only when another was acknowledged since the one
// before it did. While nothing was, the devices of those that would be stand aside,
// too. Where the receiver said something that is not of a message, or nothing, it must
// have been compared with others.
const (
	narrowAt    = 3
	poisonAt    = 6
	maxSuspects = 64
	asideFor    = 2 * time.Second
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
	oldest, good := l.oldest, l.good
	l.suspected = 0
	soft := errors.Is(l.cause, ErrPushedBack)
	if oldest == nil || !soft && !errors.Is(l.cause, ErrClosedByPeer) {
		return
	}
	l.good = false
	l.barren++
	s := f.suspects[oldest.Seq]
	if s == nil {
		if len(f.suspects) >= maxSuspects {
			f.forgetSuspects()
		}
		key := f.cfg.HoldBy(oldest.Stored)
		s = &suspect{slot: f.slotOf(key), queue: oldest.source.queue, place: oldest.Place, key: key}
		s.slot.suspects++
		f.suspects[oldest.Seq] = s
	}
	l.suspected = oldest.Seq
	s.proven = s.proven || good && s.closes > 0
	if s.closes++; s.closes < poisonAt || !s.proven && (soft || f.othersTake(l)) {
		f.shun(l)
		return
	}
	if !s.proven && f.suspectsOn(l) > 1 { // it hangs up on others as well
		f.takes = false
	}
	if !f.takes {
		// Nothing was taken after the last poison: it may not be the messages.
		if f.health.Raise(Warning{Code: f.hangsUpCode(), Severity: Critical,
			Text: fmt.Sprintf("%s has hung up on message %s of %q (topic %q), and has taken no other since: that message waits, with what follows of the same device, until it takes one of another device; look at what %s logs, or give the message up with ebbgate spool drop %s --from %d --limit 1 --yes", f.cfg.Upstream, oldest.ID, oldest.Device, oldest.Receiver.Topic, f.cfg.Upstream, s.queue, s.place)}) {
			f.log.Warn("the receiver hangs up, and takes nothing", "queue", s.queue, "place", uint64(s.place), "id", oldest.ID.String(), "device", oldest.Device, "topic", oldest.Receiver.Topic, "error", l.cause)
		}
		return
	}
	f.deadLetter(oldest, fmt.Sprintf("the receiver hung up on it %d times: %v", s.closes, l.cause))
	f.takes = false
}

// standAside keeps back, on a line whose link has just come up, what is suspected
// while nothing else was taken.
func (f *Forwarder) standAside(l *line) {
	for _, s := range f.suspects {
		barren := !s.proven && s.closes >= narrowAt && l.barren >= narrowAt
		if s.slot.line == l && (barren || !f.takes && s.closes >= poisonAt) {
			f.holdOf(s.key, l).until = time.Now().Add(asideFor)
		}
	}
}

// suspectsOn is how many messages of a line are suspected.
func (f *Forwarder) suspectsOn(l *line) (n int) {
	for _, s := range f.suspects {
		if s.slot.line == l {
			n++
		}
	}
	return n
}

// taken notes that the receiver has acknowledged a message: it does take some. Those
// that stood aside are tried again, as often as their window had been 1 before.
func (f *Forwarder) taken() {
	if f.takes {
		return
	}
	f.takes = true
	f.health.Clear(f.hangsUpCode())
	for _, s := range f.suspects {
		if s.closes < poisonAt {
			continue
		}
		s.closes = narrowAt
		if h := f.holds[s.key]; h != nil {
			h.until = time.Time{}
		}
	}
}

// forgetReleased ends the suspicion of what is gone: a person has dropped it.
func (f *Forwarder) forgetReleased() {
	for seq, s := range f.suspects {
		if f.spool.Released(s.queue, s.place) {
			f.acquit(seq)
			f.health.Clear(f.hangsUpCode()) // raised again when it is not that message alone
			if h := f.holds[s.key]; h != nil {
				h.until = time.Time{}
			}
		}
	}
}

func (f *Forwarder) hangsUpCode() string { return "hangs-up-" + f.cfg.Upstream }

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
