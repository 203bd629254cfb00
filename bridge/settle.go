package bridge

import (
	"fmt"
	"slices"
	"time"
)

// The namespaces of the state in which a forwarder keeps what must survive.
const (
	nsSent   = "sent"      // queue → the place below which records may have been sent
	nsLive   = "live"      // queue → of its live part, the places from which and below which
	nsMost   = "sent-most" // queue → how many of it may have been sent and not be released, and where and how that is billed
	nsDenied = "denied"    // queue → the age at which its oldest record was first denied
	nsDead   = "dead"      // message id → why it is a dead letter
	nsReject = "reject"    // queue → the message that is refused again and again, see rejected
	nsSeen   = "seen"      // upstream → nothing, see confirm
)

// flightKey names a released record until its release is confirmed.
type flightKey struct {
	*source
	place Place
}

// maxReason bounds why a dead letter is one: the words may be the receiver's.
const maxReason = 1 << 10

// settlement is a commit that released, and its end.
type settlement struct {
	batch Batch
	keys  []flightKey
	given []flightKey // those that it gives up: they are claimed
	marks []mark
	err   error
}

// acknowledged is how many of what it releases the receiver may have: not dead letters,
// which a full disk refuses until others are released.
func (s *settlement) acknowledged() int {
	if len(s.batch.Appends) > 0 {
		return 0
	}
	return len(s.keys)
}

// settle decides what an outcome means.
func (f *Forwarder) settle(r report) {
	fl := r.flight
	f.landed(fl)
	if r.Result == ResultRetry || r.Result == ResultRefused || r.Result == ResultDenied {
		if m, ok := f.meter.(RefusalMeter); ok {
			m.Refused(&f.batch, f.cfg.Upstream, fl.Stored, r.Outcome)
		}
	}
	switch r.Result {
	case ResultAcked:
		f.stats.acked.Add(1)
		f.meter.Delivered(&f.batch, f.cfg.Upstream, fl.Stored, r.Outcome)
		f.release(fl)
		if fl.Receiver.QoS > 0 { // else it is only written, and says nothing of the receiver
			f.answered(fl)
		} else if fl.trial != nil {
			f.tryNext(fl.trial)
		}
		f.acquit(fl.Seq)
		delete(fl.source.tries, fl.Place)
	case ResultRefused:
		f.refuse(fl, r.Outcome)
	case ResultDenied:
		f.denied(fl, r.Outcome, mostDenied)
	case ResultLost:
		if l := fl.line; l.oldest == nil || fl.Seq < l.oldest.Seq {
			l.oldest = fl
		}
		if fl.probe {
			fl.line.probe = fl
		}
		if len(fl.line.lost) < maxDoubts {
			fl.line.lost = append(fl.line.lost, fl)
		}
		f.meter.Uncertain(&f.batch, f.cfg.Upstream, fl.Stored, r.Outcome)
		f.hold(fl)
	case ResultRetry:
		if explained := !unexplained(r.Code); !f.rejected(fl, r.Outcome, explained) {
			f.balk(fl, explained, "refused with "+r.said())
		}
	default: // ResultAbsent
		f.balk(fl, false, "nobody was there to take it")
	}
}

// answered notes what an acknowledgement says of the receiver.
func (f *Forwarder) answered(fl *flight) {
	f.bears(fl.line)
	f.refused = 0
	delete(f.refusals, f.cfg.HoldBy(fl.Stored))
	f.unpause(fl.source)
	if fl.trial != nil {
		fl.trial.took()
	}
	fl.source.barred = 0
	f.taken()
	f.endStreak(fl)
}

// release gathers the release of what was delivered.
func (f *Forwarder) release(fl *flight) { f.releaseAs(fl, Delivered) }

// giveUp gathers the release of what will not be delivered.
func (f *Forwarder) giveUp(fl *flight, reason, detail string) {
	if !f.drops.Claim(f, fl.source.queue, fl.Place) {
		return // an operator is faster
	}
	f.given = append(f.given, flightKey{fl.source, fl.Place})
	f.drops.Note(&f.batch, fl.Stored, reason, detail)
	f.releaseAs(fl, Dropped)
}

func (f *Forwarder) releaseAs(fl *flight, fate Fate) {
	f.batch.ReleaseAs(fl.Stored, fate)
	fl.source.done[fl.Place] = true
	f.waiting = append(f.waiting, flightKey{fl.source, fl.Place})
}

// flush commits the gathered releases.
func (f *Forwarder) flush() {
	if f.cfg.Gate != nil {
		f.cfg.Gate.Account(&f.batch)
	}
	if f.batch.Empty() {
		return
	}
	s := settlement{batch: f.batch, keys: f.waiting, given: f.given}
	s.marks = f.advanceMarks(&s.batch)
	f.batch, f.waiting, f.given = Batch{}, nil, nil
	f.commit(s)
}

// releaseMany commits what is gathered once that is a group, unless a commit is under
// way: meanwhile more is gathered.
func (f *Forwarder) releaseMany() {
	if len(f.waiting) < releaseGroup {
		return
	}
	select {
	case s := <-f.settled:
		f.confirm(s)
	default:
	}
	if f.flying == 0 {
		f.flush()
	}
}

