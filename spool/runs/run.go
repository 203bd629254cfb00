package runs

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"os"
	"slices"
	"sort"
	"sync"
)

// run is an open run. It is immutable but for users.
type run struct {
	footer
	f      *os.File
	path   string
	size   int64
	index  []blockRef
	filter filter
	users  int // versions that list it; guarded by Store.mu

	mu  sync.Mutex
	bad map[int64]bool // offsets that are reported damaged
}

var errDamaged = errors.New("checksum")

// openRun opens a run and reads its index and filter.
func openRun(path string) (_ *run, err error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			_ = f.Close()
		}
	}()
	fi, err := f.Stat()
	if err != nil {
		return nil, err
	}
	r := &run{f: f, path: path, size: fi.Size()}
	if r.size < headerSize+footerSize {
		return nil, errors.New("it is cut short")
	}
	b := make([]byte, footerSize)
	if _, err = f.ReadAt(b, r.size-footerSize); err != nil {
		return nil, err
	}
	if err = r.decode(b); err != nil {
		return nil, err
	}
	index, err := r.frame(int64(r.footer.index), int64(r.footer.filter))
	if err != nil {
		return nil, fmt.Errorf("index: %w", err)
	}
	if r.index, err = decodeIndex(index); err != nil {
		return nil, fmt.Errorf("index: %w", err)
	}
	filter, filterErr := r.frame(int64(r.footer.filter), r.size-footerSize)
	if filterErr == nil {
		r.filter = filter
	}
	return r, nil
}

// frame reads a block of known bounds.
func (r *run) frame(from, to int64) ([]byte, error) {
	if from < headerSize || to > r.size || to-from < blockHeader {
		return nil, errDamaged
	}
	return r.block(from, make([]byte, to-from))
}

// block fills buf with the block at off and returns what is in it.
func (r *run) block(off int64, buf []byte) ([]byte, error) {
	if _, err := r.f.ReadAt(buf, off); err != nil {
		return nil, err
	}
	b := buf[blockHeader:]
	if int(binary.BigEndian.Uint32(buf)) != len(b) || crc32.Checksum(b, castagnoli) != binary.BigEndian.Uint32(buf[4:]) {
		return nil, errDamaged
	}
	return b, nil
}

func decodeIndex(b []byte) (out []blockRef, err error) {
	d := decoder{b: b}
	n := d.uvarint()
	if n > uint64(len(b)/3) {
		return nil, errDamaged
	}
	out = make([]blockRef, 0, n)
	for range n {
		x := blockRef{first: string(d.take()), off: int64(d.uvarint()), size: int(d.uvarint())}
		if d.bad || x.size < 0 || x.size > maxBlock || x.off < 0 {
			return nil, errDamaged
		}
		out = append(out, x)
	}
	if len(d.b) > 0 {
		return nil, errDamaged
	}
	return out, nil
}

// decoder reads fields off b until the first that is not there.
type decoder struct {
	b   []byte
	bad bool
}

func (d *decoder) fail() {
	d.b, d.bad = nil, true
}

func (d *decoder) uvarint() uint64 {
	v, n := binary.Uvarint(d.b)
	if n <= 0 {
		d.fail()
		return 0
	}
	d.b = d.b[n:]
	return v
}

func (d *decoder) bytes(n uint64) []byte {
	if n > uint64(len(d.b)) {
		d.fail()
		return nil
	}
	out := d.b[:n]
	d.b = d.b[n:]
	return out
}

func (d *decoder) take() []byte { return d.bytes(d.uvarint()) }

// find returns the block that would hold a key.
func (r *run) find(key string) int {
	return max(sort.Search(len(r.index), func(i int) bool { return r.index[i].first > key })-1, 0)
}

// firstReport tells whether damage at an offset is news.
func (r *run) firstReport(off int64) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.bad[off] {
		return false
	}
	if r.bad == nil {
		r.bad = map[int64]bool{}
	}
	r.bad[off] = true
	return true
}

// damaged reports whether something in it could not be read.
func (r *run) damaged() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.bad) > 0
}

// cursor goes through the entries of a run. It is a [Source].
type cursor struct {
	r      *run
	report func(r *run, off int64, text string)
	at     int    // the block in b
	buf    []byte // of the block
	b      []byte // what is left of it
	key    []byte
	kind   byte
	inline []byte
	off    int64 // of the value beside
	size   int
	sum    uint32
	ok     bool

	ahead    []byte // values read ahead
	aheadOff int64
	aheadLen int
}

