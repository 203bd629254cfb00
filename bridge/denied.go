package bridge

import (
	"fmt"
	"time"
)

// The receiver's policy may deny one topic, or all of a route. So a denial bars its
// device (or topic) from that queue only: what it has there waits, in order, and the
// oldest of it is tried from time to time, alone of its device; others, and its other
// queues, go on. When they have come as far as they may, some of it makes way. What has
// been denied for the whole grace is a dead letter. After mostDenied devices in a row
// of which nothing was taken it is the route, see pause. Where each denial ends the
// connection that is so after ofOne. Who is barred stays so, and a route that is paused is
// tried with others.
const mostDenied = 20

// hurry is how long a bar waits at most for its next try while others wait for it to
// make way.
const hurry = wayGrace / wayTries

// denied settles what the receiver's policy denies; most is after how many devices in
// a row that is the route.
func (f *Forwarder) denied(fl *flight, o Outcome, most int) {
	s := fl.source
	switch {
	case s.requests:
		f.acquit(fl.Seq)
		f.deny(fl, o)
		return
	case !s.paused.IsZero() && !fl.probe:
		return // it was on its way when the queue was paused
	}
	key := holdKey{f.cfg.HoldBy(fl.Stored), s.queue}
	h := f.holds[key]
	if h != nil && h.why != "" && fl.trial != h && !fl.probe { // it was on its way
		h.note(s, fl.Place)
		return
	}
	full := h == nil && len(f.holds) >= maxSuspects
	if fl.probe || full || h == nil && s.barred >= most {
		f.pause(fl, o, h == nil && !full && most > ofOne)
		if full || f.spool.Released(s.queue, fl.Place) || s.done[fl.Place] {
			return
		}
	}
	if h == nil {
		s.barred++
		h = f.holdOf(key, fl.line)
	}
	h.note(s, fl.Place)
	t := s.tries[fl.Place]
	t.times = fl.attempt
	s.tries[fl.Place] = t
	h.bar(o, f.spool.Age(), t.way)
	if s.paused.IsZero() && !f.rejected(fl, o, false) {
		f.tellBar(fl, o)
	}
}

// bar begins the next wait after a denial, at an age; way is how many make way if it is
// denied once more.
func (h *hold) bar(o Outcome, age time.Duration, way int) {
	if h.denials == 0 {
		h.tried = tried{since: age}
	}
	h.denials++
	h.tried.refused, h.tried.way = h.denials, way
	h.why, h.rests, h.trying = "denied with "+o.said(), true, false
	h.until = time.Now().Add(min(pauseBase<<min(h.denials-1, 10), pauseMax))
}

// tellBar says who is barred.
func (f *Forwarder) tellBar(fl *flight, o Outcome) {
	s := fl.source
	if f.health.Raise(Warning{Code: barCode(s.queue), Severity: Critical,
		Text: fmt.Sprintf("%s does not allow us to publish %q of device %q (%s): what the device sends by this route waits, others go on; %s, or give the message up with ebbgate spool drop %s --from %d --limit 1; after %v, or when %d others are past it, it becomes a dead letter", f.cfg.Upstream, fl.Receiver.Topic, fl.Device, o.said(), remedy(o), s.queue, fl.Place, f.cfg.RefusalGrace, maxAhead)}) {
		f.log.Warn("a device is denied", "queue", s.queue, "device", fl.Device, "topic", fl.Receiver.Topic, "code", o.Code, "reason", o.Reason)
	}
}

// remedy is what a person can do about a denial.
func remedy(o Outcome) string {
	switch {
	case o.HTTP:
		return "let the policy of our credentials allow iot:Publish to the topic, or ours deny it; when nothing goes by this upstream it is the credentials themselves, their region, or this machine's clock"
	case o.Code == 0x87:
		return "let the cloud's policy allow the topic, or ours deny it"
	}
	return "mend what it says, there or in the route"
}

// endBar reports whether the wait of one that is barred ends for good: the oldest was
// taken, or is gone. Else that is tried.
func (f *Forwarder) endBar(h *hold, now time.Time) bool {
	if h.why == "" || h.trying && f.nothingOf(h) {
		return true
	}
	h.until = now.Add(pauseBase)
	f.tryNext(h)
	return false
}

// tryNext lets the oldest of one that is barred be sent.
func (f *Forwarder) tryNext(h *hold) {
	if h.denials > 0 && !h.trying {
		h.trying = true
		f.readAgain(h)
	}
}

// nothingOf reports whether all that there is has been read, and nothing of a hold that
// is tried.
func (f *Forwarder) nothingOf(h *hold) bool {
	for s := range h.from {
		if s.front.head != nil || !s.paused.IsZero() || f.closed(s.lane) {
			return false
		}
		for _, l := range f.lines {
			if l.passed[s.lane.n] != nil {
				return false
			}
		}
	}
	return true
}

// mayProbe reports whether a paused queue may be tried with a message: with one of a
// device that is not barred, or, when there is none, with one that is to be tried anyway.
func (f *Forwarder) mayProbe(r *Stored, s *source) bool {
	h := f.holdsOf(r, s)[1]
	return h == nil || h.trying && s.allBarred
}

// clearBars takes the warning of a queue back when nobody is barred from it.
func (f *Forwarder) clearBars(queue string) {
	for key := range f.holds {
		if key.queue == queue {
			return
		}
	}
	f.health.Clear(barCode(queue))
}

func barCode(queue string) string { return "denied-" + queue }