// releasesAreFew reports whether what is acknowledged and not released is within its
// bound. When it is not, and releaseMany was called, a commit is under way or has failed.
func (f *Forwarder) releasesAreFew() bool {
	return len(f.waiting)+f.closing < releaseBatch-earlyRoom
}

// keepReleasesFew waits until they are, or what is gathered cannot be written.
func (f *Forwarder) keepReleasesFew() {
	for f.releaseMany(); !f.releasesAreFew() && f.flying > 0; f.releaseMany() {
		f.confirm(<-f.settled)
	}
}

// commit hands a batch to the spool, with a bound on how many are under way.
func (f *Forwarder) commit(s settlement) {
	for f.flying >= cap(f.settled) {
		f.confirm(<-f.settled)
	}
	f.supersede(s.batch.Puts)
	f.flying++
	f.closing += s.acknowledged()
	b := s.batch // the spool owns what it is given; s keeps the same slices to try again
	f.spool.Commit(&b, func(_ Seq, err error) {
		s.err = err
		f.settled <- s
	})
}

// confirm takes the end of a commit. What it could not write is tried again:
// until then it stays marked as done here and is not sent a second time.
func (f *Forwarder) confirm(s settlement) {
	f.flying--
	s.confirmMarks()
	code := "release-" + f.cfg.Upstream
	if s.err != nil {
		if f.health.Raise(Warning{Code: code, Severity: Critical,
			Text: fmt.Sprintf("what %s has answered cannot be written to the spool: %v", f.cfg.Upstream, s.err)}) {
			f.log.Error("releases cannot be written", "error", s.err)
		}
		f.failed, f.retryAt = append(f.failed, s), time.Now().Add(commitRetry)
		return
	}
	f.closing -= s.acknowledged()
	f.health.Clear(code)
	if len(s.batch.Appends) > 0 && len(s.keys) > 0 {
		// What it releases is in the log, and seen a little later; till then it is not to
		// be sent again. A change of the state alone is done when all before it is seen.
		s.batch, s.marks = Batch{}, nil
		s.batch.Add(nsSeen, f.cfg.Upstream, 0)
		f.commit(s)
		return
	}
	for _, k := range s.given {
		f.drops.Committed(f, k.queue, k.place)
	}
	for _, k := range s.keys {
		delete(k.done, k.place)
	}
}

// retryFailed commits again what could not be written.
func (f *Forwarder) retryFailed() {
	if len(f.failed) == 0 || time.Now().Before(f.retryAt) {
		return
	}
	again := f.failed
	f.failed = nil
	for _, s := range again {
		f.closing -= s.acknowledged()
		s.batch.Puts = slices.DeleteFunc(s.batch.Puts, f.outdated)
		f.commit(s)
	}
}

// supersede takes out of what failed, and is tried again, what a newer commit writes: it
// would undo that.
func (f *Forwarder) supersede(newer []Put) {
	for i := range f.failed {
		b := &f.failed[i].batch
		b.Puts = slices.DeleteFunc(b.Puts, func(old Put) bool {
			return slices.ContainsFunc(newer, func(p Put) bool { return p.Namespace == old.Namespace && p.Key == old.Key })
		})
	}
}

// drainSettlements waits for the commits under way.
func (f *Forwarder) drainSettlements() {
	for f.flying > 0 {
		f.confirm(<-f.settled)
	}
}

// deadLetter moves a record to the dead letters of its upstream, in a batch of
// its own that also releases it: a full disk, which refuses what appends, must
// not keep the other releases back.
func (f *Forwarder) deadLetter(fl *flight, why string) {
	var s settlement
	if f.interred(&s, fl, why) {
		f.inter(s, fl.Stored, why)
	}
}

// interred adds a dead letter to a settlement that makes nothing else. It reports
// false when an operator was faster.
func (f *Forwarder) interred(s *settlement, fl *flight, why string) bool {
	why = why[:min(len(why), maxReason)]
	delete(fl.source.tries, fl.Place)
	f.acquit(fl.Seq)
	if !f.drops.Claim(f, fl.source.queue, fl.Place) {
		return false
	}
	r := *fl.Record
	to := *fl.Receiver
	to.Queue, to.TTL = DeadQueue(fl.Receiver.Queue), 0
	r.Receivers = []Receiver{to}
	r.HasExpiry = false // a dead letter waits for a person
	key := flightKey{fl.source, fl.Place}
	s.keys, s.given = append(s.keys, key), append(s.given, key)
	s.batch.Append(&r)
	s.batch.Put(nsDead, r.ID.String(), []byte(why))
	s.batch.ReleaseAs(fl.Stored, Moved)
	f.drops.Note(&s.batch, fl.Stored, DeadLetter, why)
	fl.source.done[fl.Place] = true
	return true
}

// inter commits dead letters, the last of which is told.
func (f *Forwarder) inter(s settlement, last *Stored, why string) {
	f.commit(s)
	to := DeadQueue(last.Receiver.Queue)
	f.deadText = fmt.Sprintf("%s refused a message for good (%s, topic %q): it is kept in %s; see ebbgate spool ls %s", f.cfg.Upstream, why, last.Topic, to, to)
	f.health.Raise(Warning{Code: f.deadCode(), Severity: Degraded, Text: f.deadText})
}
