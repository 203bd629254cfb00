package bridge

import (
	"slices"
	"strconv"
	"time"
)

// Before a place is sent its mark is durable, so that after a crash the bill
// knows what may have been sent. Marks run ahead by a multiple of what a commit
// releases, so that they come along with the releases: a commit of their own,
// with its sync, is for the first few of a link only. What a crash leaves
// uncertain of a slow link is minStride and what is in flight.
const (
	minStride = 256
	maxStride = 2 * releaseBatch
)

// mark is a mark that goes with a commit of releases.
type mark struct {
	*source
	to Place
}

// advanceMarks puts into a batch of releases the marks that will be reached soon.
func (f *Forwarder) advanceMarks(b *Batch) (out []mark) {
	f.sources(func(s *source) {
		if s.asked == 0 {
			return
		}
		s.stride = min(max(Place(4*len(b.Releases)), minStride), maxStride)
		to := s.front.next + s.stride
		if to < s.asked+s.stride/4 {
			return
		}
		s.asked = to
		b.Put(nsSent, s.queue, strconv.AppendUint(nil, uint64(to), 10))
		out = append(out, mark{s, to})
	})
	return out
}

// confirmMarks takes the end of the commit that the marks went with.
func (s *settlement) confirmMarks() {
	for _, m := range s.marks {
		if s.err != nil {
			m.unmarked.Store(true)
		} else if m.asked >= m.to { // the link that it is for is still up
			m.durable.Store(max(m.durable.Load(), uint64(m.to)))
		}
	}
	if s.err != nil && len(s.marks) > 0 {
		// The releases are tried again, when the marks may be further.
		s.batch.Puts = slices.DeleteFunc(s.batch.Puts, func(p Put) bool { return p.Namespace == nsSent && p.Value != nil })
	}
	s.marks = nil
}

// marked makes sure that the mark covers the head of a tip; false means that
// the commit is under way.
func (f *Forwarder) marked(t *tip) bool {
	s, p := t.source, t.head.Place
	if s.unmarked.Load() && time.Now().After(s.askAgain) {
		s.unmarked.Store(false)
		s.asked, s.askAgain = 0, time.Now().Add(commitRetry)
	}
	if s.asked == 0 {
		s.stride = minStride / 2
	}
	if p+s.stride/2 >= s.asked {
		s.stride = min(2*s.stride, maxStride)
		to := p + s.stride
		s.asked = to
		var b Batch
		b.Put(nsSent, s.queue, strconv.AppendUint(nil, uint64(to), 10))
		f.spool.Commit(&b, func(_ Seq, err error) {
			if err != nil {
				s.unmarked.Store(true) // asked again with the next tick
				return
			}
			s.durable.Store(uint64(to))
			f.wakeUp()
		})
	}
	return uint64(p) < s.durable.Load()
}

// forgetMarks says that nothing is on its way: what was lost is in the batch.
func (f *Forwarder) forgetMarks() {
	f.sources(func(s *source) {
		if s.asked > 0 {
			f.batch.Put(nsSent, s.queue, nil)
			s.asked = 0
			s.durable.Store(0)
		}
	})
}

// accountForCrash meters what a crash has left on the way: of each queue the
// oldest records below the mark, as many as can have been in flight or
// acknowledged without being released: AWS's window of every connection, and a
// release batch.
func (f *Forwarder) accountForCrash() {
	f.sources(func(s *source) {
		v, err := f.spool.Get(nsSent, s.queue)
		mark, parsed := strconv.ParseUint(string(v), 10, 64)
		if err != nil || parsed != nil {
			return
		}
		c := f.spool.Cursor(s.queue)
		defer c.Close()
		for range len(f.lines)*(windowAWS+leastEarly) + releaseBatch {
			r, err := c.Next()
			if err != nil || r == nil || uint64(r.Place) >= mark {
				break
			}
			f.meter.Uncertain(&f.batch, f.cfg.Upstream, r)
		}
		f.batch.Put(nsSent, s.queue, nil)
	})
	f.flush()
}

// windowAWS is how many AWS takes unacknowledged on one connection.
const windowAWS = 100
