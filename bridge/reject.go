package bridge

import (
	"encoding/json"
	"fmt"
	"time"
)

// reject is a message that the receiver refuses again and again, and does not say
// why, or says why and takes others all the time. There is one of a queue: a receiver
// that refuses everything must not empty a week's backlog into the dead letters, so
// each message has a grace of its own, which begins when the one before it is settled.
type reject struct {
	Place Place         `json:"place"`
	Since time.Duration `json:"since"` // the age at its first refusal
	Times int           `json:"times"`

	told   bool  // in the log
	beside int   // refusals since the start between which others were taken
	acked  int64 // messages, as of the latest
}

// rejectsTold is how many refusals of one message are worth a warning: a receiver
// that has a bad moment has got over it by then.
const rejectsTold = 3

// unexplained reports whether a code of refusal may be about the message: those
// that are not speak of the receiver and of the moment.
func unexplained(code byte) bool {
	switch code {
	case 0x88, 0x89, 0x91, 0x93, 0x96, 0x97: // unavailable, busy, id in use, too many, too fast, over quota
		return false
	}
	return code >= 0x80
}

// rejected notes that a message was refused. It reports true when that has lasted for
// the whole grace: then it is a dead letter. A reason that is not of the message counts
// when others were taken all the time.
func (f *Forwarder) rejected(fl *flight, o Outcome, explained bool) bool {
	s, now := fl.source, f.spool.Age()
	if s.reject == nil {
		s.reject = f.readReject(s.track)
	}
	if r := s.reject; r != nil && r.Place != fl.Place && !f.spool.Released(s.queue, r.Place) {
		return false // its turn comes after that one
	}
	if s.reject == nil || s.reject.Place != fl.Place {
		s.reject = &reject{Place: fl.Place, Since: now}
		f.health.Clear(s.rejectCode())
	}
	r := s.reject
	r.Times++
	if acked := f.stats.acked.Load(); acked != r.acked {
		r.acked = acked
		r.beside++
	}
	what, times, enough := o.said(), r.Times, rejectsTold
	if explained {
		times, enough = r.beside, patientTries
	} else {
		what += ", which does not say why"
	}
	if now-r.Since >= f.cfg.RefusalGrace && times >= enough {
		f.endReject(s.track)
		f.deadLetter(fl, fmt.Sprintf("refused %d times with %s, for %v", r.Times, what, f.cfg.RefusalGrace))
		return true
	}
	value, _ := json.Marshal(r) // numbers alone: it does not fail
	f.batch.Put(nsReject, s.queue, value)
	if times < enough || o.Result == ResultDenied { // that is told by itself
		return false
	}
	f.health.Raise(Warning{Code: s.rejectCode(), Severity: Degraded,
		Text: fmt.Sprintf("%s has refused message %s of %q (topic %q) %d times, the latest with %s: what follows of the same device may wait behind it; look at what %s logs of it, or give it up with ebbgate spool drop %s --from %d --limit 1; after %v, or when %d others are past it, it becomes a dead letter", f.cfg.Upstream, fl.ID, fl.Device, fl.Receiver.Topic, r.Times, what, f.cfg.Upstream, s.queue, fl.Place, f.cfg.RefusalGrace, maxAhead)})
	if !r.told {
		r.told = true
		f.log.Warn("a message is refused again and again", "queue", s.queue, "id", fl.ID.String(), "device", fl.Device, "topic", fl.Receiver.Topic, "times", r.Times, "code", o.Code, "reason", o.Reason)
	}
	return false
}

// readReject is what an earlier run was refused, nil when there is nothing, or
// nothing that can be read: then the grace begins anew.
func (f *Forwarder) readReject(t *track) *reject {
	value, err := f.spool.Get(nsReject, t.queue)
	r := new(reject)
	if err != nil || value == nil || json.Unmarshal(value, r) != nil {
		return nil
	}
	return r
}

// forgetRejects ends what is settled by now: taken after all, expired, or dropped
// by a person.
func (f *Forwarder) forgetRejects() {
	for _, l := range f.lanes {
		for _, s := range l.sources {
			if s.reject != nil && f.spool.Released(s.queue, s.reject.Place) {
				f.endReject(s.track)
			}
		}
	}
}

func (f *Forwarder) endReject(t *track) {
	t.reject = nil
	f.batch.Put(nsReject, t.queue, nil)
	f.health.Clear(t.rejectCode())
}

func (t *track) rejectCode() string { return "refused-" + t.queue }
