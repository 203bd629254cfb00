package bridge

import "time"

// fill gives the lines what they have room for, of each lane in turn: what a
// higher one has in plenty keeps nothing of a lower one from being read.
func (f *Forwarder) fill() error {
	if f.up == 0 {
		return nil
	}
	f.endHolds()
	for _, l := range f.lines {
		l.look()
	}
	if len(f.lines) > 1 {
		f.noteIdle(time.Now())
	}
	for _, ln := range f.lanes {
		if f.closed(ln) {
			f.takeOff(ln)
			continue
		}
		f.takeOutlived(ln)
		if ln.live {
			f.moveSplits(ln)
		}
		for _, l := range f.lines {
			if r := l.passed[ln.n]; r != nil && l.takes() && l.isHungry(ln.n) {
				if err := f.catchUp(l, r); err != nil {
					return err
				}
			}
		}
		if err := f.makeWay(ln); err != nil {
			return err
		}
		if err := f.readOn(ln.front); err != nil {
			return err
		}
	}
	for _, l := range f.lines {
		l.publish()
	}
	return nil
}

// takeOff makes what a lane's lines have not sent wait in the spool again: the lane is
// closed, perhaps for days.
func (f *Forwarder) takeOff(ln *lane) {
	for _, l := range f.lines {
		if l.held[ln.n] > 0 {
			f.unsentOf(l, func(fl *flight) bool { return fl.lane == ln })
		}
	}
}

// unsentOf takes back from a line what matches and was not sent.
func (f *Forwarder) unsentOf(l *line, match func(*flight) bool) {
	for _, fl := range l.recall(match) {
		f.unsent(fl)
	}
}

// readOn reads at the front until there is nothing more to read, or no line that
// would have it.
func (f *Forwarder) readOn(r *reader) error {
	n := r.lane.n
	committed := f.spool.Committed()
	for step := 0; ; step++ {
		if step%limitEvery == 0 {
			f.setLimits(r)
		}
		t, err := f.oldest(r, func(x *tip) Place { return x.limit })
		if err != nil || t == nil {
			return err
		}
		if t.head.Seq >= committed && len(r.tips) > 1 {
			// Another queue may have got an older one since it was looked at.
			if committed = f.spool.Committed(); t.head.Seq >= committed {
				return nil // the forwarder is woken when it is
			}
			continue
		}
		s, kept := f.berth(t)
		if kept {
			continue
		}
		l := s.line
		if l == nil {
			return nil
		}
		if (l.passed[n] != nil || l.isFull(n)) && f.lend(s) {
			continue
		}
		if t.putsOff(l.passed[n] != nil || !l.takes() || l.isFull(n)) {
			continue
		}
		if behind := l.passed[n]; behind != nil {
			s.passed = f.passes
			behind.tips[t.n].back(t.head.Place)
			t.head = nil
			continue
		}
		if !l.takes() || l.isFull(n) {
			if !l.isSlow(n, time.Now()) || !f.someHungry(n) {
				return nil
			}
			s.passed = f.passes
			l.passed[n] = f.behind(r)
			t.head = nil
			f.setLimits(r)
			continue
		}
		if !f.marked(t) {
			return nil
		}
		if !f.recallOutlived(t) {
			f.give(t, s)
		}
	}
}

// catchUp reads what the front has passed over for a line.
func (f *Forwarder) catchUp(l *line, r *reader) error {
	n := r.lane.n
	if r.outdated() {
		l.rejoin(n)
		return nil
	}
	for {
		t, err := f.oldest(r, func(x *tip) Place {
			if x.at() >= x.front.at() || !x.paused.IsZero() {
				return 0
			}
			return x.front.at() - 1
		})
		if err != nil {
			return err
		}
		if t == nil {
			break
		}
		s, kept := f.berth(t)
		switch {
		case kept:
		case s.line != l: // it was given when the front was here
			t.head = nil
		case l.isFull(n) || !f.marked(t):
			return nil
		case f.recallOutlived(t): // the front may be before it now
		default:
			f.give(t, s)
		}
	}
	for _, t := range r.tips {
		if t.at() < t.front.at() && t.paused.IsZero() {
			return nil // the rest after what has expired
		}
	}
	r.close()
	l.passed[n] = nil
	return nil
}

// someHungry reports whether a line could use what is further on.
func (f *Forwarder) someHungry(lane int) bool {
	for _, l := range f.lines {
		if l.takes() && l.passed[lane] == nil && l.isHungry(lane) {
			return true
		}
	}
	return false
}

// berth finds the slot of a tip's head. What is held, or on the move, is noted
// and kept back.
func (f *Forwarder) berth(t *tip) (s *slot, kept bool) {
	for _, h := range f.holdsOf(t.head, t.source) {
		if h != nil && !h.trying {
			h.keep(t)
			return nil, true
		}
	}
	s = f.slotOf(f.cfg.HoldBy(t.head))
	if s.moving != nil {
		s.moving.keep(t)
		return nil, true
	}
	return s, false
}

// keep keeps a tip's head back.
func (h *hold) keep(t *tip) {
	h.note(t.source, t.head.Place)
	if !t.putsOff(true) {
		t.head = nil
	}
}

