package delivery

import (
	"errors"
	"math/bits"
)

// blocks are the numbers of the blocks that an answer has, ascending, of a file of
// that size (§8.3): those chosen, of these the first that were asked for and fit
// into one answer, and then all of them must be there. The limit comes before the
// look at the file's end, since devices leave bits set that they do not mean.
// lenient gives those that are there.
func (q *request) blocks(size int64, lenient bool) ([]int, error) {
	most := maxAnswer / q.block // F65, F66
	if q.count > 0 {            // 0 is undefined; it counts as absent
		most = min(most, q.count) // F68
	}
	chosen := q.choose(most)
	if len(chosen) == 0 {
		return nil, errNothing
	}
	end := int((size + int64(q.block) - 1) / int64(q.block))
	var there []int
	for _, b := range chosen {
		if b < end {
			there = append(there, b)
		}
	}
	if len(there) == 0 || len(there) < len(chosen) && !lenient {
		return nil, errRange // F71
	}
	return there, nil
}

var (
	errNothing = errors.New("the bitmap selects no block")
	errRange   = errors.New("data requested is out of the range of data available") // AWS's own words
)

// choose lists the first of the blocks that a request names: bit j of byte k,
// from the least significant, is block offset + 8k + j (F67).
func (q *request) choose(most int) (out []int) {
	if !q.chosen {
		for i := range most {
			out = append(out, q.offset+i)
		}
		return out
	}
	for k, b := range q.bitmap {
		for ; b != 0; b &= b - 1 {
			if len(out) == most {
				return out
			}
			out = append(out, q.offset+8*k+bits.TrailingZeros8(b))
		}
	}
	return out
}
