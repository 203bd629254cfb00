package bridge

import (
	"fmt"
	"strconv"
	"time"
)

// pause stops a queue whose message the receiver's policy denies: one mistake
// in a cloud policy must not empty a week's backlog into the dead letters. The
// oldest message of a device that is not barred is tried from time to time; what is
// denied when that has gone on for the whole grace becomes a dead letter itself.
// Whatever is taken ends it. When it is fresh, of a device that was not denied before,
// and cost no connection, the next is tried soon: that of another may be taken.
func (f *Forwarder) pause(fl *flight, o Outcome, fresh bool) {
	s := fl.source
	if !s.paused.IsZero() && !fl.probe {
		return // it was on its way when the queue was paused
	}
	wait := probeNext
	if !fresh {
		s.denials++
		wait = min(pauseBase<<min(s.denials-1, 10), pauseMax)
	}
	s.paused = time.Now().Add(wait)
	t := s.tries[fl.Place]
	t.times = fl.attempt
	s.tries[fl.Place] = t
	for _, l := range f.lines {
		for _, x := range l.recall(func(x *flight) bool { return x.source.track == s.track }) {
			f.unsent(x)
		}
	}
	s.rewind() // to try the oldest: what was read before this is not
	now := f.spool.Age()
	first, err := f.spool.Get(nsDenied, s.queue)
	since, parsed := strconv.ParseInt(string(first), 10, 64)
	switch {
	case err != nil || parsed != nil:
		f.batch.Put(nsDenied, s.queue, strconv.AppendInt(nil, int64(now), 10))
	case now-time.Duration(since) >= f.cfg.RefusalGrace:
		f.deadLetter(fl, fmt.Sprintf("denied with %s for %v", o.said(), f.cfg.RefusalGrace))
		f.batch.Put(nsDenied, s.queue, nil)
	}
	if f.health.Raise(Warning{Code: "route-paused-" + s.queue, Severity: Critical,
		Text: fmt.Sprintf("%s does not allow us to publish to %q (%s): the route waits and keeps its messages; %s", f.cfg.Upstream, fl.Receiver.Topic, o.said(), remedy(o))}) {
		f.log.Warn("route paused", "queue", s.queue, "topic", fl.Receiver.Topic, "code", o.Code, "reason", o.Reason)
	}
}

// probeNext is how soon.
const probeNext = time.Second

// unpause lets a queue go on after something of it was taken.
func (f *Forwarder) unpause(s *source) {
	if s.paused.IsZero() {
		return
	}
	s.paused, s.denials = time.Time{}, 0
	f.batch.Put(nsDenied, s.queue, nil)
	f.health.Clear("route-paused-" + s.queue)
	s.rewind()
}

// rewind makes the front read all of a queue again.
func (s *source) rewind() {
	s.front.back(s.first())
	if o := s.other; o != nil {
		o.front.back(o.first())
	}
}
