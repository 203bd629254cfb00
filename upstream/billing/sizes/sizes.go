// Package sizes records how large messages were, small enough to be kept for
// every route and day and exact enough to work out what else they would have
// cost: a histogram whose cells know their sums, so that messages of one size
// are recorded exactly.
package sizes

import (
	"encoding/binary"
	"errors"
	"maps"
	"math"
	"math/bits"
	"slices"
)

// MaxCells bounds a histogram: what would make another cell goes to the
// nearest.
const MaxCells = 256

// Cell is messages of about the same metered size. Its sums are exact.
type Cell struct {
	Messages int64
	Payload  int64 // bytes
	Topic    int64 // bytes
	Rest     int64 // bytes of the properties that are metered
	Retained int64 // of Messages: with the retain flag
}

// Histogram is messages by metered size. The zero Histogram is empty and ready.
type Histogram struct {
	cells map[uint16]*Cell
	names [nameWords]uint64 // a bit for each topic, by its hash
	other int64             // messages whose payload is not JSON
}

// nameWords are 1,024 bits: they tell some 4,000 topics apart, to a few percent.
const nameWords = 16

// Named notes the topic of a message: messages of one topic can share a batch.
func (h *Histogram) Named(topic string) {
	sum := uint64(14695981039346656037) // FNV-1a, the same at each start: what is written goes on
	for i := range len(topic) {
		sum = (sum ^ uint64(topic[i])) * 1099511628211
	}
	sum = (sum ^ sum>>33) * 0xff51afd7ed558ccd // its last characters reach few of the upper bits
	bit := (sum ^ sum>>33) % (64 * nameWords)
	h.names[bit/64] |= 1 << (bit % 64)
}

// NotJSON notes that the payload of a message is not JSON.
func (h *Histogram) NotJSON() { h.other++ }

// Others is how many of the messages are noted as not JSON.
func (h *Histogram) Others() int64 { return h.other }

// Topics is about how many topics the messages had, 0 when that is not known. By
// how many bits are still free it tells how many names there were, as chance has
// it (linear counting).
func (h *Histogram) Topics() int64 {
	const all = 64 * nameWords
	taken := 0
	for _, w := range h.names {
		taken += bits.OnesCount64(w)
	}
	free := max(float64(all-taken), 0.5)
	return int64(math.Round(-all * math.Log(free/all)))
}

// fine is how many cells an octave has: 64 make a cell at most 1.6 % wide, and
// no multiple of 1 KB up to 128 KB lies inside one.
const fine = 64

// index is the cell of a size: sizes up to fine have one each. A power of two is
// the last of its cell, because it is the last that still fits.
func index(size int) uint16 {
	size = max(size, 1) - 1
	if size < fine {
		return uint16(size)
	}
	octave := min(bits.Len(uint(size))-1, 24)
	return uint16(fine + (octave-6)*fine + min(size>>(octave-6)-fine, fine-1))
}

// Add records a message.
func (h *Histogram) Add(payload, topic, rest int, retained bool) {
	h.add(payload+topic+rest, payload, topic, rest, retained)
}

// AddRequest records a message that went over HTTP: its topic stands in the URL
// and is no part of the metered size.
func (h *Histogram) AddRequest(payload, topic, rest int, retained bool) {
	h.add(payload+rest, payload, topic, rest, retained)
}

func (h *Histogram) add(size, payload, topic, rest int, retained bool) {
	c := h.cell(index(size))
	c.Messages++
	c.Payload += int64(payload)
	c.Topic += int64(topic)
	c.Rest += int64(rest)
	if retained {
		c.Retained++
	}
}

func (h *Histogram) cell(at uint16) *Cell {
	if c := h.cells[at]; c != nil {
		return c
	}
	if h.cells == nil {
		h.cells = map[uint16]*Cell{}
	}
	if len(h.cells) >= MaxCells {
		var nearest *Cell
		best := -1
		for i, c := range h.cells {
			if d := max(int(i), int(at)) - min(int(i), int(at)); best < 0 || d < best {
				best, nearest = d, c
			}
		}
		return nearest
	}
	c := &Cell{}
	h.cells[at] = c
	return c
}

