package spool

import (
	"errors"
	"fmt"

	"github.com/ebbgate/ebbgate/bridge"
)

// cursor reads one queue. See [bridge.Cursor].
type cursor struct {
	s     *Spool
	queue string
	want  bridge.Place // the next place to return
	gen   *generation  // entered, nil before the first read and at the end
	key   bridge.Seq   // the commit that buf is from
	next  bridge.Seq   // the next commit to look at, when gen is set or pos is known
	pos   *generation  // where to go on after the end
	buf   []*bridge.Stored
	one   [1]*bridge.Stored // what buf is made of, mostly

	// What is left of the commit that is being read. Its records are decoded as
	// they are asked for: a commit of thousands, all at once, would keep the
	// uplink waiting longer than a window lasts.
	head   *commitHeader
	copied []byte // of the commit, to be used again
	frames []byte // its part that is not decoded yet

	trail []mark // the latest commits read, so that going back a window is cheap
}

const maxTrail = 512

// Cursor implements [bridge.Spool].
func (s *Spool) Cursor(queue string) bridge.Cursor { return s.open(queue) }

func (s *Spool) open(queue string) *cursor {
	s.mu.Lock()
	defer s.mu.Unlock()
	return &cursor{s: s, queue: queue, want: s.queueLocked(queue).done.head}
}

// Close implements [bridge.Cursor].
func (c *cursor) Close() {
	if c.gen != nil {
		c.s.leave(c.gen)
		c.gen = nil
	}
}

// Seek implements [bridge.Cursor].
func (c *cursor) Seek(p bridge.Place) {
	c.want, c.buf, c.frames = p, nil, nil
	for i := len(c.trail) - 1; i >= 0; i-- {
		if c.trail[i].place <= p {
			if g := c.s.generationOf(c.trail[i].key); g != nil {
				c.move(g)
				c.next, c.trail = c.trail[i].key, c.trail[:i]
				return
			}
		}
	}
	c.Close()
	c.pos, c.trail = nil, nil
}

// Next implements [bridge.Cursor].
func (c *cursor) Next() (*bridge.Stored, error) {
	for {
		for len(c.buf) > 0 {
			r := c.buf[0]
			c.buf = c.buf[1:]
			if r.Place < c.want {
				continue
			}
			if r.Place > c.want {
				c.s.reportGap(c.queue, c.want, r.Place)
			}
			c.want = r.Place + 1
			if !c.released(r.Place) {
				return r, nil
			}
		}
		if len(c.frames) > 0 {
			c.decodeNext()
			continue
		}
		end := c.s.endOf(c.queue)
		more, err := c.fill()
		if err != nil {
			return nil, err
		}
		if !more {
			if c.want >= end {
				return nil, nil
			}
			// What was committed before we looked is not there.
			c.s.reportGap(c.queue, c.want, end)
			c.want = end
		}
	}
}

// endOf is the place after a queue's last record.
func (s *Spool) endOf(queue string) bridge.Place {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.queueLocked(queue).next
}

func (c *cursor) released(p bridge.Place) bool {
	c.s.mu.Lock()
	defer c.s.mu.Unlock()
	return c.s.queueLocked(c.queue).done.has(p)
}

// fill decodes the next commit that holds records of the queue. It returns
// false at the end of what is committed.
func (c *cursor) fill() (bool, error) {
	if c.pos == nil {
		c.locate()
		if c.pos == nil {
			return false, nil
		}
	}
	for {
		if c.gen == nil {
			if c.want >= c.s.endOf(c.queue) {
				return false, nil
			}
			err := c.s.enter(c.pos)
			if errors.Is(err, errGone) {
				c.pos, c.trail = nil, nil
				c.locate()
				if c.pos == nil {
					return false, nil
				}
				continue
			}
			if err != nil {
				return false, fmt.Errorf("read queue %s: %w", c.queue, err)
			}
			c.gen = c.pos
		}
		key, ok := c.gen.after(c.next)
		if !ok {
			if c.s.endsEarly(c.gen, c.next) && c.s.salvage(c.gen) {
				continue
			}
			if !c.advance() {
				return false, nil
			}
			continue
		}
		if key > c.next && c.s.salvage(c.gen) {
			continue // the raw files held commits that the index had lost
		}
		found, err := c.read(key)
		if err != nil && (c.s.salvage(c.gen) || errors.Is(err, errCut) && c.gen.isSalvaged()) {
			continue
		}
		if err != nil {
			c.s.deps.Log.Warn("spool: a damaged commit is passed over", "queue", c.queue, "sequence", uint64(key), "error", err)
			c.next = max(c.next, key) + 1
			continue
		}
		if found {
			return true, nil
		}
	}
}

