package spool

import (
	"encoding/binary"
	"fmt"
	"time"

	"github.com/ebbgate/ebbgate/bridge"
)

// The flags of an encoded record, see FORMAT.md.
const (
	flagRetain = 1 << iota
	flagExpiry
	flagProps // content type, response topic, correlation data, user properties follow
	flagSynced
	flagText    // payload format indicator 1
	flagOwnBoot // the message id begins with the boot id, and only its counter follows
)

// The flags of an encoded receiver.
const (
	recvRetain = 1 << 4
	recvTopic  = 1 << 5 // its topic differs from the message's
)

// place says where one receiver of a record finds it: the index of its queue
// in the commit's table and the place, counted from the commit's first.
type place struct {
	queue int
	delta uint64
}

// appendRecord encodes a record that is delta after the commit's first
// sequence; places is parallel to r.Receivers. The receivers come first, so
// that a cursor can pass over what is not its own without decoding it.
func appendRecord(b []byte, r *bridge.Record, delta uint64, places []place) []byte {
	b = binary.AppendUvarint(b, delta)
	b = binary.AppendUvarint(b, uint64(len(r.Receivers)))
	for i := range r.Receivers {
		b = appendReceiver(b, &r.Receivers[i], places[i], r.Message.Topic)
	}
	var flags byte
	set := func(cond bool, f byte) {
		if cond {
			flags |= f
		}
	}
	p := &r.Properties
	hasProps := p.ContentType != "" || p.ResponseTopic != "" || len(p.CorrelationData) > 0 || len(p.User) > 0
	ownBoot := binary.BigEndian.Uint64(r.ID[:8]) == r.Boot
	set(r.Message.Retain, flagRetain)
	set(p.HasExpiry, flagExpiry)
	set(hasProps, flagProps)
	set(r.Synced, flagSynced)
	set(p.PayloadFormat == 1, flagText)
	set(ownBoot, flagOwnBoot)
	b = append(b, flags, r.Message.QoS, r.Hops)
	b = binary.BigEndian.AppendUint64(b, r.Boot)
	if ownBoot {
		b = binary.AppendUvarint(b, binary.BigEndian.Uint64(r.ID[8:]))
	} else {
		b = append(b, r.ID[:]...)
	}
	b = binary.AppendVarint(b, r.Wall.UnixNano())
	b = binary.AppendVarint(b, int64(r.Mono))
	b = binary.AppendVarint(b, int64(r.Age))
	b = appendString(b, r.Device)
	b = appendString(b, r.Thing)
	b = appendString(b, r.Message.Topic)
	if p.HasExpiry {
		b = binary.AppendUvarint(b, uint64(p.Expiry))
	}
	if hasProps {
		b = appendString(b, p.ContentType)
		b = appendString(b, p.ResponseTopic)
		b = appendString(b, string(p.CorrelationData))
		b = binary.AppendUvarint(b, uint64(len(p.User)))
		for _, u := range p.User {
			b = appendString(appendString(b, u.Key), u.Value)
		}
	}
	b = binary.AppendUvarint(b, uint64(len(r.Payload)))
	return append(b, r.Payload...)
}

func appendReceiver(b []byte, v *bridge.Receiver, at place, topic string) []byte {
	flags := v.QoS&3 | byte(v.Origin&3)<<2
	if v.Retain {
		flags |= recvRetain
	}
	if v.Topic != topic {
		flags |= recvTopic
	}
	b = binary.AppendUvarint(b, uint64(at.queue))
	b = binary.AppendUvarint(b, at.delta)
	b = append(b, flags)
	b = binary.AppendUvarint(b, uint64(v.TTL))
	if v.Topic != topic {
		b = appendString(b, v.Topic)
	}
	return b
}

