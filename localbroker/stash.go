package localbroker

import "encoding/binary"

// nearMessages is how many deliveries of a queue in memory are held as they are.
const nearMessages = aheadMessages

// stash is the far part of a queue in memory: what waits behind its first
// nearMessages, written down one behind the other in blocks of bytes. As it came,
// each message would hold its packet, its receipt and its delivery, some 1 KB in
// eight pieces, and the garbage collector would walk through a hundred thousand
// of them again and again: a device that reads nothing would slow all the others
// down. A block has no pointers, and the collector does not look into it.
//
// What cannot be written down, because somebody awaits it or because it is on the
// shelf, is kept as it is in a queue beside it, and has its place marked. A
// record is its length, the delivery, and the length again, so that it can be read
// from both ends; a mark has the length 0.
type stash struct {
	blocks  [][]byte
	at      int // blocks[0] has been read up to here
	count   int
	written volume // of what is written down
	whole   fifo   // what is not
	shared  int    // what is written down and goes back to its share group

	// The shared subscriptions that deliveries came by; a delivery has its place
	// in it, from 1.
	vias []*subscription
}

// The sizes of blocks: a queue of little has little set aside for it.
const (
	stashLeast = 4 << 10
	stashMost  = 64 << 10
)

const stashLength = 4 // bytes of a record's length

// push appends a delivery.
func (q *stash) push(d *delivery) {
	b := q.block(d.size)
	start := len(b)
	b = binary.LittleEndian.AppendUint32(b, 0)
	if d.tied() {
		q.whole.push(d)
	} else {
		b = q.appendDelivery(b, d)
		binary.LittleEndian.PutUint32(b[start:], uint32(len(b)-start-stashLength))
		q.written.add(d, 1)
	}
	b = append(b, b[start:start+stashLength]...)
	q.blocks[len(q.blocks)-1] = b
	q.count++
}

// block is the last block, with room for a delivery of that size; it grows if
// that was not enough.
func (q *stash) block(size int) []byte {
	if n := len(q.blocks); n > 0 && cap(q.blocks[n-1])-len(q.blocks[n-1]) >= size {
		return q.blocks[n-1]
	}
	room := max(size, min(max(q.written.bytes, stashLeast), stashMost))
	q.blocks = append(q.blocks, make([]byte, 0, room))
	return q.blocks[len(q.blocks)-1]
}

func (q *stash) appendDelivery(b []byte, d *delivery) []byte {
	b = binary.AppendUvarint(b, d.decidedIn+1) // undecided is 0
	b = binary.AppendUvarint(b, uint64(d.size))
	b = binary.AppendUvarint(b, uint64(d.tries))
	via := 0
	if d.via != nil {
		if n := len(q.vias); n == 0 || q.vias[n-1] != d.via {
			q.vias = append(q.vias, d.via)
		}
		via = len(q.vias)
		q.shared++
	}
	b = binary.AppendUvarint(b, uint64(via))
	return appendKept(b, d)
}

// front takes the first delivery.
func (q *stash) front() *delivery {
	b := q.blocks[0][q.at:]
	n := binary.LittleEndian.Uint32(b)
	var d *delivery
	if n > 0 {
		d = q.read(b[stashLength : stashLength+n])
	} else {
		d = q.whole.front()
		q.whole.pop()
	}
	if q.at += int(n) + 2*stashLength; q.at == len(q.blocks[0]) {
		q.blocks[0] = nil
		q.blocks, q.at = q.blocks[1:], 0
	}
	q.taken()
	return d
}

// back takes the last delivery, unless it is on the shelf: then it is nil.
func (q *stash) back() (d *delivery) {
	last := len(q.blocks) - 1
	b := q.blocks[last]
	end := len(b) - stashLength
	if n := int(binary.LittleEndian.Uint32(b[end:])); n > 0 {
		d = q.read(b[end-n : end])
		b = b[:end-n-stashLength]
	} else {
		if d = q.whole.back(); d.held() {
			return nil
		}
		q.whole.drop()
		b = b[:end-stashLength]
	}
	q.blocks[last] = b
	if len(b) == 0 || last == 0 && len(b) == q.at {
		q.blocks[last] = nil
		q.blocks = q.blocks[:last]
		if last == 0 {
			q.at = 0
		}
	}
	q.taken()
	return d
}

// taken notes that one has left.
func (q *stash) taken() {
	if q.count--; q.count == 0 {
		*q = stash{}
	}
}

// read makes a delivery of what is written down.
func (q *stash) read(record []byte) *delivery {
	r := &reader{b: record}
	decidedIn, size, tries, via := r.number()-1, r.number(), r.number(), r.number()
	d, err := decodeKept(entry{size: uint32(size)}, r.b, nil)
	if r.bad || err != nil {
		panic("localbroker: a queue in memory is damaged") // nobody else writes there
	}
	d.decidedIn, d.tries, d.kept = decidedIn, int(tries), entry{}
	if via > 0 {
		d.via = q.vias[via-1]
		q.shared--
	}
	q.written.add(d, -1)
	return d
}

// empty takes everything out. It returns only what somebody waits for: what is
// not written down, and what goes back to its share group.
func (q *stash) empty() (whole, shared []*delivery) {
	for q.shared > 0 {
		switch d := q.front(); {
		case d.tied():
			whole = append(whole, d)
		case d.via != nil:
			shared = append(shared, d)
		}
	}
	whole = append(whole, q.whole.take()...)
	*q = stash{}
	return whole, shared
}

// tied reports whether somebody beside the queue refers to the delivery.
func (d *delivery) tied() bool { return d.held() || d.await != nil || d.large }

// held reports whether the delivery has a place on the shelf.
func (d *delivery) held() bool { return d.kept.ordinal > 0 || d.from != nil }

// volume is a number of messages and their bytes.
type volume struct{ count, bytes int }

func (v *volume) add(d *delivery, sign int) {
	v.count += sign
	v.bytes += sign * d.size
}
