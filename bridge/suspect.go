package bridge

import (
	"errors"
	"fmt"
	"math"
	"time"
)

// suspect is a message that may be what makes the receiver hang up.
//
// The oldest that was on its way when it did is blamed. After aloneAt hang-ups over the
// same one, or when it hangs up on others while that is looked into, all that was on
// its way is doubted. What is doubted, or blamed as often, is sent alone, on whatever
// line, and on each new link its device (or topic) stands aside for a while: what
// others have sent goes first, with the whole window; then what is only doubted. When
// something is acknowledged it is free. When the receiver hangs up on what is alone it
// is that message, and when it does on the others too it may be too many at once: on
// the next link these go one by one (the line is crowded). A device that is alone on
// the only line is not compared with others. With several connections it may also be
// the one that it goes by: see shun.
//
// After poisonAt hang-ups a message becomes a dead letter, but only when another was
// acknowledged since the last one did, and when the last two were over it alone, on links
// that had taken others (or no other device is suspected) and then lived without it for
// hushFor: where links end sooner than that anyway it is not the message. It takes
// patientTries hang-ups and patientGrace when it could not be compared so: the receiver
// may have a bad moment. So it does where the receiver said something that is not of a message, or nothing: one that
// throws away what is too much may meet the same message several times; then it must
// have been compared, too. What follows of the same device may have to rest, see rest.
type suspect struct {
	closes  int
	doubted bool
	since   time.Duration // the age at the first
	proven  bool          // one was by a line that had taken others since the one before
	slot    *slot
	queue   string
	place   Place
	key     string // what a hold keeps back with it

	hushed   int // hang-ups when it was alone, on a link that had lived without it
	compared int // those on a line that had taken others since the one before
}

const (
	aloneAt     = 3
	hushAt      = 4
	poisonAt    = 6
	maxSuspects = 1024 // remembered at once
	maxDoubts   = 256  // of one hang-up
)

// Others go first on a new link for twice as long as there was none, within these: so
// they have most of the time, however long the waits between attempts to connect are.
// When they have nothing to send for asideLeast, or asideIdle for what is only doubted,
// there is nothing to wait for.
const asideLeast, asideMost, asideIdle = 2 * time.Second, 30 * time.Second, 200 * time.Millisecond

// allowed is the window for a new link of a line.
func (l *line) allowed() int {
	if l.crowded {
		return 1
	}
	return l.full
}

// goesAlone reports whether a message is suspected enough to be sent alone, or the one
// before it of its device was poison.
func (f *Forwarder) goesAlone(r *Stored) bool {
	if len(f.streaks) > 0 && f.streaks[f.cfg.HoldBy(r)] > 0 {
		return true
	}
	if len(f.suspects) == 0 {
		return false
	}
	s := f.suspects[r.Seq]
	return s != nil && s.alone()
}

// blamed is how often the receiver has hung up over a message.
func (f *Forwarder) blamed(r *Stored) int {
	if s := f.suspects[r.Seq]; s != nil {
		return s.closes
	}
	return 0
}

func (s *suspect) alone() bool { return s.doubted || s.closes >= aloneAt }

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
	if f.namedByEnd(l) {
		return
	}
	s := f.suspectFor(oldest)
	f.blame(l, s, oldest, good)
	if !s.condemned(soft, f.onlySuspect(l, s.key), f.spool.Age()) || !s.proven && (soft || f.othersTake(l)) {
		if s.closes >= poisonAt {
			f.tellOf(s, oldest, l.cause)
		}
		f.shun(l)
		return
	}
	if !s.proven && f.suspectsOn(l) > 1 { // it hangs up on others as well
		f.takes = false
	}
	if !f.takes { // nothing was taken after the last poison: it may not be the messages
		f.tellOf(s, oldest, l.cause)
		return
	}
	f.deadLetter(oldest, fmt.Sprintf("the receiver hung up on it %d times: %v", s.closes, l.cause))
	f.takes = false
	f.rest(oldest, "hangs up on")
}

// tellOf says which message the receiver hangs up on.
func (f *Forwarder) tellOf(s *suspect, fl *flight, cause error) {
	if f.health.Raise(Warning{Code: f.hangsUpCode(), Severity: Critical,
		Text: fmt.Sprintf("%s hangs up again and again on message %s of %q (topic %q): that message waits, with what follows of the same device, until it takes one of another device and hangs up on that one still; look at what %s logs, or give the message up with ebbgate spool drop %s --from %d --limit 1 --yes", f.cfg.Upstream, fl.ID, fl.Device, fl.Receiver.Topic, f.cfg.Upstream, s.queue, s.place)}) {
		f.log.Warn("the receiver hangs up on a message again and again", "queue", s.queue, "place", uint64(s.place), "id", fl.ID.String(), "device", fl.Device, "topic", fl.Receiver.Topic, "error", cause)
	}
}