func appendString(b []byte, s string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

// stored is a decoded record with where it stands.
type stored struct {
	*bridge.Record
	seq    bridge.Seq
	places []bridge.Place // parallel to Receivers
	out    bridge.Stored  // room for what a cursor makes of it
}

// single is a record with one receiver, as nearly all are, in one piece of
// memory.
type single struct {
	stored
	record   bridge.Record
	receiver [1]bridge.Receiver
	place    [1]bridge.Place
}

// decodeRecord decodes what appendRecord made into the commit that h
// describes. With a queue other than "" it returns nil for a record that the
// queue does not receive. The record shares no memory with b. Damage is an
// error, never a panic.
func decodeRecord(b []byte, h *commitHeader, queue string) (*stored, error) {
	d := decoder{b: b}
	whole := new(single)
	out, r := &whole.stored, &whole.record
	out.Record, out.seq = r, h.first+bridge.Seq(d.uvarint())
	wanted := queue == ""
	n := d.count(4)
	switch n {
	case 0:
	case 1:
		r.Receivers, out.places = whole.receiver[:], whole.place[:]
	default:
		r.Receivers, out.places = make([]bridge.Receiver, n), make([]bridge.Place, n)
	}
	var few [4]bool
	ownTopic := few[:min(n, len(few))]
	if n > len(few) {
		ownTopic = make([]bool, n)
	}
	for i := range r.Receivers {
		out.places[i], ownTopic[i] = d.receiver(&r.Receivers[i], h)
		wanted = wanted || r.Receivers[i].Queue == queue
	}
	if d.err != nil {
		return nil, d.err
	}
	if !wanted {
		return nil, nil
	}
	flags := d.byte()
	r.Message.QoS, r.Hops = d.byte(), d.byte()
	r.Message.Retain = flags&flagRetain != 0
	r.Synced = flags&flagSynced != 0
	if flags&flagText != 0 {
		r.PayloadFormat = 1
	}
	r.Boot = d.uint64()
	if flags&flagOwnBoot != 0 {
		binary.BigEndian.PutUint64(r.ID[:8], r.Boot)
		binary.BigEndian.PutUint64(r.ID[8:], d.uvarint())
	} else {
		copy(r.ID[:], d.take(16))
	}
	r.Wall = time.Unix(0, d.varint())
	r.Mono, r.Age = time.Duration(d.varint()), time.Duration(d.varint())
	r.Device, r.Thing, r.Message.Topic = d.string(), d.string(), d.string()
	if flags&flagExpiry != 0 {
		r.HasExpiry, r.Expiry = true, uint32(d.uvarint())
	}
	if flags&flagProps != 0 {
		r.ContentType, r.ResponseTopic = d.string(), d.string()
		r.CorrelationData = d.bytes()
		if n := d.count(2); n > 0 {
			r.User = make([]bridge.UserProperty, n)
			for i := range r.User {
				r.User[i] = bridge.UserProperty{Key: d.string(), Value: d.string()}
			}
		}
	}
	r.Payload = d.bytes()
	for i := range r.Receivers {
		if !ownTopic[i] {
			r.Receivers[i].Topic = r.Message.Topic
		}
	}
	if d.err == nil && len(d.b) > 0 {
		d.fail("bytes after the end")
	}
	return out, d.err
}

func (d *decoder) receiver(v *bridge.Receiver, h *commitHeader) (at bridge.Place, ownTopic bool) {
	i, delta := d.uvarint(), d.uvarint()
	if d.err == nil && i >= uint64(len(h.table)) {
		d.fail("queue index outside the commit's table")
	}
	flags := d.byte()
	v.TTL = time.Duration(d.uvarint())
	if flags&recvTopic != 0 {
		v.Topic, ownTopic = d.string(), true
	}
	if d.err != nil {
		return 0, false
	}
	v.Queue = h.table[i].name
	v.QoS, v.Origin, v.Retain = flags&3, bridge.OriginMode(flags>>2&3), flags&recvRetain != 0
	return h.table[i].first + bridge.Place(delta), ownTopic
}

// decoder reads fields off b until the first error, which it keeps.
type decoder struct {
	b   []byte
	err error
}

func (d *decoder) fail(text string) {
	if d.err == nil {
		d.err = bridge.Errorf("decode", bridge.Corrupt, "%s", text)
	}
	d.b = nil
}

func (d *decoder) take(n int) []byte {
	if n < 0 || n > len(d.b) {
		d.fail(fmt.Sprintf("cut short: %d bytes wanted, %d left", n, len(d.b)))
		return nil
	}
	out := d.b[:n]
	d.b = d.b[n:]
	return out
}

func (d *decoder) byte() byte {
	if b := d.take(1); b != nil {
		return b[0]
	}
	return 0
}

func (d *decoder) uint64() uint64 {
	if b := d.take(8); b != nil {
		return binary.BigEndian.Uint64(b)
	}
	return 0
}

func (d *decoder) uvarint() uint64 {
	v, n := binary.Uvarint(d.b)
	if n <= 0 {
		d.fail("bad varint")
		return 0
	}
	d.b = d.b[n:]
	return v
}

func (d *decoder) varint() int64 {
	v, n := binary.Varint(d.b)
	if n <= 0 {
		d.fail("bad varint")
		return 0
	}
	d.b = d.b[n:]
	return v
}

// count reads a number of items of at least size bytes each, so that a damaged
// count cannot ask for more memory than there are bytes.
func (d *decoder) count(size int) int {
	n := d.uvarint()
	if n > uint64(len(d.b)/size) {
		d.fail("count larger than what follows")
		return 0
	}
	return int(n)
}

func (d *decoder) string() string { return string(d.take(d.count(1))) }

func (d *decoder) bytes() []byte {
	b := d.take(d.count(1))
	if len(b) == 0 {
		return nil
	}
	return append([]byte(nil), b...)
}
