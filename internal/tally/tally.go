// Package tally counts messages by identity, so that "nothing is lost" is a
// statement about sets and never about counters.
//
// Whoever sends numbers its messages 1, 2, 3 … in a series (one per device and
// priority) and writes series and number into the payload. Who sends keeps the
// [Set] of what was acknowledged, who receives keeps the Set of what arrived,
// and [Compare] tells the difference. A message costs one bit.
package tally

import (
	"maps"
	"math/bits"
	"slices"
	"sync"
)

// Bounds: a series of 2^27 messages takes 16 MB; one that claims more, or a
// series too many, is refused and not remembered.
const (
	MaxNumber = 1 << 27
	MaxSeries = 10_000
)

// Set is a set of numbered messages by series. The zero Set is empty and ready
// to use; it is safe for concurrent use.
type Set struct {
	mu     sync.Mutex
	series map[string]*members
	count  int64
}

type members struct {
	words []uint64
	count int64
	last  uint64 // number of the latest first addition
}

// Added is what an addition found.
type Added byte

// What an addition may find.
const (
	First     Added = iota // new, and above all earlier first additions of its series
	Late                   // new, but a later number came before it: out of order
	Duplicate              // already in the set
	Refused                // beyond the bounds; the set is unchanged
)

// Add puts a message into the set and says what it found.
func (s *Set) Add(series string, number uint64) Added {
	s.mu.Lock()
	defer s.mu.Unlock()
	m := s.series[series]
	if number == 0 || number > MaxNumber || (m == nil && len(s.series) >= MaxSeries) {
		return Refused
	}
	if m == nil {
		if s.series == nil {
			s.series = map[string]*members{}
		}
		m = &members{}
		s.series[series] = m
	}
	word, bit := int(number/64), uint64(1)<<(number%64)
	if word >= len(m.words) {
		m.words = append(m.words, make([]uint64, word+1-len(m.words))...)
	}
	if m.words[word]&bit != 0 {
		return Duplicate
	}
	m.words[word] |= bit
	m.count++
	s.count++
	if number < m.last {
		return Late
	}
	m.last = number
	return First
}

// Has reports whether the message is in the set.
func (s *Set) Has(series string, number uint64) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	m := s.series[series]
	word := int(number / 64)
	return m != nil && number <= MaxNumber && word < len(m.words) && m.words[word]&(1<<(number%64)) != 0
}

// Len is the number of messages in the set.
func (s *Set) Len() int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.count
}

// Series lists the series and how many messages each has.
func (s *Set) Series() map[string]int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := make(map[string]int64, len(s.series))
	for name, m := range s.series {
		out[name] = m.count
	}
	return out
}

// clone copies the set, so that two sets are never locked together.
func (s *Set) clone() map[string]members {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := make(map[string]members, len(s.series))
	for name, m := range s.series {
		out[name] = members{words: slices.Clone(m.words), count: m.count}
	}
	return out
}

// Difference is what [Compare] found.
type Difference struct {
	Lost   int64    // acknowledged, never arrived
	Extra  int64    // arrived, not (yet) acknowledged: no fault
	Sample []Number // the first few that are lost
}

// Number is one message.
type Number struct {
	Series string
	Number uint64
}

const samples = 10

// Compare says which acknowledged messages have not arrived. Take acked before
// arrived is still growing: what arrives meanwhile counts as arrived.
func Compare(acked, arrived *Set) Difference {
	want, got := acked.clone(), arrived.clone()
	var d Difference
	for _, name := range slices.Sorted(maps.Keys(want)) {
		have := got[name].words
		for i, w := range want[name].words {
			if i < len(have) {
				d.Extra += int64(bits.OnesCount64(have[i] &^ w))
				w &^= have[i]
			}
			d.Lost += int64(bits.OnesCount64(w))
			for ; w != 0 && len(d.Sample) < samples; w &= w - 1 {
				d.Sample = append(d.Sample, Number{name, uint64(i*64 + bits.TrailingZeros64(w))})
			}
		}
		if n := len(want[name].words); len(have) > n {
			for _, w := range have[n:] {
				d.Extra += int64(bits.OnesCount64(w))
			}
		}
		delete(got, name)
	}
	for _, m := range got {
		d.Extra += m.count
	}
	return d
}
