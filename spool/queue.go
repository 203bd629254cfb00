package spool

import (
	"encoding/binary"
	"slices"
	"sort"

	"github.com/ebbgate/ebbgate/bridge"
)

// queue is what is known of one queue. Its fields are guarded by Spool.mu; the
// next place and the appended bytes belong to the committer, the rest to the
// state keeper.
type queue struct {
	name     string
	next     bridge.Place // of the next record
	appended uint64       // bytes of all records ever appended
	done     releases
	watchers []chan<- struct{} // see Watch
	marks    marks
}

// depth is the number of live records.
func (q *queue) depth() int64 {
	return int64(q.next-q.done.head) - int64(q.done.above())
}

// releases says which places are released: all below head, and the ranges.
type releases struct {
	head   bridge.Place
	ranges []placeRange // sorted, disjoint, not adjacent, all above head
	bytes  uint64       // of all records ever released
	fates  fates        // of them
}

// fates counts what became of the records that were released one by one; of
// what was given up as missing nobody knows.
type fates [bridge.Fates]uint64

// placeRange is [from, to).
type placeRange struct{ from, to bridge.Place }

// above counts the places released above head.
func (r *releases) above() (n uint64) {
	for _, x := range r.ranges {
		n += uint64(x.to - x.from)
	}
	return n
}

// has reports whether a place is released.
func (r *releases) has(p bridge.Place) bool {
	if p < r.head {
		return true
	}
	i := sort.Search(len(r.ranges), func(i int) bool { return r.ranges[i].to > p })
	return i < len(r.ranges) && r.ranges[i].from <= p
}

// covers reports whether all of [from, to) is released.
func (r *releases) covers(from, to bridge.Place) bool {
	if to <= r.head || from >= to {
		return true
	}
	from = max(from, r.head)
	i := sort.Search(len(r.ranges), func(i int) bool { return r.ranges[i].to > from })
	return i < len(r.ranges) && r.ranges[i].from <= from && r.ranges[i].to >= to
}

// add does one release, of a place that is live.
func (r *releases) add(x bridge.Release) {
	if r.has(x.Place) {
		return
	}
	r.bytes += uint64(x.Bytes)
	r.fates[x.Fate]++
	r.addRange(placeRange{x.Place, x.Place + 1})
}

// ledger is what became of everything that the queue was given.
func (q *queue) ledger() bridge.Ledger {
	f := q.done.fates
	l := bridge.Ledger{
		Accepted: int64(q.next - 1), Held: q.depth(),
		Delivered: int64(f[bridge.Delivered]), Dropped: int64(f[bridge.Dropped]), Consumed: int64(f[bridge.Consumed]), Moved: int64(f[bridge.Moved]),
	}
	l.Lost = l.Accepted - l.Held - l.Delivered - l.Dropped - l.Consumed - l.Moved
	return l
}

// addRange releases places that are not released yet, or only in part.
func (r *releases) addRange(x placeRange) {
	if x.from <= r.head {
		r.head = max(r.head, x.to)
		for len(r.ranges) > 0 && r.ranges[0].from <= r.head {
			r.head = max(r.head, r.ranges[0].to)
			r.ranges = r.ranges[1:]
		}
		return
	}
	i := sort.Search(len(r.ranges), func(i int) bool { return r.ranges[i].to >= x.from })
	j := i
	for j < len(r.ranges) && r.ranges[j].from <= x.to {
		x.from, x.to = min(x.from, r.ranges[j].from), max(x.to, r.ranges[j].to)
		j++
	}
	r.ranges = slices.Replace(r.ranges, i, j, x)
}

// missing lists the parts of [from, to) that are not released.
func (r *releases) missing(from, to bridge.Place) (out []Missing) {
	from = max(from, r.head)
	for _, x := range r.ranges {
		if from >= to || x.from >= to {
			break
		}
		if x.from > from {
			out = append(out, Missing{From: from, To: x.from})
		}
		from = max(from, x.to)
	}
	if from < to {
		out = append(out, Missing{From: from, To: to})
	}
	return out
}

// end is the place after everything released.
func (r *releases) end() bridge.Place {
	if n := len(r.ranges); n > 0 {
		return r.ranges[n-1].to
	}
	return r.head
}

// clone is a copy that shares nothing.
func (r *releases) clone() releases {
	return releases{r.head, slices.Clone(r.ranges), r.bytes, r.fates}
}

// encode is the value that the state keeps.
func (r *releases) encode() []byte {
	b := binary.AppendUvarint(nil, uint64(r.head))
	b = binary.AppendUvarint(b, r.bytes)
	b = binary.AppendUvarint(b, uint64(len(r.ranges)))
	at := r.head
	for _, x := range r.ranges {
		b = binary.AppendUvarint(b, uint64(x.from-at))
		b = binary.AppendUvarint(b, uint64(x.to-x.from))
		at = x.to
	}
	for _, n := range r.fates {
		b = binary.AppendUvarint(b, n)
	}
	return b
}

// decodeReleases decodes what encode made.
func decodeReleases(b []byte) (releases, error) {
	d := decoder{b: b}
	r := releases{head: bridge.Place(d.uvarint()), bytes: d.uvarint()}
	at := r.head
	for range d.count(2) {
		from := at + bridge.Place(d.uvarint())
		at = from + bridge.Place(d.uvarint())
		r.ranges = append(r.ranges, placeRange{from, at})
	}
	if len(d.b) == 0 { // written before fates were counted
		r.fates[bridge.Delivered] = uint64(r.head-1) + r.above()
		return r, d.err
	}
	for i := range r.fates {
		r.fates[i] = d.uvarint()
	}
	return r, d.err
}

// mark remembers where a place stands, so that seeking to it and telling the
// age of the head read no more than a few commits.
type mark struct {
	place bridge.Place
	key   bridge.Seq
	age   int64
}

// marks are a bounded, ordered sample of a queue's commits. When they are full
// every other one goes and only every stride-th commit is taken from then on.
type marks struct {
	list   []mark
	stride int
	skip   int
}

const maxMarks = 4096

func (m *marks) add(x mark) {
	if m.skip > 0 {
		m.skip--
		return
	}
	if len(m.list) >= maxMarks {
		kept := m.list[:0]
		for i := 0; i < len(m.list); i += 2 {
			kept = append(kept, m.list[i])
		}
		m.list, m.stride = kept, max(m.stride, 1)*2
	}
	m.list = append(m.list, x)
	m.skip = max(m.stride, 1) - 1
}

// before finds the last mark at or before a place.
func (m *marks) before(p bridge.Place) (mark, bool) {
	i := sort.Search(len(m.list), func(i int) bool { return m.list[i].place > p })
	if i == 0 {
		return mark{}, false
	}
	return m.list[i-1], true
}

// trim forgets what is before the last mark at or before head.
func (m *marks) trim(head bridge.Place) {
	i := sort.Search(len(m.list), func(i int) bool { return m.list[i].place > head })
	if i > maxMarks/4 {
		m.list = slices.Delete(m.list, 0, i-1)
	}
	if len(m.list) < maxMarks/8 {
		m.stride = 1
	}
}
