package localbroker

import (
	"encoding/binary"
	"errors"
	"time"

	"github.com/ebbgate/ebbgate/bridge"
)

// What the broker keeps is written as fixed bytes, varints and counted strings.
// Each value begins with its version.

var errDamaged = errors.New("damaged, or of another version")

func appendText(b []byte, s string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

// reader takes a value apart. The first thing that does not fit makes bad true,
// and everything after it zero.
type reader struct {
	b   []byte
	bad bool
}

func (r *reader) take(n uint64) []byte {
	if r.bad || n > uint64(len(r.b)) {
		r.b, r.bad = nil, true
		return nil
	}
	out := r.b[:n:n]
	r.b = r.b[n:]
	return out
}

func (r *reader) byte() byte {
	if b := r.take(1); len(b) == 1 {
		return b[0]
	}
	return 0
}

func (r *reader) number() uint64 {
	n, size := binary.Uvarint(r.b)
	if r.bad || size <= 0 {
		r.b, r.bad = nil, true
		return 0
	}
	r.b = r.b[size:]
	return n
}

func (r *reader) duration() time.Duration { return time.Duration(r.number()) }

func (r *reader) text() string { return string(r.take(r.number())) }

func (r *reader) bytes() []byte {
	b := r.take(r.number())
	if len(b) == 0 {
		return nil
	}
	return append([]byte(nil), b...)
}

// count is a number of things that take at least a byte each.
func (r *reader) count() int {
	n := r.number()
	if n > uint64(len(r.b)) {
		r.b, r.bad = nil, true
		return 0
	}
	return int(n)
}

func (r *reader) err() error {
	if r.bad || len(r.b) > 0 {
		return errDamaged
	}
	return nil
}

// The flags of a message.
const (
	messageRetain = 1 << iota
	messageExpiry
	messageText
	messageProps
)

// appendMessage writes a message with the age at which it expires, 0 for never.
func appendMessage(b []byte, m *bridge.Message, expires time.Duration) []byte {
	var flags byte
	set := func(on bool, f byte) {
		if on {
			flags |= f
		}
	}
	props := m.ContentType != "" || m.ResponseTopic != "" || len(m.CorrelationData) > 0 || len(m.User) > 0
	set(m.Retain, messageRetain)
	set(m.HasExpiry, messageExpiry)
	set(m.PayloadFormat == 1, messageText)
	set(props, messageProps)
	b = append(b, flags, m.QoS)
	b = binary.AppendUvarint(b, uint64(expires))
	b = appendText(b, m.Topic)
	if m.HasExpiry {
		b = binary.AppendUvarint(b, uint64(m.Expiry))
	}
	if props {
		b = appendText(b, m.ContentType)
		b = appendText(b, m.ResponseTopic)
		b = appendText(b, string(m.CorrelationData))
		b = binary.AppendUvarint(b, uint64(len(m.User)))
		for _, u := range m.User {
			b = appendText(appendText(b, u.Key), u.Value)
		}
	}
	b = binary.AppendUvarint(b, uint64(len(m.Payload)))
	return append(b, m.Payload...)
}

func (r *reader) message() (*bridge.Message, time.Duration) {
	flags := r.byte()
	m := &bridge.Message{QoS: r.byte(), Retain: flags&messageRetain != 0}
	expires := r.duration()
	m.Topic = r.text()
	if flags&messageText != 0 {
		m.PayloadFormat = 1
	}
	if flags&messageExpiry != 0 {
		m.HasExpiry, m.Expiry = true, uint32(r.number())
	}
	if flags&messageProps != 0 {
		m.ContentType, m.ResponseTopic, m.CorrelationData = r.text(), r.text(), r.bytes()
		for range r.count() {
			m.User = append(m.User, bridge.UserProperty{Key: r.text(), Value: r.text()})
		}
	}
	m.Payload = r.bytes()
	return m, expires
}

// The version that every value begins with.
const codecVersion = 1

// encodeMessage is a body or a retained message.
func encodeMessage(m *bridge.Message, expires time.Duration, modified time.Time) []byte {
	b := make([]byte, 0, m.MeteredSize()+48)
	b = append(b, codecVersion)
	b = binary.AppendUvarint(b, uint64(max(modified.UnixMilli(), 0)))
	return appendMessage(b, m, expires)
}

// referenceVersion begins a retained message whose body is shared.
const referenceVersion = 2

// encodeReference is a retained message that has its body in common with entries.
func encodeReference(body uint64, modified time.Time) []byte {
	b := binary.AppendUvarint([]byte{referenceVersion}, uint64(max(modified.UnixMilli(), 0)))
	return binary.AppendUvarint(b, body)
}

// decodeReference is ok when b is such a one.
func decodeReference(b []byte) (body uint64, modified time.Time, ok bool) {
	r := &reader{b: b}
	r.bad = r.byte() != referenceVersion
	modified = time.UnixMilli(int64(r.number()))
	body = r.number()
	return body, modified, r.err() == nil
}

func decodeMessage(b []byte) (m *bridge.Message, expires time.Duration, modified time.Time, err error) {
	r := &reader{b: b}
	r.bad = r.byte() != codecVersion
	modified = time.UnixMilli(int64(r.number()))
	m, expires = r.message()
	return m, expires, modified, r.err()
}
