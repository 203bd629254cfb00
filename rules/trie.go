package rules

import (
	"math/bits"
	"strings"
)

// trie finds all filters that match a topic in one walk over it. Its depth is
// that of the deepest filter, and no walk visits a node twice, so a hostile
// topic costs no more than the filters are large.
type trie struct{ root node }

type node struct {
	children map[string]*node
	plus     *node
	ends     []int // filters that end at this node
	rest     []int // filters that go on from this node with "#"
}

// add puts a filter under id, 0 ≤ id ≤ MaxRoutes and those of pass-through.
func (t *trie) add(filter []level, id int) {
	n := &t.root
	for _, l := range filter {
		switch l.kind {
		case anyRest:
			n.rest = append(n.rest, id)
			return
		case anyLevel:
			if n.plus == nil {
				n.plus = &node{}
			}
			n = n.plus
		default:
			c := n.children[l.text]
			if c == nil {
				if n.children == nil {
					n.children = map[string]*node{}
				}
				c = &node{}
				n.children[l.text] = c
			}
			n = c
		}
	}
	n.ends = append(n.ends, id)
}

// match adds the ids of all filters that match topic to out.
func (t *trie) match(topic string, out *idSet) {
	if !strings.HasPrefix(topic, "$") {
		t.root.walk(topic, out)
		return
	}
	// A leading wildcard does not match "$…" (MQTT 5 §4.7.2).
	name, below, more := strings.Cut(topic, "/")
	t.root.children[name].step(below, more, out)
}

func (n *node) walk(topic string, out *idSet) {
	out.add(n.rest)
	name, below, more := strings.Cut(topic, "/")
	n.children[name].step(below, more, out)
	n.plus.step(below, more, out)
}

// step goes on below n, which may be nil.
func (n *node) step(below string, more bool, out *idSet) {
	switch {
	case n == nil:
	case more:
		n.walk(below, out)
	default:
		out.add(n.ends)
		out.add(n.rest) // "sensor/#" matches "sensor"
	}
}

// idSet is a set of small numbers that needs no allocation.
type idSet [(MaxRoutes + 64) / 64]uint64

func (s *idSet) add(ids []int) {
	for _, id := range ids {
		s[id/64] |= 1 << (id % 64)
	}
}

func (s *idSet) has(id int) bool { return s[id/64]&(1<<(id%64)) != 0 }

func (s *idSet) len() int {
	n := 0
	for _, w := range s {
		n += bits.OnesCount64(w)
	}
	return n
}

// next returns the smallest member that is at least from, or -1.
func (s *idSet) next(from int) int {
	for i := from / 64; i < len(s); i++ {
		w := s[i]
		if i == from/64 {
			w &= ^uint64(0) << (from % 64)
		}
		if w != 0 {
			return i*64 + bits.TrailingZeros64(w)
		}
	}
	return -1
}
