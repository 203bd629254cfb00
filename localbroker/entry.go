package localbroker

import (
	"cmp"
	"encoding/binary"
	"time"

	"github.com/ebbgate/ebbgate/bridge"
)

// entry is one message kept for one owner, a session or a share group. Its key
// holds all that a start needs, so that a start reads no value.
type entry struct {
	owner   uint64
	ordinal uint64 // place in the owner's queue, from 1; 0: the message is not kept
	body    uint64 // number of the shared body; 0: the message is in the entry's value
	size    uint32 // what it counts in the bounds of queues
	expires uint32 // see expiryOf; 0: never, or its value tells
}

// The sizes of keys, without and with an expiry.
const (
	entrySize   = 8 + 8 + 8 + 4
	entryLarger = entrySize + 4
)

func (e entry) key() string {
	b := make([]byte, 0, entryLarger)
	b = binary.BigEndian.AppendUint64(b, e.owner)
	b = binary.BigEndian.AppendUint64(b, e.ordinal)
	b = binary.BigEndian.AppendUint64(b, e.body)
	b = binary.BigEndian.AppendUint32(b, e.size)
	if e.expires > 0 {
		b = binary.BigEndian.AppendUint32(b, e.expires)
	}
	return string(b)
}

func parseEntry(key string) (e entry, ok bool) {
	if len(key) != entrySize && len(key) != entryLarger {
		return e, false
	}
	b := []byte(key)
	e.owner, e.ordinal = binary.BigEndian.Uint64(b), binary.BigEndian.Uint64(b[8:])
	e.body, e.size = binary.BigEndian.Uint64(b[16:]), binary.BigEndian.Uint32(b[24:])
	if len(b) == entryLarger {
		e.expires = binary.BigEndian.Uint32(b[entrySize:])
	}
	return e, e.ordinal > 0
}

// Queues are read in blocks of ordinals that share a prefix: the place to begin
// is found without passing over what was read and forgotten before it.
const blockSize = 256

// blockPrefix is the prefix of the keys of the block that holds an ordinal.
func blockPrefix(owner, ordinal uint64) string {
	b := binary.BigEndian.AppendUint64(nil, owner)
	return string(binary.BigEndian.AppendUint64(b, ordinal)[:15])
}

// entryPrefix is the prefix of one entry's key.
func entryPrefix(owner, ordinal uint64) string {
	b := binary.BigEndian.AppendUint64(nil, owner)
	return string(binary.BigEndian.AppendUint64(b, ordinal))
}

// ownerPrefix is the prefix of an owner's keys.
func ownerPrefix(owner uint64) string { return bodyKey(owner) }

// The flags of an entry's value.
const (
	keptRetain = 1 << iota
	keptShared
	keptOwn      // the message follows
	keptExpires  // an expiry of its own follows
	keptReleased // PUBREC has come: nothing else counts
)

// encodeKept is the value of a delivery's entry.
func encodeKept(d *delivery) []byte {
	size := 26 + len(d.share) + 3*len(d.identifiers)
	if d.kept.body == 0 {
		size += d.msg.MeteredSize() + 32
	}
	return appendKept(make([]byte, 0, size), d)
}

// appendKept appends it.
func appendKept(b []byte, d *delivery) []byte {
	flags := byte(0)
	if d.kept.body == 0 {
		flags |= keptOwn
	}
	if d.retain {
		flags |= keptRetain
	}
	if d.shared {
		flags |= keptShared
	}
	if d.shortened {
		flags |= keptExpires
	}
	b = append(b, codecVersion, flags, d.qos)
	b = appendText(b, d.share)
	b = binary.AppendUvarint(b, uint64(len(d.identifiers)))
	for _, n := range d.identifiers {
		b = binary.AppendUvarint(b, uint64(n))
	}
	if d.shortened {
		b = binary.AppendUvarint(b, uint64(d.expires))
	}
	if d.kept.body == 0 {
		b = appendMessage(b, d.msg, d.expires)
	}
	return b
}

// encodeReleased is the value of a QoS 2 delivery's entry once PUBREC has come.
func encodeReleased() []byte { return []byte{codecVersion, keptReleased, 2, 0, 0} }

// decodeKept makes the delivery of an entry; body finds the shared message. It
// is nil without an error when that is gone.
func decodeKept(e entry, value []byte, body func(uint64) ([]byte, error)) (*delivery, error) {
	r := &reader{b: value}
	r.bad = r.byte() != codecVersion
	flags := r.byte()
	d := &delivery{kept: e, qos: r.byte(), size: int(e.size), decidedIn: undecided}
	d.retain, d.shared = flags&keptRetain != 0, flags&keptShared != 0
	d.share = r.text()
	for range r.count() {
		d.identifiers = append(d.identifiers, int(r.number()))
	}
	var own time.Duration
	if d.shortened = flags&keptExpires != 0; d.shortened {
		own = r.duration()
	}
	if d.released = flags&keptReleased != 0; d.released {
		return d, r.err()
	}
	if flags&keptOwn != 0 {
		d.msg, d.expires = r.message()
		d.expires = cmp.Or(own, d.expires)
		return d, r.err()
	}
	if err := r.err(); err != nil {
		return nil, err
	}
	b, err := body(e.body)
	if b == nil || err != nil {
		return nil, err
	}
	d.msg, d.expires, _, err = decodeMessage(b)
	d.expires = cmp.Or(own, d.expires)
	return d, err
}

// bodyOf encodes what several entries share.
func bodyOf(m *bridge.Message, expires time.Duration) []byte {
	return encodeMessage(m, expires, time.Time{})
}
