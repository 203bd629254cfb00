package bridge

import (
	"cmp"
	"math"
	"slices"
	"sync/atomic"
	"time"
)

// lane is the queues of one priority, or the live parts of those that have some.
// They are read as one, in the order of acceptance.
type lane struct {
	n        int // among the lanes, by falling priority
	priority int
	live     bool
	behind   *lane   // of a live one: the other of its priority
	cost     float64 // see queue
	sources  []*source
	front    *reader
	backs    int // how often the front went back
}

// source is one queue as its forwarder reads it, or one part of it: of a queue
// whose live messages go first there are two, which share their track.
type source struct {
	*track
	lane  *lane
	n     int     // among the lane's
	live  bool    // the part from the split on
	other *source // the other part; nil: this is all of the queue

	front *tip // the lane's, of this queue

	wayAfter time.Time // when makeWay looks again
	out      int       // flights of this part

	asked    Place       // the mark that has been asked for
	stride   Place       // how far ahead the next is asked for
	unmarked atomic.Bool // asking failed
	askAgain time.Time
	durable  atomic.Pointer[reach] // the mark that is durable: what is in it may have been sent
}

// tried is what has become of a message that came back.
type tried struct {
	times   int           // transmissions
	refused int           // of those, by an answer, see makeWay
	patient bool          // the last of these was one that is most often not about it
	since   time.Duration // the age at the first of these, and of those before others were taken
	acked   int64         // messages, as of the first of these
	way     int           // how many make way if it is refused once more
}

// track is what is known of one queue.
type track struct {
	queue    string
	requests bool      // see QueueRef
	last     *KeepLast // see QueueRef
	until    Place     // see QueueRef

	flying map[Place]*flight
	done   map[Place]bool  // released in a batch that is not confirmed yet
	tries  map[Place]tried // of what came back

	furthest Place // that a cursor ever returned: none beyond it flies or is done

	paused  time.Time // the receiver's policy denied the queue: not before
	denials int
	barred  int // devices that were denied in it since it had one taken

	allBarred bool // it is paused, and there is nothing of others

	expiry expiry // see expire

	reject *reject // what is refused again and again; nil: nothing, or not read yet

	split split // of a queue in two parts
}

// reader reads the queues of a lane as one. The front reads for all lines; what
// it passes over because a line is full, that line's own reader reads later.
type reader struct {
	lane  *lane
	tips  []*tip // by source
	backs int    // of the lane, when it was made
}

// tip is where a reader is in one queue.
type tip struct {
	*source
	cursor Cursor
	head   *Stored // read, and not given yet
	next   Place   // after the latest that the cursor returned
	limit  Place   // of a front: nothing beyond is read now
}

// flight is a delivery that awaits its outcome, or to be sent.
type flight struct {
	*Stored
	lane    *lane
	source  *source
	line    *line
	slot    *slot
	attempt int
	trial   *hold // that it is the trial of, see hold.trying; nil: of none
	probe   bool  // sent while its queue was paused
	alone   bool  // nothing else may be on its way on the line, see suspect
	blamed  int   // how often the receiver has hung up over it

	delivery Delivery // as it was sent
}

// maxAhead bounds how far a queue is read past what is held back, in places.
const maxAhead = 10_000

func newLanes(queues []QueueRef, weight float64) (out []*lane) {
	find := func(priority int, live bool) *lane {
		i := slices.IndexFunc(out, func(l *lane) bool { return l.priority == priority && l.live == live })
		if i < 0 {
			out = append(out, &lane{priority: priority, live: live})
			i = len(out) - 1
			if weight > 0 {
				out[i].cost = math.Pow(weight, -float64(priority))
			}
		}
		return out[i]
	}
	for _, q := range queues {
		t := &track{queue: q.Name, requests: q.Requests, last: q.Last, until: q.Until, done: map[Place]bool{}}
		s := find(q.Priority, false).add(t)
		if q.LiveFirst {
			s.other = find(q.Priority, true).add(t)
			s.other.live, s.other.other, s.other.lane.behind = true, s, s.lane
		}
	}
	slices.SortFunc(out, func(a, b *lane) int {
		if a.priority == b.priority && a.live != b.live {
			if a.live {
				return -1
			}
			return 1
		}
		return cmp.Compare(b.priority, a.priority)
	})
	for i, l := range out {
		l.n = i
	}
	return out
}

func (l *lane) add(t *track) *source {
	s := &source{track: t, lane: l, n: len(l.sources)}
	l.sources = append(l.sources, s)
	return s
}

func (f *Forwarder) sources(fn func(*source)) {
	for _, l := range f.lanes {
		for _, s := range l.sources {
			fn(s)
		}
	}
}

func (f *Forwarder) openCursors() {
	if f.holds == nil {
		f.holds = map[holdKey]*hold{}
	}
	for key, h := range f.holds {
		if !h.rests { // the next link tries at once
			delete(f.holds, key)
		}
	}
	f.sources(func(s *source) { f.clearBars(s.queue) }) // of a forwarder before this one
	for _, ln := range f.lanes {
		ln.front = &reader{lane: ln}
		for _, s := range ln.sources {
			if !s.live {
				s.flying, s.tries = map[Place]*flight{}, map[Place]tried{}
			}
			s.front = &tip{source: s, cursor: f.spool.Cursor(s.queue)}
			if s.live {
				f.resume(s)
			}
			ln.front.tips = append(ln.front.tips, s.front)
		}
	}
}

func (f *Forwarder) closeCursors() {
	for _, ln := range f.lanes {
		ln.front.close()
	}
}

// behind makes a reader that goes on where r is.
func (f *Forwarder) behind(r *reader) *reader {
	out := &reader{lane: r.lane, backs: r.lane.backs}
	for _, t := range r.tips {
		c := f.spool.Cursor(t.queue)
		c.Seek(t.at())
		out.tips = append(out.tips, &tip{source: t.source, cursor: c, next: t.at()})
	}
	return out
}

func (r *reader) close() {
	for _, t := range r.tips {
		t.cursor.Close()
	}
}

// at is the place that the tip gives next, at the earliest.
func (t *tip) at() Place {
	if t.head != nil {
		return t.head.Place
	}
	return t.next
}

// back makes the tip read again from a place that it is past.
func (t *tip) back(p Place) {
	if p < t.at() {
		t.cursor.Seek(p)
		t.head, t.next = nil, p
		if t == t.front {
			t.lane.backs++
		}
	}
}

// goBack makes the front read again what it has passed over for full lines.
func (f *Forwarder) goBack() {
	f.passes++
	for _, l := range f.lines {
		for i, r := range l.passed {
			if r != nil {
				l.rejoin(i)
			}
		}
	}
}

// rejoin leaves what the front has passed over for a line to the front again.
func (l *line) rejoin(lane int) {
	r := l.passed[lane]
	for _, t := range r.tips {
		t.front.back(t.at())
	}
	r.close()
	l.passed[lane] = nil
}

// outdated reports whether the front has gone back in one of several queues since the
// reader was made: what it reads there again may be older than what the reader has
// left of another.
func (r *reader) outdated() bool { return len(r.tips) > 1 && r.backs != r.lane.backs }
