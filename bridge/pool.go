package bridge

import (
	"context"
	"time"
)

// The lines of a forwarder share its devices by slots: a device has one, by its
// name, and a slot has one line. A slot goes to another line only when nothing of
// it is in flight or waits to be, which is what keeps the order of each device
// while lines come, go and die.
type slot struct {
	n        int   // among the slots
	line     *line // where its devices are sent; nil: none is up
	out      int   // waiting or in flight on the line
	passed   int   // when the front has passed over it, see goBack
	lent     *line // where it is instead of where its number says; nil: nowhere
	moving   *hold // not nil: read again when out is 0, then for another line
	suspects int   // messages that the receiver hung up on: it stays at home
}

// slotCount is much more than there are lines, so that each has about as many.
const slotCount = 4096

// slotOf is the slot of a device (or topic).
func (f *Forwarder) slotOf(key string) *slot {
	if len(f.slots) == 1 {
		return &f.slots[0]
	}
	h := uint32(2166136261) // FNV-1a
	for i := range len(key) {
		h = (h ^ uint32(key[i])) * 16777619
	}
	h ^= h >> 15 // its low bits alone spread badly
	return &f.slots[h*2654435761>>20]
}

// resize starts and ends lines until there are as many as are wanted.
func (f *Forwarder) resize(ctx context.Context) {
	want := len(f.lines)
	if f.cfg.Connections != nil {
		want = min(max(f.cfg.Connections(), 1), len(f.lines))
	}
	if ctx.Err() != nil {
		want = 0
	}
	changed := f.wanted != want
	f.wanted = want
	for i, l := range f.lines {
		switch {
		case i < want && !l.running:
			var one context.Context
			one, l.stop = context.WithCancel(ctx)
			l.running, l.retiring = true, false
			f.running++
			go l.run(one)
		case i >= want && l.running && !l.retiring:
			l.retiring = true
			f.health.Clear(l.shunCode())
			f.takeBack(l)
			l.stop()
		}
	}
	if changed {
		f.assign()
	}
}

// takes reports whether slots may be on the line.
func (l *line) takes() bool { return l.usable() && !l.avoided && l.shunned.IsZero() }

// usable reports whether something could be sent on the line.
func (l *line) usable() bool { return l.up && !l.retiring && l.ended == nil }

// assign finds the line of every slot anew: the one that its number says, or,
// while that is not up, one of those that are.
func (f *Forwarder) assign() {
	f.turnGates()
	f.endShuns()
	f.takers = f.takers[:0]
	for _, l := range f.lines {
		if l.takes() {
			f.takers = append(f.takers, l)
		}
	}
	f.goBack()
	for i := range f.slots {
		s := &f.slots[i]
		s.lent = nil
		switch {
		case s.moving == nil && s.line == f.lineOf(s):
		case s.out == 0:
			f.move(s)
		case s.moving == nil:
			s.moving = &hold{from: map[*source]Place{}}
			f.moves[s] = struct{}{}
		}
	}
}

// lineOf is where a slot should be.
func (f *Forwarder) lineOf(s *slot) *line {
	if s.lent != nil {
		return s.lent
	}
	if f.wanted > 0 {
		home := f.lines[jump(uint64(s.n), f.wanted)]
		// A message that ended its line must not end the others as well.
		if home.takes() || len(f.takers) == 0 || s.suspects > 0 && home.keeps() {
			return home
		}
	}
	if len(f.takers) == 0 {
		return nil
	}
	return f.takers[jump(uint64(s.n), len(f.takers))]
}

// move gives a slot of which nothing is in flight to its line.
func (f *Forwarder) move(s *slot) {
	s.line = f.lineOf(s)
	if s.moving != nil {
		f.readAgain(s.moving)
		s.moving = nil
		delete(f.moves, s)
	}
}

// jump is the consistent hash of Lamping and Veach: of n+1 buckets each gets an
// equal share, and only what goes to the new one moves.
func jump(key uint64, n int) int {
	key *= 0x9E3779B97F4A7C15
	b, j := int64(-1), int64(0)
	for j < int64(n) {
		b = j
		key = key*2862933555777941757 + 1
		j = int64(float64(b+1) * (float64(int64(1)<<31) / float64(key>>33+1)))
	}
	return int(b)
}

// takeEvent follows what a line tells.
func (f *Forwarder) takeEvent(e lineEvent) error {
	l := e.line
	switch {
	case e.up:
		f.lineUp(l, e.size)
	case e.down:
		l.ended = e.err
		l.cause = e.cause
		if !l.retiring {
			text := e.err.Error()
			f.stats.lastError.Store(&text)
			f.log.Info("the link is down", "connection", l.n+1, "reason", text)
		}
		f.takeBack(l)
		f.assign()
		f.accountFor(l)
	default:
		l.running, l.retiring = false, false
		l.stop()
		f.running--
		if e.fatal != nil {
			return e.fatal
		}
	}
	return nil
}

func (f *Forwarder) lineUp(l *line, window int) {
	f.health.Clear(f.deniedCode()) // the cloud's policy may be another now
	if f.takes && len(f.suspects) == 0 {
		f.health.Clear(f.hangsUpCode()) // of a forwarder before this one
	}
	if l.barren < shunAt {
		f.health.Clear(l.shunCode())
	}
	f.stats.connects.Add(1)
	if f.up++; f.up == 1 {
		f.stats.connected.Store(true)
		f.openCursors()
	}
	l.up, l.near, l.full, l.oldest, l.probe = true, true, max(window, 1), nil, nil
	l.lost, l.busyAt = l.lost[:0], time.Now()
	l.open(l.allowed())
	f.assign()
	f.standAside(l)
}

// takeBack makes a line's queue the forwarder's again.
func (f *Forwarder) takeBack(l *line) {
	for _, fl := range l.recall(func(*flight) bool { return true }) {
		f.unsent(fl)
	}
}

// accountFor ends a link that is down, once the outcome of everything that was
// sent on it has come, and not while much is acknowledged and not released: the next
// has a window of its own.
func (f *Forwarder) accountFor(l *line) {
	if l.ended == nil || l.settled < l.flying() || !f.ending && !f.releasesAreFew() {
		return
	}
	l.giveBack()
	f.suspectOldest(l)
	for _, h := range f.holds { // the next link tries at once
		if h.line == l && !h.rests {
			h.until = time.Time{}
		}
	}
	l.up, l.ended, l.cause, l.downSince = false, nil, nil, time.Now()
	if f.up--; f.up == 0 {
		f.assign()
		f.forgetMarks()
		f.flush()
		f.closeCursors()
		f.stats.connected.Store(false)
	} else {
		f.assign()
	}
	l.resume <- struct{}{}
}
