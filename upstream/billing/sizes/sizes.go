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
	names names // of topics
	other int64 // messages whose payload is not JSON

	// Of the devices' own user properties, once there are some.
	own     int64 // messages that have some
	changes int64 // messages that have others than the one before them
	pairs   names // of topics with what their messages have
}

// names are a bit for each name, by its hash.
type names [nameWords]uint64

// nameWords are 1,024 bits: they tell some 4,000 topics apart, to a few percent.
const (
	nameWords = 16
	nameBits  = 64 * nameWords
)

// Named notes the topic of a message: messages of one topic can share a batch.
func (h *Histogram) Named(topic string) { h.names.add(Hash(0, topic)) }

// Owned notes the user properties that a device has given a message, by their hash, 0 for
// none. changes is how many messages it stands for that have others than the message before
// of their device to their topic. It is for all messages from the first on that has some.
func (h *Histogram) Owned(topic string, properties uint64, changes int64) {
	if properties != 0 {
		h.own++
	}
	h.changes += changes
	h.pairs.add(Hash(properties, topic))
}

// Hash goes on with a hash, 0 at first, the same at each start: what is written goes on.
func Hash(sum uint64, text string) uint64 {
	sum ^= 14695981039346656037 // FNV-1a
	for i := range len(text) {
		sum = (sum ^ uint64(text[i])) * 1099511628211
	}
	return sum
}

func (n *names) add(sum uint64) {
	sum = (sum ^ sum>>33) * 0xff51afd7ed558ccd // its last characters reach few of the upper bits
	bit := (sum ^ sum>>33) % nameBits
	n[bit/64] |= 1 << (bit % 64)
}

func (n *names) merge(o names) {
	for i, w := range o {
		n[i] |= w
	}
}

// NotJSON notes that the payload of a message is not JSON.
func (h *Histogram) NotJSON() { h.other++ }

// Others is how many of the messages are noted as not JSON.
func (h *Histogram) Others() int64 { return h.other }

// Own is how many of the messages have user properties of their devices, and changes of how
// many they are others than those of the message before, of one device to one topic.
func (h *Histogram) Own() (n, changes int64) { return h.own, min(h.changes, h.Messages()) }

// Topics is about how many topics the messages had, 0 when that is not known.
func (h *Histogram) Topics() int64 { return h.names.count() }

// TopicsAtMost is how many topics there were at the most, as far as chance can be told from
// that (three deviations of the count). It is 0 when that is not known, and without a bound
// where there were more than are told apart.
func (h *Histogram) TopicsAtMost() float64 { return h.names.atMost() }

// MayShareTopics reports whether messages of both may have had the same topics.
func (h *Histogram) MayShareTopics(o *Histogram) bool {
	for i, w := range h.names {
		if w&o.names[i] != 0 {
			return true
		}
	}
	return false
}

// Alike is about how many kinds of messages there were that can share a batch without
// envelopes: of one topic, with the same user properties. It is 0 when that is not known.
func (h *Histogram) Alike() int64 { return max(h.names.count(), h.pairs.count()) }

// count tells by how many bits are still free how many names there were, as chance has it
// (linear counting).
func (n *names) count() int64 {
	free := max(float64(n.free()), 0.5)
	return int64(math.Round(-nameBits * math.Log(free/nameBits)))
}

// atMost is the count with its error: n names in m bits are told with a deviation of
// √(m·(e^(n/m) - n/m - 1)). One is one.
func (n *names) atMost() float64 {
	free := n.free()
	switch {
	case free == 0:
		return math.Inf(1)
	case free >= nameBits-1:
		return float64(nameBits - free)
	}
	told := -math.Log(float64(free) / nameBits)
	deviation := math.Sqrt(nameBits * (math.Exp(told) - told - 1))
	return nameBits*told + 3*deviation + min(2.5*deviation, 1) // of few, names that share a bit come one by one
}

// free is how many bits nothing has set.
func (n *names) free() int {
	taken := 0
	for _, w := range n {
		taken += bits.OnesCount64(w)
	}
	return nameBits - taken
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

// Put adds the messages of a cell, by their size on average.
func (h *Histogram) Put(c Cell) {
	if c.Messages > 0 {
		h.cell(index(int((c.Payload + c.Topic + c.Rest) / c.Messages))).add(c)
	}
}

func (c *Cell) add(o Cell) {
	c.Messages += o.Messages
	c.Payload += o.Payload
	c.Topic += o.Topic
	c.Rest += o.Rest
	c.Retained += o.Retained
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
		h.cell(at).add(*c)
	}
	h.other += o.other
	h.own += o.own
	h.changes += o.changes
	h.names.merge(o.names)
	h.pairs.merge(o.pairs)
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

// What Encode writes begins with a version: owned where there are user properties of
// devices, plain where there are none, as before they were told. oldVersion tells neither
// topics nor what is not JSON.
const (
	owned      = 3
	plain      = 2
	oldVersion = 1
)

// ErrDamaged says that bytes are not what Encode wrote.
var ErrDamaged = errors.New("sizes: not a histogram")

// Encode writes the histogram.
func (h *Histogram) Encode() []byte {
	out := []byte{plain}
	if h.own > 0 {
		out[0] = owned
	}
	out = h.names.append(out)
	if out = binary.AppendUvarint(out, uint64(h.other)); h.own > 0 {
		out = binary.AppendUvarint(binary.AppendUvarint(out, uint64(h.own)), uint64(h.changes))
		out = h.pairs.append(out)
	}
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
	if len(in) == 0 || in[0] < oldVersion || in[0] > owned {
		return Histogram{}, ErrDamaged
	}
	version := in[0]
	in = in[1:]
	ok := true
	number := func(n *int64) {
		v, used := binary.Uvarint(in)
		if ok = ok && used > 0 && v <= 1<<62; ok {
			*n, in = int64(v), in[used:]
		}
	}
	if version >= plain {
		in, ok = h.names.take(in)
		number(&h.other)
	}
	if version == owned {
		number(&h.own)
		number(&h.changes)
		if ok {
			in, ok = h.pairs.take(in)
		}
	}
	if !ok || version == owned && h.own == 0 {
		return Histogram{}, ErrDamaged
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

// append writes how many bits are set and which, or all of them.
func (n *names) append(out []byte) []byte {
	var set []int
	for i := range nameBits {
		if n[i/64]>>(i%64)&1 == 1 {
			set = append(set, i)
		}
	}
	out = binary.AppendUvarint(out, uint64(len(set)))
	if len(set) > fewNames {
		for _, w := range n {
			out = binary.BigEndian.AppendUint64(out, w)
		}
		return out
	}
	for _, i := range set {
		out = binary.AppendUvarint(out, uint64(i))
	}
	return out
}

// take reads what append wrote.
func (n *names) take(in []byte) (rest []byte, ok bool) {
	bits, used := binary.Uvarint(in)
	if used <= 0 {
		return nil, false
	}
	in = in[used:]
	if bits > fewNames {
		if len(in) < 8*nameWords {
			return nil, false
		}
		for i := range n {
			n[i] = binary.BigEndian.Uint64(in[8*i:])
		}
		return in[8*nameWords:], true
	}
	for range bits {
		i, used := binary.Uvarint(in)
		if used <= 0 || i >= nameBits {
			return nil, false
		}
		n[i/64] |= 1 << (i % 64)
		in = in[used:]
	}
	return in, true
}
