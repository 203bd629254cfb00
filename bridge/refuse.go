package bridge

import "time"

// A message that the receiver says it will never take becomes a dead letter. A week's
// backlog does not, whatever the receiver says of each. After mostRefused in a row of one
// device (or topic) that device rests, see rest, and the others go on. After as many in
// a row of all, of which at most ofOne of each device count, it may be the receiver, and
// the queues wait as those that its policy denies.
const mostRefused, ofOne = 20, 5

// refuse settles a message that the receiver will never take.
func (f *Forwarder) refuse(fl *flight, o Outcome) {
	why := "refused with " + o.said()
	if fl.source.requests {
		f.deadLetter(fl, why)
		return
	}
	key := f.cfg.HoldBy(fl.Stored)
	if h := f.holds[holdKey{by: key}]; h != nil && h.rests && time.Now().Before(h.until) { // it was on its way
		h.note(fl.source, fl.Place)
		return
	}
	n := f.refusals[key] + 1
	if n > 1 || len(f.refusals) < maxSuspects {
		f.refusals[key] = n
	}
	if n <= ofOne {
		f.refused++
	}
	if f.refused > mostRefused {
		f.pause(fl, o, false)
		return
	}
	f.deadLetter(fl, why)
	if n >= mostRefused {
		f.streaks[key] = max(f.streaks[key], restAt-1)
		f.rest(fl, "refuses")
	}
}
