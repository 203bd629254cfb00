package bridge

import (
	"container/heap"
	"strconv"
	"strings"
)

// accountForCrash meters what a crash has left on the way: of each queue as many of the
// records below the mark as can have been in flight or acknowledged without being
// released: the window of every connection, and a release batch. That is of a queue,
// both of its parts together; of a live part it is from its beginning. When more wait
// there, nobody knows which of them it was: the oldest may have been held, and what was
// read past them be on its way. So it is the largest, which makes the sum an upper
// bound, though not that of one device. What counts is the configuration that the run
// before had, and where and how that was billed: a start may have another.
func (f *Forwarder) accountForCrash() {
	now := onTheWay{most: f.mostOnTheWay()}
	if m, ok := f.meter.(PlaceMeter); ok {
		now.billed = m.Place(f.cfg.Upstream)
	}
	f.sources(func(s *source) {
		if s.live {
			return
		}
		left := now
		before, err := f.spool.Get(nsMost, s.queue)
		if was, ok := parseOnTheWay(before); err == nil && ok {
			left = was
		}
		if before == nil || left != now { // in the log before the first mark of this run
			f.batch.Put(nsMost, s.queue, now.bytes())
		}
		f.accountMarks(s.queue, left)
	})
	f.flush()
}

// AccountForGone meters what a crash has left on the way of a queue that no forwarder has
// any more, for its upstream was renamed or its route is gone, and forgets the queue's
// marks in the same commit: whoever has the queue later does not count it again. It is for
// a start, before any forwarder runs. What the disk does not take is left for the next.
func AccountForGone(spool Spool, meter Meter, upstream, queue string) {
	f := &Forwarder{cfg: ForwarderConfig{Upstream: upstream}, spool: spool, meter: meter}
	left := onTheWay{most: windowAWS + releaseBatch}
	before, err := spool.Get(nsMost, queue)
	if was, ok := parseOnTheWay(before); err == nil && ok {
		left = was
	}
	if f.accountMarks(queue, left); !f.batch.Empty() {
		spool.Commit(&f.batch, nil)
	}
}

// accountMarks meters what may be on the way below the marks of a queue, and takes them
// out.
func (f *Forwarder) accountMarks(queue string, left onTheWay) {
	var sent []reach
	for _, space := range [...]string{nsSent, nsLive} {
		if r, ok := parseMark(f.spool, space, queue); ok {
			sent = append(sent, r)
			f.batch.Put(space, queue, nil)
		}
	}
	f.accountLargest(queue, sent, left)
}

// onTheWay is what a run writes of a queue before it sends of it: how many can be sent
// and not be released, and where and how that is billed.
type onTheWay struct {
	most   int
	billed Billed
}

// bytes is how the spool has it: the last of them are left out where they are as in earlier
// versions, which have none.
func (o onTheWay) bytes() []byte {
	b := strconv.AppendInt(nil, int64(o.most), 10)
	if o.billed != (Billed{}) {
		b = strconv.AppendInt(append(b, ' '), int64(o.billed.Place), 10)
	}
	if o.billed.How != "" {
		b = append(append(b, ' '), o.billed.How...)
	}
	return b
}

func parseOnTheWay(text []byte) (o onTheWay, ok bool) {
	most, rest, placed := strings.Cut(string(text), " ")
	place, how, _ := strings.Cut(rest, " ")
	o.most, ok = number(most)
	if ok && placed {
		o.billed.How = how
		o.billed.Place, ok = number(place)
	}
	return o, ok
}

func number(text string) (n int, ok bool) {
	n, err := strconv.Atoi(text)
	return n, err == nil
}

// mostOnTheWay is how many can have been sent and not be released: earlyRoom is
// within releaseBatch, but for many lines, which have leastEarly each.
func (f *Forwarder) mostOnTheWay() int {
	lines := len(f.lines)
	return lines*f.cfg.Window + releaseBatch + max(lines*leastEarly-earlyRoom, 0)
}

// accountLargest meters the largest records of a queue below its marks, as many as may be on the way.
func (f *Forwarder) accountLargest(queue string, sent []reach, left onTheWay) {
	var largest sizes
	for _, r := range sent {
		f.below(queue, r, func(r *Stored) {
			switch s := (sized{r.Size(), r.Place}); {
			case len(largest) < left.most:
				heap.Push(&largest, s)
			case left.most > 0 && s.size > largest[0].size:
				largest[0] = s
				heap.Fix(&largest, 0)
			}
		})
	}
	on := make(map[Place]bool, len(largest))
	for _, l := range largest {
		on[l.place] = true
	}
	for _, r := range sent {
		f.below(queue, r, func(r *Stored) {
			if on[r.Place] {
				f.meter.Uncertain(&f.batch, f.cfg.Upstream, r, Outcome{Result: ResultLost, Before: &left.billed})
			}
		})
	}
}

// below reads what waits below a mark.
func (f *Forwarder) below(queue string, sent reach, each func(*Stored)) {
	c := f.spool.Cursor(queue)
	defer c.Close()
	if sent.from > 0 {
		c.Seek(sent.from)
	}
	for {
		r, err := c.Next()
		if err != nil || r == nil || r.Place >= sent.to {
			return
		}
		each(r)
	}
}

// sized is a record and its size; sizes is a heap of them, the smallest first.
type sized struct {
	size  int
	place Place
}

type sizes []sized

func (s sizes) Len() int           { return len(s) }
func (s sizes) Less(i, j int) bool { return s[i].size < s[j].size }
func (s sizes) Swap(i, j int)      { s[i], s[j] = s[j], s[i] }
func (s *sizes) Push(x any)        { *s = append(*s, x.(sized)) }
func (s *sizes) Pop() any {
	last := len(*s) - 1
	out := (*s)[last]
	*s = (*s)[:last]
	return out
}
