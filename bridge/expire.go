package bridge

import (
	"math"
	"time"
)

// What expires is given up when it is come to. While no line is up, the gate is shut, or
// a queue is paused or a device held, it is not come to for as long as that lasts, and all
// the room would go to what nobody will get. So each queue is looked through then, from its head: as far as expireAhead
// past what still lives, and from time to time all of it, for where times to live differ
// what is behind may expire before. It is looked through again when the first of what
// was seen has expired; before that only what has come since is looked at, which in an
// outage of weeks is what makes the difference to the disk.
const (
	expireAhead = 10_000
	expireOnce  = 20_000 // that are read at once
	expireEvery = 10 * time.Second
	expireAll   = 10 * time.Minute
)

// expiry is how far a queue has been looked through.
type expiry struct {
	from Place         // what lies before is given up, or never expires
	next time.Duration // the age at which to look again
	all  time.Duration // and at all of it

	reading bool          // it is being looked through
	whole   bool          // all of it
	at      Place         // the next that is looked at
	ahead   int           // how many there were since the first that lives
	soon    time.Duration // the age at which the first of what was seen expires
}

// begin begins to look through a queue, from its head or where that ended last. While
// others of it are sent what was seen says little.
func (x *expiry) begin(age time.Duration, others bool) {
	x.reading, x.whole = true, age >= x.all
	if x.whole || others || age >= x.soon {
		x.at, x.ahead, x.soon = x.from, 0, math.MaxInt64
	}
}

// expire gives up what has expired in the queues that nothing is read of.
func (f *Forwarder) expire() error {
	age := f.spool.Age()
	for _, l := range f.lanes {
		if l.live { // the live part is of the other's queue
			continue
		}
		for _, s := range l.sources {
			sent := f.up > 0 && !f.closed(l) && s.paused.IsZero()
			if sent && !f.holdsSome(s) {
				s.expiry.soon = 0 // what was seen is going
				continue
			}
			if age < s.expiry.next {
				continue
			}
			if !s.expiry.reading {
				s.expiry.begin(age, sent)
			}
			if err := f.expireOf(s, age); err != nil {
				return err
			}
		}
	}
	return nil
}

// holdsSome reports whether something of a queue is kept back, in either of its parts.
func (f *Forwarder) holdsSome(s *source) bool {
	for _, h := range f.holds {
		for from := range h.from {
			if from.track == s.track {
				return true
			}
		}
	}
	return false
}

// readOver makes whoever has read a message that is gone, and not given it to a line, read
// on.
func (f *Forwarder) readOver(gone func(queue string, p Place) bool) {
	over := func(r *reader) {
		if r == nil {
			return
		}
		for _, x := range r.tips {
			if x.head != nil && gone(x.queue, x.head.Place) {
				x.head = nil
			}
		}
	}
	for _, ln := range f.lanes {
		over(ln.front)
		for _, l := range f.lines {
			over(l.passed[ln.n])
		}
	}
}

// expireOf is expire of one queue.
func (f *Forwarder) expireOf(s *source, age time.Duration) error {
	x := &s.expiry
	c := f.spool.Cursor(s.queue)
	defer c.Close()
	c.Seek(x.at)
	for range expireOnce {
		r, err := c.Next()
		if err != nil {
			return err
		}
		if r == nil || s.until > 0 && r.Place > s.until || x.ahead >= expireAhead && !x.whole {
			if x.reading, x.next = false, min(x.soon, age+expireEvery); x.whole {
				x.all = age + expireAll
			}
			return nil
		}
		lives := s.flying[r.Place] != nil
		switch {
		case lives: // it may come back
			x.soon = min(x.soon, age+expireEvery)
		case s.done[r.Place], !r.Mortal():
		case r.Expired(age):
			s.furthest = max(s.furthest, r.Place)
			delete(s.tries, r.Place)
			f.readOver(func(queue string, p Place) bool { return queue == s.queue && p == r.Place })
			f.acquit(r.Seq)
			f.giveUp(&flight{Stored: r, source: s}, Expired.String(), "")
			f.keepReleasesFew()
		default:
			lives, x.soon = true, min(x.soon, max(r.expires(), age+time.Second))
		}
		if x.at = r.Place + 1; lives || x.ahead > 0 {
			x.ahead++
		} else {
			x.from = x.at
		}
		if !f.releasesAreFew() { // the disk does not take them: on with the next look
			return nil
		}
	}
	return nil
}
