package bridge

import "time"

// inbox holds the outcomes that have come back to a line and are not settled
// yet. They come in bursts, and a burst of acknowledgements need not wake the
// forwarder: what was acknowledged gives its place in the window back at once,
// up to earlyRoom, so that the line goes on sending while many are gathered to
// be settled together.
type inbox struct {
	reports []report
	spare   []report
	early   int  // places given back that the forwarder has not settled
	most    int  // of these
	untold  bool // the line may wait for them
}

// report is the outcome of one flight.
type report struct {
	*flight
	Outcome
	unsent bool // it was not transmitted, and there is no outcome
}

// earlyRoom bounds what is acknowledged and not settled while the lines go on: a
// crash leaves it uncertain, as what is settled and not released. The lines share
// it, down to leastEarly for each. settleAt is how many wake the forwarder.
const (
	earlyRoom  = 256
	leastEarly = 8
	settleAt   = 128
)

// bell wakes a forwarder for outcomes; ringing it again does nothing more.
type bell chan struct{}

func (b bell) ring() {
	select {
	case b <- struct{}{}:
	default:
	}
}

// put never blocks: there are no more reports than the window and earlyRoom.
// The forwarder is told when the outcome needs it, when many have gathered, and
// when the line has nothing else to do; else it looks with its next tick.
func (l *line) put(r report) {
	l.mu.Lock()
	in := &l.inbox
	in.reports = append(in.reports, r)
	acked := r.Result == ResultAcked && !r.unsent
	ring := !acked || len(in.reports) >= min(settleAt, in.most) || l.waiting() == 0
	if acked && in.early < in.most && l.window > 1 {
		in.early++
		l.room++
	} else {
		ring = true
	}
	in.untold = r.More
	l.mu.Unlock()
	if r.More {
		return
	}
	if !acked || !l.live.sendNow(l) {
		l.tell()
	}
	if ring {
		l.f.bell.ring()
	}
}

// outcomes returns what has come, in that order. The result is good until the
// next call. [the forwarder's]
func (l *line) outcomes() []report {
	l.mu.Lock()
	defer l.mu.Unlock()
	in := &l.inbox
	out := in.reports
	clear(in.spare)
	in.reports, in.spare = in.spare[:0], out
	return out
}

// flying is how many were sent and are not settled.
func (l *line) flying() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.out
}

// waiting is how many messages wait to be sent. [with mu]
func (l *line) waiting() (n int) {
	for i := range l.queues {
		n += len(l.queues[i].flights) - l.queues[i].first
	}
	return n
}

// giveBack returns the window's places whose outcomes are settled, but for those
// that were given back early. [the forwarder's]
func (l *line) giveBack() {
	if l.settled == 0 {
		return
	}
	l.mu.Lock()
	early := min(l.inbox.early, l.settled)
	l.inbox.early -= early
	l.room += l.settled - early
	l.out -= l.settled
	if l.out == 0 {
		l.solo, l.still = false, time.Now()
	}
	tell := l.settled > early || l.out == 0 || l.inbox.untold
	l.inbox.untold = false
	l.mu.Unlock()
	l.settled = 0
	if tell {
		l.tell()
	}
}
