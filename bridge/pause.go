package bridge

import (
	"fmt"
	"strconv"
	"time"
)

// pause stops a queue whose message the receiver's policy denies: one mistake
// in a cloud policy must not empty a week's backlog into the dead letters. The
// oldest message is tried from time to time; when it has been denied for the
// whole grace it becomes a dead letter itself.
func (f *Forwarder) pause(fl *flight, o Outcome) {
	s := fl.source
	if !s.paused.IsZero() && !fl.probe {
		return // it was on its way when the queue was paused
	}
	f.unbar(s.track)
	s.denials++
	s.paused = time.Now().Add(min(pauseBase<<min(s.denials-1, 10), pauseMax))
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

// unpause lets a queue go on after its probe was taken.
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
