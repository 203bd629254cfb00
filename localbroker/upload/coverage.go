package upload

import (
	"cmp"
	"slices"
)

// span is where a segment belongs in its file. It identifies the segment.
type span struct{ offset, length int64 }

func (s span) end() int64 { return s.offset + s.length }

// piece is a segment of a plan: where it belongs, and where it is.
type piece struct {
	span
	stored
}

// stored is what is known of a segment.
type stored struct {
	at      int64  // where it is in the transfer's file
	crc     uint32 // CRC-32C of its bytes
	age     uint32 // when it came, seconds of the shelf's clock
	durable bool   // it is synced, and on the shelf
}

// cover finds a path of exact boundaries from 0 to size. It is not a union of
// ranges: [0,15) and [10,20) do not cover 20. Of several segments that end at a
// boundary the longest is taken.
func cover(segments map[span]stored, size int64) ([]piece, bool) {
	if size == 0 {
		return nil, true
	}
	list := make([]piece, 0, len(segments))
	for s, at := range segments {
		if at.durable && s.end() <= size {
			list = append(list, piece{s, at})
		}
	}
	slices.SortFunc(list, func(a, b piece) int { return cmp.Compare(a.offset, b.offset) })
	before := make(map[int64]int, len(list)) // boundary: the piece that reaches it
	for i, p := range list {
		if _, reached := before[p.offset]; !reached && p.offset != 0 {
			continue
		}
		if _, reached := before[p.end()]; !reached { // by ascending start, so the first is the longest
			before[p.end()] = i
		}
	}
	var plan []piece
	for at := size; at > 0; {
		i, reached := before[at]
		if !reached {
			return nil, false
		}
		plan = append(plan, list[i])
		at = list[i].offset
	}
	slices.Reverse(plan)
	return plan, true
}

// straight reports whether the pieces stand in their file as they belong, so
// that the file is the result.
func straight(plan []piece) bool {
	return !slices.ContainsFunc(plan, func(p piece) bool { return p.at != p.offset })
}
