package upload

import (
	"math/bits"
	"sync"
	"sync/atomic"
	"unsafe"
)

// load is the bytes of a segment on their way to the disk and through the
// checksum. They stand in memory as a write past the kernel's cache needs it, and
// go back when the last who needs them lets go.
type load struct {
	b     []byte
	class *sync.Pool
	users atomic.Int32
}

// blockSize is what places, lengths and addresses of a write past the kernel's
// cache are multiples of: disks ask for 512 or 4096.
const blockSize = 4 << 10

// loads are the free ones, by the powers of two of blockSize that they have room
// for: a large allocation for each segment would have to be cleared and collected
// each time.
type loads struct {
	classes [9]sync.Pool // the last for 1 MiB, the most that max_segment may be
}

// classOf is the index of the loads that n bytes fit into.
func classOf(n int) int { return bits.Len(uint(max(n-1, 0)) / blockSize) }

// roomOf is the memory that n bytes take as a load.
func roomOf(n int) int64 { return blockSize << classOf(n) }

// take makes a copy of b, for so many users.
func (p *loads) take(b []byte, users int32) *load {
	class := classOf(len(b))
	l, _ := p.classes[class].Get().(*load)
	if l == nil {
		l = &load{b: blocks(blockSize << class), class: &p.classes[class]}
	}
	l.b = append(l.b[:0], b...)
	l.users.Store(users)
	return l
}

// blocks is memory that begins at a multiple of blockSize.
func blocks(n int) []byte {
	b := make([]byte, n+blockSize)
	skip := int(-uintptr(unsafe.Pointer(unsafe.SliceData(b))) % blockSize) //nolint:gosec // less than a block
	return b[skip : skip+n : skip+n]
}

// leave is said by each user once. The bytes are another's then.
func (l *load) leave() {
	if l.users.Add(-1) == 0 {
		l.class.Put(l)
	}
}
