package spool

import (
	"iter"
	"math/rand/v2"
	"strings"

	"github.com/ebbgate/ebbgate/spool/runs"
)

// tray is the part of the shelf that is in memory: keys in order, with their
// values or the news that they are gone. It is a skip list. Who uses it locks.
type tray struct {
	head [trayLevels]*trayNode
	size int // bytes that it takes, roughly
	n    int
}

const (
	trayLevels = 12  // enough for four to the power of it keys
	trayNodeIs = 128 // bytes of a node without its key and value
)

type trayNode struct {
	key   string
	value []byte
	dead  bool // the key is gone, and what is on the disk or will be does not count
	next  []*trayNode
	one   [1]*trayNode // three of four nodes have one level
}

// before finds the last node of each level before key; nil is the head.
func (t *tray) before(key string, prev *[trayLevels]*trayNode) *trayNode {
	var at *trayNode
	for level := trayLevels - 1; level >= 0; level-- {
		for {
			next := t.after(at, level)
			if next == nil || next.key >= key {
				break
			}
			at = next
		}
		if prev != nil {
			prev[level] = at
		}
	}
	return t.after(at, 0)
}

func (t *tray) after(n *trayNode, level int) *trayNode {
	if n == nil {
		return t.head[level]
	}
	return n.next[level]
}

// find returns the node of a key, or nil.
func (t *tray) find(key string) *trayNode {
	if t == nil {
		return nil
	}
	if n := t.before(key, nil); n != nil && n.key == key {
		return n
	}
	return nil
}

// set sets a key, or says that it is gone.
func (t *tray) set(key string, value []byte, dead bool) {
	var prev [trayLevels]*trayNode
	if n := t.before(key, &prev); n != nil && n.key == key {
		t.size += len(value) - len(n.value)
		n.value, n.dead = value, dead
		return
	}
	levels := 1
	for levels < trayLevels && rand.Uint32()%4 == 0 {
		levels++
	}
	n := &trayNode{key: key, value: value, dead: dead}
	n.next = n.one[:]
	if levels > 1 {
		n.next = make([]*trayNode, levels)
	}
	for level := range levels {
		n.next[level] = t.after(prev[level], level)
		t.link(prev[level], level, n)
	}
	t.n++
	t.size += trayNodeIs + len(key) + len(value)
}

func (t *tray) link(n *trayNode, level int, to *trayNode) {
	if n == nil {
		t.head[level] = to
	} else {
		n.next[level] = to
	}
}

// remove removes a key; it reports what was said of it.
func (t *tray) remove(key string) (was, dead bool) {
	var prev [trayLevels]*trayNode
	n := t.before(key, &prev)
	if n == nil || n.key != key {
		return false, false
	}
	for level := range n.next {
		t.link(prev[level], level, n.next[level])
	}
	t.n--
	t.size -= trayNodeIs + len(key) + len(n.value)
	return true, n.dead
}

// entries goes through a tray that nobody changes any more.
func (t *tray) entries() iter.Seq[*runs.Entry] {
	return func(yield func(*runs.Entry) bool) {
		var e runs.Entry
		for n := t.head[0]; n != nil; n = n.next[0] {
			e = runs.Entry{Key: append(e.Key[:0], n.key...), Value: n.value, Dead: n.dead}
			if !yield(&e) {
				return
			}
		}
	}
}

// trayEntry is a copy of what a node says.
type trayEntry struct {
	key   string
	value []byte
	dead  bool
}

// traySource goes through the keys of a tray with a prefix, some at a time, so
// that nobody holds the lock while something is done with them. It is a
// [runs.Source].
type traySource struct {
	sh     *shelf
	t      *tray
	prefix string
	list   []trayEntry
	at     int
	want   int
	key    []byte
}

const (
	trayFirst = 16
	trayMost  = 512
)

func (sh *shelf) source(t *tray, prefix string) *traySource {
	s := &traySource{sh: sh, t: t, prefix: prefix, want: trayFirst}
	s.load(prefix, true)
	return s
}

// load takes the keys after one, that one included or not.
func (s *traySource) load(from string, included bool) {
	s.list, s.at = s.list[:0], 0
	s.sh.mu.RLock()
	for n := s.t.before(from, nil); n != nil && len(s.list) < s.want && strings.HasPrefix(n.key, s.prefix); n = n.next[0] {
		if included || n.key != from {
			s.list = append(s.list, trayEntry{n.key, n.value, n.dead})
		}
	}
	s.sh.mu.RUnlock()
	s.want = min(2*s.want, trayMost)
	s.keep()
}

func (s *traySource) keep() {
	if s.Valid() {
		s.key = append(s.key[:0], s.list[s.at].key...)
	}
}

// Valid implements [runs.Source].
func (s *traySource) Valid() bool { return s.at < len(s.list) }

// Key implements [runs.Source].
func (s *traySource) Key() []byte { return s.key }

// Dead implements [runs.Source].
func (s *traySource) Dead() bool { return s.list[s.at].dead }

// Value implements [runs.Source].
func (s *traySource) Value() ([]byte, bool) { return s.list[s.at].value, true }

// Next implements [runs.Source].
func (s *traySource) Next() {
	s.at++
	if s.at == len(s.list) {
		s.load(s.list[s.at-1].key, false)
		return
	}
	s.keep()
}