// blame counts a hang-up over a message, the oldest of a line.
func (f *Forwarder) blame(l *line, s *suspect, oldest *flight, good bool) {
	sure := oldest.alone || l.window == 1 // nothing else was on its way
	others := !sure && f.comparesOn(l)    // while what is suspected stood aside
	s.proven = s.proven || good && (s.closes > 0 || sure)
	if oldest.hush() {
		if s.hushed++; good {
			s.compared++
		}
	}
	if s.closes++; sure {
		s.closes = max(s.closes, aloneAt)
	}
	l.crowded = others
	if others || !sure && s.closes == aloneAt {
		for _, fl := range l.lost {
			f.suspectFor(fl).doubted = true
		}
	}
}

// condemned reports whether the hang-ups over a message are enough; only is that no
// other device of its line is suspected.
func (s *suspect) condemned(soft, only bool, now time.Duration) bool {
	const sure = poisonAt - hushAt
	if soft || s.compared < sure && (!s.proven || !only || s.hushed < sure) {
		return s.closes >= patientTries && now-s.since >= patientGrace
	}
	return s.closes >= poisonAt
}

// namedByEnd does as if the receiver had answered so when it has ended the link with a
// word about a message, and it is known which. It reports false when that is not so.
func (f *Forwarder) namedByEnd(l *line) bool {
	fl := l.oldest
	switch {
	case errors.Is(l.cause, ErrRefused) && fl.alone && (f.takes || f.refused < ofOne): // else it may not be the message
		f.deadLetter(fl, l.cause.Error())
		f.takes = false
		f.refused++
		f.rest(fl, "refuses")
		return true
	case !errors.Is(l.cause, ErrDenied):
		return false
	case l.probe != nil:
		fl = l.probe
	case !fl.alone:
		return false
	}
	f.acquit(fl.Seq)
	o := Outcome{Result: ResultDenied, Code: 0x87, Reason: "not authorized, with the end of the connection"}
	if !fl.source.requests {
		f.suspectFor(fl).doubted = true // it is alone the next time, too
	}
	f.denied(fl, o, ofOne)
	return true
}

// suspectFor is what is known against a message, from now on.
func (f *Forwarder) suspectFor(fl *flight) *suspect {
	if s := f.suspects[fl.Seq]; s != nil {
		return s
	}
	if len(f.suspects) >= maxSuspects {
		f.forgetLeast()
	}
	key := f.cfg.HoldBy(fl.Stored)
	s := &suspect{since: f.spool.Age(), slot: f.slotOf(key), queue: fl.source.queue, place: fl.Place, key: key}
	if f.streaks[key] > 0 { // the one before it was poison, too
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
	type stand struct{ most, idle time.Duration }
	stands := map[string]stand{} // the longest that one of the device's asks for
	ask := func(key string, most, idle time.Duration) {
		stands[key] = stand{max(stands[key].most, most), max(stands[key].idle, idle)}
	}
	for _, s := range f.suspects {
		switch {
		case s.slot.line != l || !s.alone():
		case s.closes >= aloneAt:
			ask(s.key, aside+asideLeast, asideLeast)
		default:
			ask(s.key, aside, asideIdle)
		}
	}
	for key := range f.streaks {
		if f.slotOf(key).line == l {
			ask(key, aside+asideLeast, asideLeast)
		}
	}
	for key, s := range stands {
		if h := f.holdOf(holdKey{by: key}, l); !h.rests {
			h.line, h.until, h.aside = l, now.Add(s.most), s.idle
		}
	}
}

// comparesOn reports whether suspects of a line are sent alone.
func (f *Forwarder) comparesOn(l *line) bool {
	for _, s := range f.suspects {
		if s.slot.line == l && s.alone() {
			return true
		}
	}
	return false
}

// onlySuspect reports whether nothing of another device is suspected on a line.
func (f *Forwarder) onlySuspect(l *line, key string) bool {
	for _, s := range f.suspects {
		if s.slot.line == l && s.key != key {
			return false
		}
	}
	return true
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
		if s.closes >= poisonAt {
			s.closes = aloneAt
		}
	}
}

// forgetReleased ends the suspicion of what is gone: a person has dropped it.
func (f *Forwarder) forgetReleased() {
	for seq, s := range f.suspects {
		if f.spool.Released(s.queue, s.place) {
			f.acquit(seq)
			f.health.Clear(f.hangsUpCode()) // raised again when it is not that message alone
			if h := f.holds[holdKey{by: s.key}]; h != nil {
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
	if f.takes && s.closes >= poisonAt {
		f.health.Clear(f.hangsUpCode()) // raised again when it was not that message
	}
}

// forgetLeast makes room for another suspect.
func (f *Forwarder) forgetLeast() {
	var least Seq
	closes := math.MaxInt
	for seq, s := range f.suspects {
		if s.closes < closes || s.closes == closes && seq > least {
			least, closes = seq, s.closes
		}
	}
	f.acquit(least)
}