// putsOff puts the head of a tip whose queue is paused off for a moment when it cannot
// go now: it is the oldest of its queue, and is all that is read of that, so whoever
// read on would find it again.
func (t *tip) putsOff(now bool) bool {
	if !now || t.paused.IsZero() {
		return false
	}
	t.paused, t.head = time.Now().Add(releaseDelay), nil
	return true
}

// give hands a tip's head to the line of its slot.
func (f *Forwarder) give(t *tip, s *slot) {
	r, n := t.head, t.lane.n
	fl := &flight{Stored: r, lane: t.lane, source: t.source, line: s.line, slot: s, attempt: t.tries[r.Place].times + 1, probe: !t.paused.IsZero(), alone: f.goesAlone(r), blamed: f.blamed(r)}
	t.flying[r.Place] = fl
	t.head = nil
	for _, h := range f.holdsOf(r, t.source) {
		if h == nil {
			continue
		}
		if h.trying {
			fl.trial, h.trying = h, false
		}
		h.flying++
	}
	s.out++
	t.source.out++
	l := s.line
	l.pending = append(l.pending, fl)
	l.held[n]++
	l.bytes[n] += r.Size()
	if len(l.pending) >= publishAt {
		l.publish()
	}
}

// publishAt is how many are gathered for a line before it is told.
const publishAt = 32

// oldest is the tip of a reader whose next record is the oldest, of those within
// their limits (0: nothing): nil when there is none, or none that is known to be.
func (f *Forwarder) oldest(r *reader, limit func(*tip) Place) (t *tip, err error) {
	for _, x := range r.tips {
		most := limit(x)
		if most == 0 {
			continue
		}
		known, err := f.advance(x, most)
		if err != nil || !known {
			return nil, err
		}
		switch {
		case x.head == nil:
		case x.head.Place > most && x == x.front:
			return nil, nil // what is newer in other queues waits with it
		case x.head.Place <= most && (t == nil || x.head.Seq < t.head.Seq):
			t = x
		}
	}
	return t, nil
}

// probeAgain is how long a paused queue of which nothing is to be tried is let alone.
const probeAgain = time.Second

// advance reads the tip's next record that may be sent into head. One beyond limit
// is not looked for. It is not known whether there is one when others have to be
// given up first, or are just being so: then the forwarder comes back to it.
func (f *Forwarder) advance(t *tip, limit Place) (known bool, err error) {
	s := t.source
	if s.live && s.split.moving {
		return true, nil
	}
	if !s.paused.IsZero() {
		if len(s.flying) > 0 || time.Now().Before(s.paused) {
			t.head = nil
			return true, nil
		}
		if t.head == nil {
			t.cursor.Seek(s.first()) // the probe is the oldest
			t.next = s.first()
		}
		defer func() {
			if s.allBarred = known && err == nil && t.head == nil; s.allBarred {
				s.paused = time.Now().Add(probeAgain)
			}
		}()
	}
	for t.head == nil {
		if len(f.failed) > 0 && !f.releasesAreFew() { // the disk does not take what is done
			return false, nil
		}
		if len(f.waiting) >= releaseGroup || f.batch.heavy() { // a backlog may be all expired
			f.flush()
			f.wakeUp()
			return false, nil
		}
		if t.next >= s.end() {
			return true, nil
		}
		if t.next > limit {
			return t.next >= f.endOf(s.queue), nil
		}
		r, err := t.cursor.Next()
		if err != nil || r == nil {
			return true, err
		}
		if r.Place >= s.end() { // all between is released
			t.cursor.Seek(r.Place)
			t.next = r.Place
			return true, nil
		}
		t.next = r.Place + 1
		again := r.Place <= s.furthest
		s.furthest = max(s.furthest, r.Place)
		gone := again && (s.flying[r.Place] != nil || s.done[r.Place])
		if !gone && s.last != nil {
			var open bool
			if gone, open = s.last.Reached(s.first(), r.Place); open {
				t.cursor.Seek(r.Place)
				t.next = r.Place
				return false, nil
			}
		}
		if !gone && s.last != nil && s.other != nil && !s.last.looked(r.Place) {
			t.cursor.Seek(r.Place)
			t.next = r.Place
			return false, nil // the forwarder is woken when it was
		}
		switch {
		case gone:
		case s.outlived(r):
			f.acquit(r.Seq)
			f.giveUp(&flight{Stored: r, source: s}, Conflated, "")
		case r.Mortal() && r.Expired(f.spool.Age()):
			f.acquit(r.Seq)
			f.giveUp(&flight{Stored: r, source: s}, Expired.String(), "")
		case !s.paused.IsZero() && !f.mayProbe(r, s):
		default:
			t.head = r
		}
	}
	return true, nil
}

// setLimits says how far a front may read: not too far past what is kept back.
func (f *Forwarder) setLimits(r *reader) {
	for _, t := range r.tips {
		oldest := ^Place(0) - maxAhead
		look := func(h *hold) {
			if from, ok := h.from[t.source]; ok {
				oldest = min(oldest, from)
			}
		}
		for _, h := range f.holds {
			look(h)
		}
		for s := range f.moves {
			look(s.moving)
		}
		for _, l := range f.lines {
			if behind := l.passed[r.lane.n]; behind != nil {
				oldest = min(oldest, behind.tips[t.n].at())
			}
		}
		t.limit = oldest + maxAhead
	}
}

// limitEvery is after how many records the limits are set again.
const limitEvery = 256
