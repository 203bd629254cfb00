package spool

import (
	"maps"
	"slices"

	"github.com/ebbgate/ebbgate/bridge"
)

// account is what verify knows of the queues: what of each was released, what of it
// is there, and where it ends. What is neither is missing; a start, and repair, find
// the same when they have read every queue to its end.
type account struct {
	applied  uint64 // the last commit whose changes are in the state
	told     bridge.Seq
	shelved  uint64 // the last commit that is on the shelf, as the state says
	unguided bool   // there is a log and no state: what was before the first that is there counts as released
	begun    bool   // a generation has been read
	queues   map[string]*tally
}

// tally is the account of one queue.
type tally struct {
	done, there releases
	next        bridge.Place // after the last
}

func (a *account) of(queue string) *tally {
	t := a.queues[queue]
	if t == nil {
		t = &tally{done: releases{head: 1}, there: releases{head: 1}, next: 1}
		if a.queues == nil {
			a.queues = map[string]*tally{}
		}
		a.queues[queue] = t
	}
	return t
}

// released takes over what the state says of a queue.
func (a *account) released(queue string, r releases) {
	t := a.of(queue)
	t.done, t.next = r, r.end()
}

// ended takes over where the queues were at the end of a generation.
func (a *account) ended(spans []queueSpan) {
	for _, s := range spans {
		t := a.of(s.name)
		t.next = max(t.next, s.first)
	}
}

// read counts one generation's commits. cut is the one that was under way when the
// power went: nobody was told that what is not there of it is ours.
func (a *account) read(keys []bridge.Seq, raw map[bridge.Seq]rawCommit, cut bridge.Seq) (records int) {
	seen := map[string]bool{}
	for _, key := range keys {
		for _, s := range raw[key].header.table {
			t := a.of(s.name)
			if a.unguided && !a.begun && !seen[s.name] {
				t.done.addRange(placeRange{1, s.first})
			}
			seen[s.name] = true
			if end := s.first + bridge.Place(s.count); end > s.first {
				t.next = max(t.next, end)
				if key == cut {
					t.done.addRange(placeRange{s.first, end})
				}
			}
		}
		records += a.count(key, raw[key])
	}
	a.begun = a.begun || len(keys) > 0
	return records
}

// count counts the records of a commit that can be read, and does the releases that
// it carries and the state has not.
func (a *account) count(key bridge.Seq, c rawCommit) (records int) {
	eachFrame(c.header.framesOf(c.value), func(kind byte, body []byte) bool {
		if kind != frameRecord || body == nil {
			return true
		}
		r, err := decodeRecord(body, c.header, "")
		if err != nil {
			return true
		}
		records++
		for i, p := range r.places {
			a.of(r.Receivers[i].Queue).there.addRange(placeRange{p, p + 1})
		}
		return true
	})
	if uint64(key) > a.applied {
		if b := opsIn(c); b != nil {
			for _, r := range b.Releases {
				a.of(r.Queue).done.add(r)
			}
		}
	}
	return records
}

// marked takes over what the mark of the log's end says.
func (a *account) marked(t *tailMark) {
	for _, q := range t.queues {
		x := a.of(q.name)
		if a.unguided && !a.begun && q.first > 1 {
			x.done.addRange(placeRange{1, q.first})
		}
		x.next = max(x.next, q.next)
	}
}

// missing lists what is neither released nor there.
func (a *account) missing() (out []Missing) {
	for _, name := range slices.Sorted(maps.Keys(a.queues)) {
		t := a.queues[name]
		all := t.done.clone()
		if t.there.head > 1 {
			all.addRange(placeRange{1, t.there.head})
		}
		for _, x := range t.there.ranges {
			all.addRange(x)
		}
		for _, m := range all.missing(1, t.next) {
			m.Queue = name
			out = append(out, m)
		}
	}
	return out
}

// settled reports whether nothing that a closed generation carries for the state or
// for the shelf is still to be taken over: then what is damaged of it matters only
// for the records that are missing.
func (a *account) settled(m *generationMeta) bool {
	return m != nil && uint64(m.ops) <= a.applied && uint64(m.shelf) <= a.shelved
}
