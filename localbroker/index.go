package localbroker

import (
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
)

// subscription is one filter of one session. It is immutable, but for retained;
// subscribing again replaces it.
type subscription struct {
	session    *session
	filter     filter
	qos        byte
	parent     bool // "a/#" matches "a" (not on AWS, B134)
	noLocal    bool
	asRetained bool // keep the RETAIN flag of what is delivered
	identifier int  // Subscription Identifier, 0 for none
	each       bool // has deliveries of its own beside those of the session's others (B114)

	retained uint64 // number up to which it was given retained messages; guarded by session.mu
}

// index finds the subscriptions that match a topic. It is our own and not
// mochi's, whose index misses parents ("+/#" and "a"), cannot leave them out,
// merges subscriptions of different profiles before anyone can decide, and
// makes four maps for each message.
type index struct {
	changes atomic.Uint64

	mu    sync.RWMutex
	root  level
	total int            // subscriptions
	size  int64          // what they cost in memory, see subscriptionOverhead
	share map[string]int // members of each share group, by name and filter
}

// level is one level of the filters.
type level struct {
	next   map[string]*level
	exact  members // filters that end here
	rest   members // filters that end in "#" here
	groups map[string]*members
	shared map[string]*members // groups whose filter ends in "#" here
}

type members map[*session]*subscription

func (l *level) empty() bool {
	return len(l.next)+len(l.exact)+len(l.rest)+len(l.groups)+len(l.shared) == 0
}

// add puts s in, replacing the session's subscription to the same filter.
func (x *index) add(s *subscription) { x.tryAdd(s, subscriptionBounds{}) }

// tryAdd is add, unless s would be one too many.
func (x *index) tryAdd(s *subscription, most subscriptionBounds) bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	defer x.changes.Add(1)
	if !x.fitsLocked(s, most) {
		return false
	}
	x.addLocked(s)
	return true
}

func (x *index) addLocked(s *subscription) {
	l, hash := &x.root, false
	for part := range strings.SplitSeq(s.filter.topic, "/") {
		if hash = part == "#"; hash {
			break
		}
		if l.next == nil {
			l.next = map[string]*level{}
		}
		n := l.next[part]
		if n == nil {
			n = &level{}
			l.next[strings.Clone(part)] = n // the packet's bytes must not live on
			x.size += levelOverhead
		}
		l = n
	}
	m := l.members(s.filter.group, hash, true)
	if m[s.session] == nil {
		x.countLocked(s.filter, 1)
	}
	m[s.session] = s
}

// remove takes a session's subscription out.
func (x *index) remove(s *session, f filter) {
	x.mu.Lock()
	defer x.mu.Unlock()
	defer x.changes.Add(1)
	was, gone := x.root.remove(s, f, f.topic)
	x.size -= int64(gone) * levelOverhead
	if was {
		x.countLocked(f, -1)
	}
}

// remove reports whether there was something to remove, and how many levels went
// with it.
func (l *level) remove(s *session, f filter, path string) (was bool, gone int) {
	part, rest, more := strings.Cut(path, "/")
	if part != "#" {
		n := l.next[part]
		if n == nil {
			return false, 0
		}
		if more {
			was, gone = n.remove(s, f, rest)
		} else {
			was = n.drop(s, f.group, false)
		}
		if n.empty() {
			delete(l.next, part)
			gone++
		}
		return was, gone
	}
	return l.drop(s, f.group, true), 0
}

func (l *level) drop(s *session, group string, hash bool) bool {
	m := l.members(group, hash, false)
	_, was := m[s]
	delete(m, s)
	if len(m) > 0 || group == "" {
		return was
	}
	if hash {
		delete(l.shared, group)
	} else {
		delete(l.groups, group)
	}
	return was
}

// members finds the set of a filter that ends at l.
func (l *level) members(group string, hash, create bool) members {
	if group == "" {
		m := &l.exact
		if hash {
			m = &l.rest
		}
		if *m == nil && create {
			*m = members{}
		}
		return *m
	}
	g := &l.groups
	if hash {
		g = &l.shared
	}
	if *g == nil && create {
		*g = map[string]*members{}
	}
	m := (*g)[group]
	if m == nil {
		if !create {
			return nil
		}
		m = &members{}
		(*g)[strings.Clone(group)] = m
	}
	return *m
}

// members lists the subscriptions of a share group.
func (x *index) members(f filter) []*subscription {
	x.mu.RLock()
	defer x.mu.RUnlock()
	l, hash := &x.root, false
	for part := range strings.SplitSeq(f.topic, "/") {
		if hash = part == "#"; hash {
			break
		}
		if l = l.next[part]; l == nil {
			return nil
		}
	}
	return slices.Collect(maps.Values(l.members(f.group, hash, false)))
}

// match appends the subscriptions that match topic: every ordinary one, and one
// of each share group, at random among its connected members, else among the
// held ones (B173, B180).
func (x *index) match(topic string, out []*subscription) []*subscription {
	x.mu.RLock()
	defer x.mu.RUnlock()
	if topic == "" || x.root.empty() {
		return out
	}
	return x.root.match(topic, topic[0] == '$', out)
}

// any reports whether somebody subscribes to a topic.
func (x *index) any(topic string) bool { return len(x.match(topic, nil)) > 0 }

// match walks the levels; reserved keeps leading wildcards from "$" topics
// [MQTT-4.7.2-1].
func (l *level) match(topic string, reserved bool, out []*subscription) []*subscription {
	if !reserved {
		out = collect(out, l.rest, l.shared, false)
	}
	part, rest, more := strings.Cut(topic, "/")
	if n := l.next[part]; n != nil {
		out = n.arrive(rest, more, out)
	}
	if n := l.next["+"]; n != nil && !reserved {
		out = n.arrive(rest, more, out)
	}
	return out
}

func (l *level) arrive(rest string, more bool, out []*subscription) []*subscription {
	if more {
		return l.match(rest, false, out)
	}
	out = collect(out, l.exact, l.groups, false)
	return collect(out, l.rest, l.shared, true)
}

// collect appends one set and one of each group; parents leaves out those whose
// "#" does not cover the level above it.
func collect(out []*subscription, all members, groups map[string]*members, parents bool) []*subscription {
	for _, s := range all {
		if !parents || s.parent {
			out = append(out, s)
		}
	}
	for _, m := range groups {
		if s := m.pick(parents); s != nil {
			out = append(out, s)
		}
	}
	return out
}

// pick chooses one member: uniformly among the connected, or among the held
// when nobody is connected.
func (m members) pick(parents bool) *subscription {
	var chosen *subscription
	n, connected := 0, false
	for _, s := range m {
		if parents && !s.parent {
			continue
		}
		online := s.session.online.Load()
		if online && !connected {
			n, connected = 0, true
		}
		if online != connected {
			continue
		}
		n++
		if rand.IntN(n) == 0 {
			chosen = s
		}
	}
	return chosen
}
