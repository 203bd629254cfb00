package shape

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"slices"

	"github.com/ebbgate/ebbgate/bridge"
)

// A payload that is too large for the upstream goes in parts. Each begins with
// what is needed to put them together, so that no property has to survive:
//
//	"EBBP" 1 | id, 16 bytes | CRC32C of the whole, 4 bytes |
//	index, count, bytes of the whole: varints | content type, encoding: texts after their lengths as varints | data

// typePart is the content type of a part.
const typePart = "application/x-ebb-part"

const partMagic = "EBBP\x01"

// maxParts bounds the parts of one payload.
const maxParts = 4096

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// part is the beginning of a part, and its data.
type part struct {
	id          bridge.MessageID
	sum         uint32
	index       int
	count       int
	whole       int
	contentType string
	encoding    string
	data        []byte
}

func (p *part) encode() []byte {
	out := append([]byte(partMagic), p.id[:]...)
	out = binary.BigEndian.AppendUint32(out, p.sum)
	for _, n := range []int{p.index, p.count, p.whole} {
		out = binary.AppendUvarint(out, uint64(n))
	}
	for _, text := range []string{p.contentType, p.encoding} {
		out = binary.AppendUvarint(out, uint64(len(text)))
		out = append(out, text...)
	}
	return append(out, p.data...)
}

var errPart = errors.New("a part of a message whose beginning is damaged")

// parsePart reads a part; ok is false when it is none.
func parsePart(b []byte) (p *part, ok bool, err error) {
	if len(b) < len(partMagic) || string(b[:len(partMagic)]) != partMagic {
		return nil, false, nil
	}
	b = b[len(partMagic):]
	p = &part{}
	if len(b) < len(p.id)+4 {
		return nil, true, errPart
	}
	b = b[copy(p.id[:], b):]
	p.sum, b = binary.BigEndian.Uint32(b), b[4:]
	for _, n := range []*int{&p.index, &p.count, &p.whole} {
		v, used := binary.Uvarint(b)
		if used <= 0 || v > 1<<30 {
			return nil, true, errPart
		}
		*n, b = int(v), b[used:]
	}
	for _, text := range []*string{&p.contentType, &p.encoding} {
		v, used := binary.Uvarint(b)
		if used <= 0 || v > uint64(len(b)-used) {
			return nil, true, errPart
		}
		*text, b = string(b[used:used+int(v)]), b[used+int(v):]
	}
	if p.data = b; p.count > maxParts || p.index >= p.count || len(b) > p.whole {
		return nil, true, errPart
	}
	return p, true, nil
}

// parts cuts a record whose payload is above limit bytes into several. The first
// has the id and the properties of the whole; the ids of the others are derived
// from it, and no message of a device has such a one: its counter is not that high.
func parts(rec *bridge.Record, limit int) []*bridge.Record {
	to := &rec.Receivers[0]
	if to.Origin == bridge.OriginEnvelope {
		rec.Payload, rec.ContentType = bridge.Envelope(&bridge.Stored{Record: rec, Receiver: to}, false), typeJSON
		to.Origin = bridge.OriginNone
	}
	p := part{
		id: rec.ID, sum: crc32.Checksum(rec.Payload, castagnoli), count: maxParts, whole: len(rec.Payload),
		contentType: rec.ContentType,
	}
	p.encoding, _ = rec.UserValue(PropEncoding)
	room := limit - len(p.encode())
	if room < minPart {
		return []*bridge.Record{rec} // its content type is longer than a part
	}
	if p.count = (len(rec.Payload) + room - 1) / room; p.count > maxParts {
		return []*bridge.Record{rec}
	}
	out := make([]*bridge.Record, p.count)
	for i := range out {
		one := *rec
		p.index, p.data = i, rec.Payload[i*room:min((i+1)*room, len(rec.Payload))]
		one.Payload = p.encode()
		if i > 0 {
			one.Properties = bridge.Properties{HasExpiry: rec.HasExpiry, Expiry: rec.Expiry}
			one.ID[8], one.ID[9] = one.ID[8]|0x80|byte(i>>8), byte(i)
		}
		one.ContentType, one.PayloadFormat = typePart, 0
		out[i] = &one
	}
	return out
}

// minPart is the least data that makes a part worth while.
const minPart = 256

