package bridge

import (
	"encoding/binary"
	"errors"
	"time"
)

// DropEntry is one message in the drop log: accepted, and not delivered to one
// of its receivers.
type DropEntry struct {
	ID       MessageID
	Reason   string
	Queue    string // that held it
	Device   string
	Topic    string
	Detail   string // for a person
	Size     int    // topic and payload
	Accepted time.Time
	Dropped  time.Time
	Synced   bool // the clock was synchronised when it was dropped
}

// What a block of the drop log keeps of texts, in bytes.
const (
	maxDropTopic  = 256
	maxDropDevice = 128
	maxDropDetail = 256
)

// A block is what one batch notes: blockVersion, then its entries. An entry is
//
//	1 flags
//	id: 16 bytes, or with flagNear the varint distance of its second half from
//	    that of the entry before, whose first half is the same
//	varint dropped and varint accepted, in ms, after those of the entry before
//	uvarint size
//	reason, queue, device, topic, detail: words
//
// A word is uvarint 0 and a string when it is new in the block, else its number
// there; number 1 is the empty one. Messages that are dropped together have much
// in common: an entry takes some 15 to 30 bytes.
const blockVersion = 1

const (
	flagSynced = 1 << iota
	flagNear
)

// blockWriter appends entries to a block.
type blockWriter struct {
	words map[string]uint64
	prev  DropEntry
}

func (w *blockWriter) append(b []byte, e *DropEntry) []byte {
	if len(b) == 0 {
		b = append(b, blockVersion)
		w.words, w.prev = map[string]uint64{"": 1}, DropEntry{}
	}
	near := len(b) > 1 && [8]byte(e.ID[:8]) == [8]byte(w.prev.ID[:8])
	var flags byte
	if e.Synced {
		flags |= flagSynced
	}
	if near {
		flags |= flagNear
		b = binary.AppendVarint(append(b, flags), e.ID.counter()-w.prev.ID.counter())
	} else {
		b = append(append(b, flags), e.ID[:]...)
	}
	b = binary.AppendVarint(b, milli(e.Dropped)-milli(w.prev.Dropped))
	b = binary.AppendVarint(b, milli(e.Accepted)-milli(w.prev.Accepted))
	b = binary.AppendUvarint(b, uint64(e.Size))
	for _, word := range [...]string{e.Reason, e.Queue, e.Device, e.Topic, e.Detail} {
		b = w.word(b, word)
	}
	w.prev = *e
	return b
}

func (w *blockWriter) word(b []byte, s string) []byte {
	if n := w.words[s]; n > 0 {
		return binary.AppendUvarint(b, n)
	}
	w.words[s] = uint64(len(w.words)) + 1
	b = binary.AppendUvarint(append(b, 0), uint64(len(s)))
	return append(b, s...)
}

// milli is 0 for the zero time, so that it comes back as such.
func milli(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMilli()
}

func fromMilli(n int64) time.Time {
	if n == 0 {
		return time.Time{}
	}
	return time.UnixMilli(n).UTC()
}

func (id MessageID) counter() int64 { return int64(binary.BigEndian.Uint64(id[8:])) }

// blockReader reads the entries of a block.
type blockReader struct {
	b     []byte
	words []string
	prev  DropEntry
	err   error
}

var errBlock = errors.New("a block of the drop log cannot be read")

// eachInBlock calls fn for the entries of a block until it returns false. A
// damaged block ends where the damage is.
func eachInBlock(b []byte, fn func(*DropEntry) bool) (more bool, err error) {
	if len(b) == 0 || b[0] != blockVersion {
		return true, errBlock
	}
	r := blockReader{b: b[1:], words: []string{"", ""}}
	for len(r.b) > 0 {
		e := r.entry()
		if r.err != nil {
			return true, r.err
		}
		if !fn(&e) {
			return false, nil
		}
	}
	return true, nil
}

func (r *blockReader) entry() DropEntry {
	flags := r.take(1)
	if r.err != nil {
		return DropEntry{}
	}
	e := DropEntry{Synced: flags[0]&flagSynced != 0}
	if flags[0]&flagNear != 0 {
		e.ID = r.prev.ID
		binary.BigEndian.PutUint64(e.ID[8:], uint64(r.prev.ID.counter()+r.varint()))
	} else {
		copy(e.ID[:], r.take(len(e.ID)))
	}
	e.Dropped = fromMilli(milli(r.prev.Dropped) + r.varint())
	e.Accepted = fromMilli(milli(r.prev.Accepted) + r.varint())
	e.Size = int(r.uvarint())
	for _, word := range [...]*string{&e.Reason, &e.Queue, &e.Device, &e.Topic, &e.Detail} {
		*word = r.word()
	}
	r.prev = e
	return e
}

func (r *blockReader) word() string {
	n := r.uvarint()
	if n == 0 {
		text := string(r.take(r.length()))
		r.words = append(r.words, text)
		return text
	}
	if n >= uint64(len(r.words)) {
		r.fail()
		return ""
	}
	return r.words[n]
}

func (r *blockReader) fail() { r.b, r.err = nil, errBlock }

func (r *blockReader) take(n int) []byte {
	if n > len(r.b) {
		r.fail()
		return nil
	}
	out := r.b[:n]
	r.b = r.b[n:]
	return out
}

func (r *blockReader) uvarint() uint64 {
	v, n := binary.Uvarint(r.b)
	if n <= 0 {
		r.fail()
		return 0
	}
	r.b = r.b[n:]
	return v
}

func (r *blockReader) varint() int64 {
	v, n := binary.Varint(r.b)
	if n <= 0 {
		r.fail()
		return 0
	}
	r.b = r.b[n:]
	return v
}
