package bridge

import (
	"container/heap"
	"strconv"
)

// accountForCrash meters what a crash has left on the way: of each queue as many of the
// records below the mark as can have been in flight or acknowledged without being
// released: the window of every connection, and a release batch. That is of a queue,
// both of its parts together; of a live part it is from its beginning. When more wait
// there, nobody knows which of them it was: the oldest may have been held, and what was
// read past them be on its way. So it is the largest, which makes the sum an upper
// bound, though not that of one device. What counts is the configuration that the run
// before had: a start may have another.
func (f *Forwarder) accountForCrash() {
	most := f.mostOnTheWay()
	f.sources(func(s *source) {
		if s.live {
			return
		}
		left := most
		before, err := f.spool.Get(nsMost, s.queue)
		if n, bad := strconv.Atoi(string(before)); err == nil && bad == nil {
			left = n
		}
		if before == nil || left != most { // in the log before the first mark of this run
			f.batch.Put(nsMost, s.queue, strconv.AppendInt(nil, int64(most), 10))
		}
		var sent []reach
		for _, space := range [...]string{nsSent, nsLive} {
			if r, ok := parseMark(f.spool, space, s.queue); ok {
				sent = append(sent, r)
				f.batch.Put(space, s.queue, nil)
			}
		}
		f.accountLargest(s.queue, sent, left)
	})
	f.flush()
}

// mostOnTheWay is how many can have been sent and not be released: earlyRoom is
// within releaseBatch, but for many lines, which have leastEarly each.
func (f *Forwarder) mostOnTheWay() int {
	lines := len(f.lines)
	return lines*f.cfg.Window + releaseBatch + max(lines*leastEarly-earlyRoom, 0)
}

// accountLargest meters up to most records of a queue below its marks.
func (f *Forwarder) accountLargest(queue string, sent []reach, most int) {
	var largest sizes
	for _, r := range sent {
		f.below(queue, r, func(r *Stored) {
			switch s := (sized{r.Size(), r.Place}); {
			case len(largest) < most:
				heap.Push(&largest, s)
			case most > 0 && s.size > largest[0].size:
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
				f.meter.Uncertain(&f.batch, f.cfg.Upstream, r, Outcome{Result: ResultLost})
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