// seek goes to the first key at or after key. It reads no block that it stands
// in already.
func (c *cursor) seek(key string) {
	if i := c.r.find(key); !c.ok || c.at != i || string(c.key) > key {
		c.load(i)
	}
	for c.ok && string(c.key) < key {
		c.Next()
	}
}

// load reads the first readable block from i on.
func (c *cursor) load(i int) {
	c.ok = false
	for ; i < len(c.r.index); i++ {
		x := c.r.index[i]
		c.buf = slices.Grow(c.buf[:0], blockHeader+x.size)[:blockHeader+x.size]
		b, err := c.r.block(x.off, c.buf)
		if err != nil {
			c.report(c.r, x.off, fmt.Sprintf("the keys from %q to the next block's", x.first))
			continue
		}
		c.b, c.at, c.key = b, i, c.key[:0]
		if c.decode() {
			return
		}
	}
}

// decode reads the next entry of the block; false at its end.
func (c *cursor) decode() bool {
	if len(c.b) == 0 {
		c.ok = false
		return false
	}
	d := decoder{b: c.b}
	shared := d.uvarint()
	rest := d.take()
	kind := d.bytes(1)
	if d.bad || shared > uint64(len(c.key)) {
		return c.spoiled()
	}
	c.key = append(c.key[:shared], rest...)
	c.kind = kind[0]
	switch c.kind {
	case kindDead:
	case kindInline:
		c.inline = d.take()
	case kindBeside:
		c.off, c.size = int64(d.uvarint()), int(d.uvarint())
		if sum := d.bytes(4); sum != nil {
			c.sum = binary.BigEndian.Uint32(sum)
		}
	default:
		d.fail()
	}
	if d.bad || c.kind == kindBeside && (c.size < 0 || c.off < 0 || int64(c.size) > c.r.size) {
		return c.spoiled()
	}
	c.b, c.ok = d.b, true
	return true
}

// spoiled gives up the rest of a block whose checksum is right and whose content
// is not.
func (c *cursor) spoiled() bool {
	c.report(c.r, c.r.index[c.at].off, fmt.Sprintf("the keys after %q, to the next block's", c.key))
	c.ok, c.b = false, nil
	return false
}

// Valid implements [Source].
func (c *cursor) Valid() bool { return c.ok }

// Key implements [Source].
func (c *cursor) Key() []byte { return c.key }

// Dead implements [Source].
func (c *cursor) Dead() bool { return c.kind == kindDead }

// Next implements [Source].
func (c *cursor) Next() {
	if c.ok && !c.decode() {
		c.load(c.at + 1)
	}
}

// length is the size of the value.
func (c *cursor) length() int {
	switch c.kind {
	case kindInline:
		return len(c.inline)
	case kindBeside:
		return c.size
	}
	return 0
}

const (
	aheadFirst = 4 << 10
	aheadMost  = 128 << 10
)

// Value implements [Source]. Values read one after the other are read ahead.
func (c *cursor) Value() ([]byte, bool) {
	if c.kind != kindBeside {
		return c.inline, c.kind == kindInline
	}
	from := c.off - c.aheadOff
	if c.ahead == nil || from < 0 || from+int64(c.size) > int64(len(c.ahead)) {
		c.aheadLen = min(max(2*c.aheadLen, aheadFirst), aheadMost)
		n := min(int64(max(c.size, c.aheadLen)), c.r.size-c.off)
		if int64(cap(c.ahead)) < n {
			c.ahead = make([]byte, n)
		}
		c.ahead = c.ahead[:max(n, 0)]
		if _, err := c.r.f.ReadAt(c.ahead, c.off); err != nil || len(c.ahead) < c.size {
			c.ahead = nil
			c.report(c.r, c.off, fmt.Sprintf("the value of key %q", c.key))
			return nil, false
		}
		c.aheadOff, from = c.off, 0
	}
	v := c.ahead[from : from+int64(c.size)]
	if crc32.Checksum(v, castagnoli) != c.sum {
		c.report(c.r, c.off, fmt.Sprintf("the value of key %q", c.key))
		return nil, false
	}
	return v, true
}
