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
			continue
		}
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
		if err := f.readOn(ln.front); err != nil {
			return err
		}
	}
	for _, l := range f.lines {
		l.publish()
	}
	return nil
}

// readOn reads at the front until there is nothing more to read, or no line that
// would have it.
func (f *Forwarder) readOn(r *reader) error {
	n := r.lane.n
	for step := 0; ; step++ {
		if step%limitEvery == 0 {
			f.setLimits(r)
		}
		var t *tip
		for _, x := range r.tips {
			if err := f.advance(x, x.limit); err != nil {
				return err
			}
			if x.head != nil && (t == nil || x.head.Seq < t.head.Seq) {
				t = x
			}
		}
		if t == nil {
			return nil
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
		f.give(t, s)
	}
}

// catchUp reads what the front has passed over for a line.
func (f *Forwarder) catchUp(l *line, r *reader) error {
	n := r.lane.n
	for {
		var t *tip
		for _, x := range r.tips {
			if x.at() >= x.front.at() || !x.paused.IsZero() {
				continue
			}
			if err := f.advance(x, x.front.at()-1); err != nil {
				return err
			}
			if x.head != nil && x.at() < x.front.at() && (t == nil || x.head.Seq < t.head.Seq) {
				t = x
			}
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
	key := f.cfg.HoldBy(t.head)
	if len(f.holds) > 0 {
		if h := f.holds[key]; h != nil {
			h.note(t.source, t.head.Place)
			t.head = nil
			return nil, true
		}
	}
	s = f.slotOf(key)
	if s.moving != nil {
		s.moving.note(t.source, t.head.Place)
		t.head = nil
		return nil, true
	}
	return s, false
}

// give hands a tip's head to the line of its slot.
func (f *Forwarder) give(t *tip, s *slot) {
	r, n := t.head, t.lane.n
	fl := &flight{Stored: r, lane: t.lane, source: t.source, line: s.line, slot: s, attempt: t.tries[r.Place] + 1, probe: !t.paused.IsZero()}
	t.flying[r.Place] = fl
	t.head = nil
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

// advance reads the tip's next record that may be sent into head. One at or
// beyond limit is not looked for.
func (f *Forwarder) advance(t *tip, limit Place) error {
	s := t.source
	if s.live && s.split.moving {
		return nil
	}
	if !s.paused.IsZero() {
		if len(s.flying) > 0 || time.Now().Before(s.paused) {
			t.head = nil
			return nil
		}
		if t.head == nil {
			t.cursor.Seek(s.first()) // the probe is the oldest
			t.next = s.first()
		}
	}
	for t.head == nil {
		if len(f.waiting) >= releaseGroup || f.batch.heavy() { // a backlog may be all expired
			f.flush()
			f.wakeUp()
			return nil
		}
		if t.next > limit || t.next >= s.end() {
			return nil
		}
		r, err := t.cursor.Next()
		if err != nil || r == nil {
			return err
		}
		if r.Place >= s.end() { // all between is released
			t.cursor.Seek(r.Place)
			t.next = r.Place
			return nil
		}
		t.next = r.Place + 1
		again := r.Place <= s.furthest
		s.furthest = max(s.furthest, r.Place)
		switch {
		case again && (s.flying[r.Place] != nil || s.done[r.Place]):
		case s.last != nil && s.last.Reached(s.first(), r.Place):
		case r.Mortal() && r.Expired(f.spool.Age()):
			f.acquit(r.Seq)
			f.giveUp(&flight{Stored: r, source: s}, Expired.String(), "")
		default:
			t.head = r
		}
	}
	return nil
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
