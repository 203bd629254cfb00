package bridge

import (
	"fmt"
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
	reach
}

// reach is the places that a mark covers: those from the one and below the other.
type reach struct{ from, to Place }

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
		out = append(out, mark{s, s.ask(b, to)})
	})
	return out
}

// confirmMarks takes the end of the commit that the marks went with.
func (s *settlement) confirmMarks() {
	for _, m := range s.marks {
		if s.err != nil {
			m.unmarked.Store(true)
		} else if m.asked >= m.to { // the link that it is for is still up
			m.cover(m.reach)
		}
	}
	if s.err != nil && len(s.marks) > 0 {
		// The releases are tried again, when the marks may be further.
		s.batch.Puts = slices.DeleteFunc(s.batch.Puts, func(p Put) bool { return (p.Namespace == nsSent || p.Namespace == nsLive) && p.Value != nil })
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
		covered := s.ask(&b, to)
		f.spool.Commit(&b, func(_ Seq, err error) {
			if err != nil {
				s.unmarked.Store(true) // asked again with the next tick
				return
			}
			s.durable.Store(&covered)
			f.wakeUp()
		})
	}
	d := s.durable.Load()
	return d != nil && d.from == s.first() && p < d.to
}

// ask puts the mark of a source into a batch.
func (s *source) ask(b *Batch, to Place) reach {
	if s.live {
		b.Put(nsLive, s.queue, fmt.Appendf(nil, "%d %d", s.first(), to))
	} else {
		b.Put(nsSent, s.queue, strconv.AppendUint(nil, uint64(to), 10))
	}
	return reach{s.first(), to}
}

// cover takes note of a mark that is durable.
func (s *source) cover(r reach) {
	if d := s.durable.Load(); d == nil || d.from < r.from || d.from == r.from && d.to < r.to {
		s.durable.Store(&r)
	}
}

// forgetMarks says that nothing is on its way: what was lost is in the batch.
func (f *Forwarder) forgetMarks() {
	f.sources(func(s *source) {
		if s.asked > 0 {
			f.batch.Put(s.markSpace(), s.queue, nil)
			s.asked = 0
			s.durable.Store(nil)
		}
	})
}

// outdated reports whether a change is of a mark, and the present links have asked for
// another: that is in commits of its own, which may have passed this one.
func (f *Forwarder) outdated(p Put) (is bool) {
	f.sources(func(s *source) {
		is = is || s.asked > 0 && p.Namespace == s.markSpace() && p.Key == s.queue
	})
	return is
}

// parseMark reads a mark that an earlier run has left behind.
func parseMark(spool Spool, space, queue string) (r reach, ok bool) {
	v, err := spool.Get(space, queue)
	if err != nil || v == nil {
		return reach{}, false
	}
	if space == nsLive {
		n, err := fmt.Sscanf(string(v), "%d %d", &r.from, &r.to)
		return r, err == nil && n == 2
	}
	to, err := strconv.ParseUint(string(v), 10, 64)
	return reach{to: Place(to)}, err == nil
}

// windowAWS is how many AWS takes unacknowledged on one connection: the window when
// none is configured.
const windowAWS = 100
