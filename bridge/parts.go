package bridge

import (
	"encoding/binary"
	"math/bits"
	"slices"
	"time"
)

// The namespaces in which a [DropLog] keeps what records were made a part of. What
// one commit of a shaper consumes is one block.
const (
	nsParts         = "parts"
	nsPartsChapters = "parts-chapters"
)

// PartOf tells what a record was made a part of, or which step has kept it back.
type PartOf struct {
	Member  MessageID
	Product MessageID     // the message that it is in; zero when a step kept it back
	Step    string        // which, then
	Queue   string        // of the route's products
	When    time.Time     // it was consumed
	Synced  bool          // the clock was synchronised then
	Age     time.Duration // of the spool then
}

// A block of parts is partsVersion, 1 flags (flagSynced), varint when in ms, varint
// age in ms, the queue, and then for each product
//
//	its id, or that of nothing and the step's name
//	uvarint n, n × id of a member
//
// An id whose first half is that of the id before is uvarint 1 + the zigzag
// distance of their second halves, else uvarint 0 and 16 bytes. The id of nothing
// is zeros. Texts are uvarint length and bytes. A member takes a byte or two.
const partsVersion = 1

// into is what one commit made of the members.
type into struct {
	product MessageID
	step    string
	members []MessageID
}

// notePart gathers what a product was made of. A message that goes on as it is, under
// its own id, is no part of anything.
func notePart(all []into, p *Product) []into {
	x := into{product: p.Into, step: p.Step}
	switch {
	case len(p.Records) > 0:
		if x.step = ""; x.product == (MessageID{}) {
			x.product = p.Records[0].ID
		}
		if x.product == (MessageID{}) || len(p.Members) == 1 && p.Members[0].ID == x.product {
			return all
		}
	case p.Step == "" || p.Reason != "":
		return all // it is in the drop log
	default:
		x.product = MessageID{}
	}
	if i := slices.IndexFunc(all, func(o into) bool { return o.step == x.step }); x.step != "" && i >= 0 {
		all[i].add(p.Members)
		return all
	}
	x.add(p.Members)
	return append(all, x)
}

func (x *into) add(members []Member) {
	for _, m := range members {
		if m.ID != (MessageID{}) {
			x.members = append(x.members, m.ID)
		}
	}
}

// noteParts records in b, which releases the members, what they are a part of.
func (l *DropLog) noteParts(b *Batch, queue string, all []into) {
	if l.parts == nil {
		return
	}
	n := int64(0)
	for _, x := range all {
		n += int64(len(x.members))
	}
	if n == 0 {
		return
	}
	p := l.parts.begin(b)
	block := encodeParts(queue, l.book.now(), all)
	b.Puts[p.put].Value = block
	l.parts.grew(b, p, n, int64(len(block)))
}

func encodeParts(queue string, now Instant, all []into) []byte {
	b := []byte{partsVersion, 0}
	if now.Synced {
		b[1] = flagSynced
	}
	b = binary.AppendVarint(b, milli(now.Wall))
	b = binary.AppendVarint(b, now.Age.Milliseconds())
	text := func(s string) { b = append(binary.AppendUvarint(b, uint64(len(s))), s...) }
	text(queue)
	var prev MessageID
	id := func(x MessageID) {
		if n := distance(x, prev); n > 0 {
			b = binary.AppendUvarint(b, n)
		} else {
			b = append(append(b, 0), x[:]...)
		}
		prev = x
	}
	for _, x := range all {
		id(x.product)
		if x.product == (MessageID{}) {
			text(x.step)
		}
		b = binary.AppendUvarint(b, uint64(len(x.members)))
		for _, m := range x.members {
			id(m)
		}
	}
	return b
}

// distance is how an id is told after another, 0 when it is written out.
func distance(x, prev MessageID) uint64 {
	if [8]byte(x[:8]) != [8]byte(prev[:8]) {
		return 0
	}
	n := x.counter() - prev.counter()
	return (uint64(n<<1) ^ uint64(n>>63)) + 1 // 0 for the furthest of all, too
}

// idBytes is what an id takes in a block after another.
func idBytes(x, prev MessageID) int {
	if n := distance(x, prev); n > 0 {
		return (bits.Len64(n) + 6) / 7
	}
	return 1 + len(x)
}

// Parts calls fn for what records were made a part of, the last million of seven
// days, in the order in which it was done, until fn returns false.
func (l *DropLog) Parts(fn func(*PartOf) bool) error {
	if l.parts == nil {
		return nil
	}
	return scanBlocks(l.parts.spool, nsParts, func(block []byte) (bool, error) { return eachPart(block, fn) })
}

// DropsReach is the age of the spool from which on the drop log is complete.
func (l *DropLog) DropsReach() time.Duration { return l.book.reaches() }

// eachPart reads a block. A damaged one ends where the damage is.
func eachPart(b []byte, fn func(*PartOf) bool) (more bool, err error) {
	if len(b) < 2 || b[0] != partsVersion {
		return true, errBlock
	}
	r := blockReader{b: b[2:]}
	p := PartOf{Synced: b[1]&flagSynced != 0, When: fromMilli(r.varint()), Age: time.Duration(r.varint()) * time.Millisecond}
	p.Queue = string(r.take(r.length()))
	var prev MessageID
	id := func() MessageID {
		if n := r.uvarint(); n > 0 {
			n--
			binary.BigEndian.PutUint64(prev[8:], uint64(prev.counter()+(int64(n>>1)^-int64(n&1))))
		} else {
			copy(prev[:], r.take(len(prev)))
		}
		return prev
	}
	for len(r.b) > 0 {
		if p.Product, p.Step = id(), ""; p.Product == (MessageID{}) {
			p.Step = string(r.take(r.length()))
		}
		for n := r.length(); n > 0 && r.err == nil; n-- {
			if p.Member = id(); r.err == nil && !fn(&p) {
				return false, nil
			}
		}
	}
	return true, r.err
}

// length is a length that what is left can hold.
func (r *blockReader) length() int {
	n := r.uvarint()
	if n > uint64(len(r.b)) {
		r.fail()
		return 0
	}
	return int(n)
}
