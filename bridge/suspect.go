package bridge

import (
	"errors"
	"fmt"
	"time"
)

// suspect is a message that may be what makes the receiver hang up: the oldest
// that was on its way when it did.
//
// After aloneAt hang-ups it is sent alone, on whatever line, and on each new link its
// device (or topic) stands aside for a while: what others have sent goes first, with
// the whole window. When that is acknowledged, and the receiver hangs up once the
// suspect is sent, it is the message. When the receiver hangs up on the others too, it
// may be too many at once: from then on the line is crowded, and sends them one by one.
// A device that is alone on the only line is not compared with others. With several
// connections it may also be the one that it goes by: see shun.
//
// After poisonAt hang-ups it becomes a dead letter, but only when another message was
// acknowledged since the last one did. Where the receiver said something that is not of
// a message, or nothing, it must have been compared with others. What follows of the
// same device may have to rest, see rest.
type suspect struct {
	closes int
	proven bool // one was by a line that had taken others since the one before
	slot   *slot
	queue  string
	place  Place
	key    string // what a hold keeps back with it
}

const (
	aloneAt     = 3
	poisonAt    = 6
	maxSuspects = 64 // remembered at once
)

// Others go first on a new link for twice as long as there was none, within these: so
// they have most of the time, however long the waits between attempts to connect are.
const asideLeast, asideMost = 2 * time.Second, 30 * time.Second

// allowed is the window for a new link of a line.
func (l *line) allowed() int {
	if l.crowded {
		return 1
	}
	return l.full
}

// goesAlone reports whether a message is suspected enough to be sent alone.
func (f *Forwarder) goesAlone(seq Seq) bool {
	if len(f.suspects) == 0 {
		return false
	}
	s := f.suspects[seq]
	return s != nil && s.closes >= aloneAt
}

// suspectOldest counts the hang-ups of the receiver over the same oldest
// message of a line. Cuts of the network do not count.
func (f *Forwarder) suspectOldest(l *line) {
	oldest, good := l.oldest, l.good
	soft := errors.Is(l.cause, ErrPushedBack)
	if oldest == nil || !soft && !errors.Is(l.cause, ErrClosedByPeer) {
		return
	}
	l.good = false
	l.barren++
	if errors.Is(l.cause, ErrDenied) && f.deniedByEnd(l) {
		return
	}
	l.crowded = !oldest.alone && (l.crowded || f.comparesOn(l))
	s := f.suspectFor(oldest)
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
	f.rest(oldest)
}

// deniedByEnd finds what the receiver's policy has denied by ending the link, and does
// as if it had answered so. It reports false when that is not known yet.
func (f *Forwarder) deniedByEnd(l *line) bool {
	fl := l.probe
	if fl == nil && l.oldest.alone {
		fl = l.oldest
	}
	if fl == nil {
		return false
	}
	f.acquit(fl.Seq)
	o := Outcome{Result: ResultDenied, Code: 0x87, Reason: "not authorized, with the end of the connection"}
	if fl.source.requests {
		f.deny(fl, o)
	} else {
		f.pause(fl, o)
	}
	return true
}

// suspectFor is what is known against a message, from now on.
func (f *Forwarder) suspectFor(fl *flight) *suspect {
	if s := f.suspects[fl.Seq]; s != nil {
		return s
	}
	if len(f.suspects) >= maxSuspects {
		f.forgetSuspects()
	}
	key := f.cfg.HoldBy(fl.Stored)
	s := &suspect{slot: f.slotOf(key), queue: fl.source.queue, place: fl.Place, key: key}
	if f.streaks[key] >= restAt { // those before it were poison, too
		s.closes = aloneAt - 1
	}
	s.slot.suspects++
	f.suspects[fl.Seq] = s
	return s
}

// standAside keeps the devices of suspects back on a line whose link has just come up.
func (f *Forwarder) standAside(l *line) {
	now := time.Now()
	aside := asideLeast
	if !l.downSince.IsZero() {
		aside = min(max(2*now.Sub(l.downSince), asideLeast), asideMost)
	}
	for _, s := range f.suspects {
		if s.slot.line == l && s.closes >= aloneAt {
			h := f.holdOf(s.key, l)
			h.until, h.rests = now.Add(aside), false
		}
	}
}

// comparesOn reports whether suspects of a line are sent alone.
func (f *Forwarder) comparesOn(l *line) bool {
	for _, s := range f.suspects {
		if s.slot.line == l && s.closes >= aloneAt {
			return true
		}
	}
	return false
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
// that are due to be dead letters are tried again, as often as they were alone before.
func (f *Forwarder) taken() {
	if f.takes {
		return
	}
	f.takes = true
	f.health.Clear(f.hangsUpCode())
	for _, s := range f.suspects {
		s.closes = min(s.closes, aloneAt)
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
		if l.crowded && !f.comparesOn(l) {
			if l.crowded = false; l.up {
				l.open(l.full)
			}
		}
	}
}

func (f *Forwarder) forgetSuspects() {
	for seq := range f.suspects {
		f.acquit(seq)
	}
}