func (v *validation) split(size bridge.Size, r Around) {
	if size < minSplit || size > maxPayload {
		v.add("split", size.String()+" is out of range", "write 0 or a size from 1KiB to 128KiB, which is the most that AWS takes")
	}
	if r.Retain {
		v.add("split", "cuts messages whose retain flag is kept: only the last part would be retained", "write retain: clear, or give retained messages a route of their own")
	}
}

const minSplit = 1 << 10

// maxDivert is the largest payload that a listener takes, which a record of the spool
// can hold: above it there is nothing to divert.
const maxDivert = 1792 << 10

func (v *validation) divert(o Options) {
	switch {
	case o.Divert < minSplit || o.Divert > maxDivert:
		v.add("divert", o.Divert.String()+" is out of range", "write 0 or a size from 1KiB to 1792KiB, the largest payload that a listener takes and the spool holds; AWS takes payloads of up to 128KiB")
	case o.Split != 0 && o.Divert <= o.Split:
		v.add("divert", fmt.Sprintf("%v is not above split (%v): nothing would ever go in parts", o.Divert, o.Split), "write a larger size, or take split out")
	case o.Batch.on() && int(o.Divert) < o.Batch.Limit(0):
		v.add("divert", fmt.Sprintf("%v is below the size of a batch: every full batch would become a file", o.Divert), "write more than the batch's size, such as 128KiB")
	}
}

// assembly is a message whose parts are coming.
type assembly struct {
	first   *part
	user    []bridge.UserProperty
	got     [][]byte
	missing int
	bytes   int
}

// maxAssemblies bounds the messages that a decoder puts together at a time, besides
// their bytes: with more the one that began first is given up.
const maxAssemblies = 256

// assemble takes a part. It returns the whole when this was the last.
func (d *Decoder) assemble(m Received, p *part) (*Received, error) {
	a := d.assemblies[p.id]
	if a == nil {
		if slices.Contains(d.whole, p.id) {
			return nil, nil
		}
		if p.whole > d.most() {
			return nil, fmt.Errorf("topic %q: a message in parts: %w: more than %d bytes", m.Topic, errTooLarge, d.most())
		}
		a = &assembly{first: p, got: make([][]byte, p.count), missing: p.count}
		if d.assemblies == nil {
			d.assemblies = map[bridge.MessageID]*assembly{}
		}
		d.assemblies[p.id], d.oldest = a, append(d.oldest, p.id)
	}
	if p.count != len(a.got) || p.whole != a.first.whole || p.sum != a.first.sum {
		return nil, fmt.Errorf("topic %q: parts of message %s contradict each other", m.Topic, p.id)
	}
	if p.index == 0 {
		a.user = m.User
	}
	if a.got[p.index] != nil || a.bytes+len(p.data) > p.whole {
		return nil, nil // it came twice, as after a cut of the link
	}
	a.got[p.index] = append([]byte{}, p.data...)
	a.bytes += len(p.data)
	d.waiting += len(p.data)
	if a.missing--; a.missing > 0 {
		for len(d.assemblies) > maxAssemblies || d.waiting > d.most() {
			d.lost++
			d.forget(d.oldest[0])
		}
		return nil, nil
	}
	d.forget(p.id)
	if d.whole = append(d.whole, p.id); len(d.whole) > maxAssemblies {
		d.whole = d.whole[1:]
	}
	whole := &Received{Topic: m.Topic, ContentType: p.contentType, User: a.user}
	for _, data := range a.got {
		whole.Payload = append(whole.Payload, data...)
	}
	if len(whole.Payload) != p.whole || crc32.Checksum(whole.Payload, castagnoli) != p.sum {
		return nil, fmt.Errorf("topic %q: the parts of message %s do not make the whole", m.Topic, p.id)
	}
	if _, named := encodingOf(a.user); !named && p.encoding != "" {
		whole.User = append(whole.User, bridge.UserProperty{Key: PropEncoding, Value: p.encoding})
	}
	return whole, nil
}

// forget ends an assembly.
func (d *Decoder) forget(id bridge.MessageID) {
	d.waiting -= d.assemblies[id].bytes
	delete(d.assemblies, id)
	d.oldest = slices.DeleteFunc(d.oldest, func(o bridge.MessageID) bool { return o == id })
}

// Incomplete is how many messages have parts that never came.
func (d *Decoder) Incomplete() int { return len(d.assemblies) + d.lost }