// locate finds where to begin reading for the wanted place.
func (c *cursor) locate() {
	c.s.mu.Lock()
	defer c.s.mu.Unlock()
	q := c.s.queueLocked(c.queue)
	c.want = max(c.want, q.done.head)
	m, marked := q.marks.before(c.want)
	var first *generation
	for _, g := range c.s.gens {
		if g.gone {
			continue
		}
		if first == nil || max(g.start[c.queue].first, 1) <= c.want {
			first = g
		}
	}
	if c.pos = first; first != nil {
		c.next = first.first
		if marked && m.key >= first.first {
			c.next = m.key
		}
	}
}

// advance goes to the next generation that holds something for the queue. It
// returns false at the end, having left the active generation.
func (c *cursor) advance() bool {
	g := c.s.following(c.gen, c.queue, c.want)
	if g == nil {
		c.pos = c.gen
		c.Close()
		return false
	}
	c.Close()
	c.pos, c.next = g, g.first
	return true
}

// move enters g instead of what is entered now.
func (c *cursor) move(g *generation) {
	if c.gen != g {
		c.Close()
	}
	c.pos = g
}

// following returns the generation to read after g, nil when g is the active
// one. Those without records of the queue at or after want are passed over.
func (s *Spool) following(g *generation, queue string, want bridge.Place) *generation {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, x := range s.gens {
		if x.n > g.n && !x.gone {
			last := i == len(s.gens)-1
			if last || s.gens[i+1].start[queue].first > max(want, x.start[queue].first) {
				return x
			}
		}
	}
	return nil
}

// endsEarly reports whether a closed generation should have commits at or after
// next.
func (s *Spool) endsEarly(g *generation, next bridge.Seq) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return !g.active && next < g.end
}

// generationOf finds the generation that holds a commit.
func (s *Spool) generationOf(key bridge.Seq) *generation {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := len(s.gens) - 1; i >= 0; i-- {
		if g := s.gens[i]; g.first <= key {
			if g.gone {
				return nil
			}
			return g
		}
	}
	return nil
}

var (
	errForeign = errors.New("the commit is not what the index says")
	errCut     = errors.New("the commit is cut short")
)

// isSalvaged reports whether the raw files have been looked through: then what
// is still cut short is all that there is.
func (g *generation) isSalvaged() bool {
	g.mu.RLock()
	defer g.mu.RUnlock()
	return g.salvaged
}

// read copies the records of one commit into frames, when there are some for the
// queue, and moves on to the next commit.
func (c *cursor) read(key bridge.Seq) (found bool, err error) {
	err = c.gen.view(key, func(b []byte) error {
		h, err := parseHeader(b)
		if err != nil {
			return err
		}
		if h.spool != c.s.id || h.first != key {
			return errForeign
		}
		if len(b) < h.size && !c.gen.isSalvaged() {
			return errCut
		}
		c.key, c.next = key, h.next()
		span, ok := h.span(c.queue)
		if !ok || span.count == 0 || span.first+bridge.Place(span.count) <= c.want {
			return nil
		}
		if cap(c.copied) > maxCopied {
			c.copied = nil
		}
		c.copied = append(c.copied[:0], h.framesOf(b)...)
		c.head, c.frames, found = h, c.copied, len(c.copied) > 0
		if len(c.trail) == maxTrail {
			c.trail = append(c.trail[:0], c.trail[maxTrail/2:]...)
		}
		c.trail = append(c.trail, mark{place: span.first, key: key})
		return nil
	})
	return found, err
}

// maxCopied is the largest copy of a commit that is kept to be used again.
const maxCopied = 1 << 20

// decodeNext decodes the next frame of the commit. When it is damaged and the
// raw files hold a better copy of the commit, that one is read instead: what has
// been returned of it already is passed over. Otherwise the frame is, and the gap
// in the places tells.
func (c *cursor) decodeNext() {
	c.buf = c.one[:0]
	damaged := false
	rest, whole := nextFrame(c.frames, func(kind byte, body []byte) {
		damaged = body == nil
		if kind != frameRecord || body == nil {
			return
		}
		r, err := decodeRecord(body, c.head, c.queue)
		if err != nil || r == nil {
			return
		}
		for i := range r.Receivers {
			if r.Receivers[i].Queue != c.queue {
				continue
			}
			out := &r.out
			if out.Record != nil { // the queue receives it twice
				out = new(bridge.Stored)
			}
			*out = bridge.Stored{Seq: r.seq, Place: r.places[i], Record: r.Record, Receiver: &r.Receivers[i]}
			c.buf = append(c.buf, out)
		}
	})
	if c.frames = rest; !whole {
		c.frames, damaged = nil, true
	}
	if damaged && c.s.salvage(c.gen) {
		c.frames, c.next = nil, c.key
	}
}
