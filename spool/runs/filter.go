package runs

import "math/bits"

// filter tells keys that a run does not hold, without reading it: a Bloom
// filter of 16 bits a key, wrong about one absent key in 1,700. A wrong answer
// costs reading a block, and there may be twenty runs.
type filter []byte

const (
	filterBits   = 16 // of a key
	filterProbes = 8
)

func newFilter(keys uint64) filter {
	return make(filter, max(keys*filterBits/8, 8))
}

// hash is FNV-1a, mixed at the end because its high bits are weak.
func hash[K string | []byte](key K) uint64 {
	h := uint64(14695981039346656037)
	for i := range len(key) {
		h = (h ^ uint64(key[i])) * 1099511628211
	}
	h ^= h >> 33
	h *= 0xff51afd7ed558ccd
	h ^= h >> 33
	h *= 0xc4ceb9fe1a85ec53
	return h ^ h>>33
}

// place is where probe i of a hash looks.
func (f filter) place(h uint64, i int) uint64 {
	step := bits.RotateLeft64(h, 32) | 1
	hi, _ := bits.Mul64(h+uint64(i)*step, uint64(len(f))*8)
	return hi
}

func (f filter) add(h uint64) {
	for i := range filterProbes {
		p := f.place(h, i)
		f[p/8] |= 1 << (p % 8)
	}
}

// may reports whether a key may be there; a filter that could not be read says
// that of every key.
func (f filter) may(h uint64) bool {
	if len(f) == 0 {
		return true
	}
	for i := range filterProbes {
		p := f.place(h, i)
		if f[p/8]&(1<<(p%8)) == 0 {
			return false
		}
	}
	return true
}