// Merge adds what o has recorded.
func (h *Histogram) Merge(o Histogram) {
	for at, c := range o.cells {
		own := h.cell(at)
		own.Messages += c.Messages
		own.Payload += c.Payload
		own.Topic += c.Topic
		own.Rest += c.Rest
		own.Retained += c.Retained
	}
	h.other += o.other
	for i, w := range o.names {
		h.names[i] |= w
	}
}

// Cells are the cells by rising size.
func (h *Histogram) Cells() []Cell {
	out := make([]Cell, 0, len(h.cells))
	for _, at := range slices.Sorted(maps.Keys(h.cells)) {
		out = append(out, *h.cells[at])
	}
	return out
}

// Messages is how many have been recorded.
func (h *Histogram) Messages() (n int64) {
	for _, c := range h.cells {
		n += c.Messages
	}
	return n
}

// version begins what Encode writes; oldVersion, which tells neither topics nor what
// is not JSON, what it wrote before.
const (
	version    = 2
	oldVersion = 1
)

// ErrDamaged says that bytes are not what Encode wrote.
var ErrDamaged = errors.New("sizes: not a histogram")

// Encode writes the histogram.
func (h *Histogram) Encode() []byte {
	out := []byte{version}
	out = h.appendNames(out)
	out = binary.AppendUvarint(out, uint64(h.other))
	for _, at := range slices.Sorted(maps.Keys(h.cells)) {
		c := h.cells[at]
		for _, v := range [...]int64{int64(at), c.Messages, c.Payload, c.Topic, c.Rest, c.Retained} {
			out = binary.AppendUvarint(out, uint64(v))
		}
	}
	return out
}

// Decode reads what Encode wrote, and refuses anything else.
func Decode(in []byte) (Histogram, error) {
	h := Histogram{cells: map[uint16]*Cell{}}
	if len(in) == 0 || in[0] != version && in[0] != oldVersion {
		return Histogram{}, ErrDamaged
	}
	if in[0] == version {
		rest, ok := h.takeNames(in[1:])
		n, used := binary.Uvarint(rest)
		if !ok || used <= 0 || n > 1<<62 {
			return Histogram{}, ErrDamaged
		}
		h.other, in = int64(n), rest[used:]
	} else {
		in = in[1:]
	}
	last := -1
	for len(in) > 0 {
		var v [6]int64
		for i := range v {
			n, used := binary.Uvarint(in)
			if used <= 0 || n > 1<<62 {
				return Histogram{}, ErrDamaged
			}
			v[i], in = int64(n), in[used:]
		}
		if v[0] <= int64(last) || v[0] > 1<<15 || v[1] == 0 || v[5] > v[1] || len(h.cells) >= MaxCells {
			return Histogram{}, ErrDamaged
		}
		last = int(v[0])
		h.cells[uint16(v[0])] = &Cell{v[1], v[2], v[3], v[4], v[5]}
	}
	return h, nil
}

// fewNames is up to how many topics are written by their bits: most histograms have
// few, and are written every minute.
const fewNames = 48

// appendNames writes how many bits are set and which, or all of them.
func (h *Histogram) appendNames(out []byte) []byte {
	var set []int
	for i := range 64 * nameWords {
		if h.names[i/64]>>(i%64)&1 == 1 {
			set = append(set, i)
		}
	}
	out = binary.AppendUvarint(out, uint64(len(set)))
	if len(set) > fewNames {
		for _, w := range h.names {
			out = binary.BigEndian.AppendUint64(out, w)
		}
		return out
	}
	for _, i := range set {
		out = binary.AppendUvarint(out, uint64(i))
	}
	return out
}

// takeNames reads what appendNames wrote.
func (h *Histogram) takeNames(in []byte) (rest []byte, ok bool) {
	n, used := binary.Uvarint(in)
	if used <= 0 {
		return nil, false
	}
	in = in[used:]
	if n > fewNames {
		if len(in) < 8*nameWords {
			return nil, false
		}
		for i := range h.names {
			h.names[i] = binary.BigEndian.Uint64(in[8*i:])
		}
		return in[8*nameWords:], true
	}
	for range n {
		i, used := binary.Uvarint(in)
		if used <= 0 || i >= 64*nameWords {
			return nil, false
		}
		h.names[i/64] |= 1 << (i % 64)
		in = in[used:]
	}
	return in, true
}
