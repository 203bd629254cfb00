package bridge

import "time"

// A queue whose live messages go first is read in two parts, from its head and
// from a split: what is before the split waits since long, and is the backlog; what
// is from it on is live, and has a lane of its own just before the other of its
// priority. Nothing is moved for that and nothing has to be kept: the parts are two
// ranges of places, and a start takes all that waits for backlog.
//
// The split moves to the queue's end when the oldest live message has waited for
// liveFor, for whatever reason: the link or a window was closed, the route was
// paused, or more comes in than may go. It moves when nothing of the live part is on
// its way, so that a place is never in both.

// liveFor is how long a message is live, at the least; at the most twice as long. A
// backlog that is older than some hours makes it longer, so that what is released
// between the splits does not make the queue's state large.
const (
	liveFor    = 30 * time.Second // unless the configuration says another
	mostSplits = 128
)

// liveStreak is how many live messages go for one of the backlog when both wait, so
// that neither starves the other.
const liveStreak = 9

// split is where the live part of a queue begins.
type split struct {
	at     Place // 0: not known yet
	moving bool  // nothing live is given any more: it moves when all of it has come back
	moved  time.Time
	looked time.Time // when it was last thought about
	ends   [2]sample // of the queue, the newer one first
}

// sample is where a queue ended.
type sample struct {
	at  time.Time
	end Place
}

// first is the first place of the source's part.
func (s *source) first() Place {
	if s.live {
		return s.split.at
	}
	return 0
}

// end is the place after the source's part.
func (s *source) end() Place {
	switch {
	case s.until > 0:
		return s.until + 1
	case s.live || s.other == nil:
		return ^Place(0)
	}
	return s.split.at
}

// markSpace is the namespace of the source's mark.
func (s *source) markSpace() string {
	if s.live {
		return nsLive
	}
	return nsSent
}

// endOf is the place after the last of a queue.
func (f *Forwarder) endOf(queue string) Place { return Place(f.spool.Ledger(queue).Accepted) + 1 }

// resume opens the live part of a queue when a link comes up: where it was, unless
// it was not looked at for so long that nothing in it is live.
func (f *Forwarder) resume(s *source) {
	now := time.Now()
	s.split.moving = false
	if s.split.at == 0 || now.Sub(s.split.looked) >= f.cfg.LiveFor {
		f.splitAt(s, f.endOf(s.queue), now)
	}
	s.front.cursor.Seek(s.split.at)
	s.front.next = s.split.at
}

func (f *Forwarder) splitAt(s *source, p Place, now time.Time) {
	s.split = split{at: p, moved: now, looked: now, ends: [2]sample{{now, p}, {now, p}}}
}

// moveSplits sees whether what is live in a lane still is.
func (f *Forwarder) moveSplits(ln *lane) {
	now := time.Now()
	for _, s := range ln.sources {
		x, t := &s.split, s.front
		closed := now.Sub(x.looked) >= f.cfg.LiveFor // a window was
		x.looked = now
		if !x.moving && (closed || f.isStale(s, now)) {
			x.moving = true
			f.goBack()
			for _, l := range f.lines {
				f.unsentOf(l, func(fl *flight) bool { return fl.source == s })
			}
			t.cursor.Seek(x.at)
			t.head, t.next = nil, x.at
		}
		if x.moving && s.out == 0 && !s.unreleased() {
			f.moveSplit(s, now)
		}
	}
}

// isStale reports whether the oldest message of a live part that was not given yet
// has waited for liveFor.
func (f *Forwarder) isStale(s *source, now time.Time) bool {
	x := &s.split
	if now.Sub(x.ends[0].at) >= f.cfg.LiveFor {
		x.ends[1], x.ends[0] = x.ends[0], sample{now, f.endOf(s.queue)}
	}
	head := s.front.head
	if head == nil || head.Place >= x.ends[1].end || now.Sub(x.ends[1].at) < f.cfg.LiveFor {
		return false
	}
	return now.Sub(x.moved) >= f.spool.Depth(s.queue).Oldest/mostSplits
}

// unreleased reports whether something of a live part is acknowledged, and its
// release not confirmed.
func (s *source) unreleased() bool {
	for p := range s.done {
		if p >= s.split.at {
			return true
		}
	}
	return false
}

// moveSplit makes all that waits the backlog. What is to be read again, because it
// was held or passed over, is read with that.
func (f *Forwarder) moveSplit(s *source, now time.Time) {
	f.goBack()
	hand := func(h *hold) {
		if from, ok := h.from[s]; ok {
			delete(h.from, s)
			h.note(s.other, from)
		}
	}
	for _, h := range f.holds {
		hand(h)
	}
	for m := range f.moves {
		hand(m.moving)
	}
	f.splitAt(s, f.endOf(s.queue), now)
	t := s.front
	t.cursor.Seek(s.split.at)
	t.head, t.next = nil, s.split.at
	s.asked = 0 // the mark of what comes begins at the split
}

// outlived reports whether newer messages of the topic of one that waits behind the live
// ones have made it needless: they went, or go, before it.
func (s *source) outlived(r *Stored) bool {
	return s.last != nil && s.other != nil && !s.live && s.last.outlived(r.Topic, r.Place)
}

// takeOutlived takes back what lines have of a lane that has become so, and what was read
// and has found no room there.
func (f *Forwarder) takeOutlived(ln *lane) {
	for _, s := range ln.sources {
		if s.last == nil || s.other == nil || s.live || !s.last.outlivedSome() {
			continue
		}
		again := func(r *reader) {
			if t := r.tips[s.n]; t.head != nil && s.outlived(t.head) {
				t.cursor.Seek(t.head.Place)
				t.head, t.next = nil, t.head.Place
			}
		}
		again(ln.front)
		for _, l := range f.lines {
			if r := l.passed[ln.n]; r != nil {
				again(r)
			}
			f.unsentOf(l, func(fl *flight) bool { return fl.source == s && s.outlived(fl.Stored) })
		}
	}
}

// recallOutlived does so before the head of a tip goes, which may have outlived some of it,
// and reports whether the front of that lane went back for it, so that the head is to be
// found anew: when the last that a line has of a slot that moves is taken back, what was
// kept of the slot is read again, and that is older.
func (f *Forwarder) recallOutlived(t *tip) (older bool) {
	if !t.live || t.last == nil {
		return false
	}
	backs := t.lane.backs
	f.takeOutlived(t.other.lane)
	return t.lane.backs != backs
}

// orBehind is what goes in the turn of a queue that has something: itself, or, after
// a streak of live messages, what is behind them.
func (q *queue) orBehind() *queue {
	b := q.behind
	if b == nil || len(b.flights) == b.first {
		return q
	}
	if q.streak++; q.streak <= liveStreak {
		return q
	}
	q.streak = 0
	return b
}
