package bridge

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"slices"
	"strconv"
	"time"
	"unicode/utf8"
)

// AcceptedLayout is how an acceptance time travels in [PropAccepted] and in
// the envelope: RFC 3339, UTC, nine digits, so that it sorts as text.
const AcceptedLayout = "2006-01-02T15:04:05.000000000Z"

// Outgoing is the message of s as its receiver gets it, in all but the packet:
// the receiver's topic, QoS and retain, and the origin in the route's way. It
// is pure, so what the sender writes and what the meter bills are one thing.
//
// The reserved properties ([PropDevice] and its like) are the gateway's word:
// those that a device sent are taken away, ours are put at the end. Hops travel
// in every mode but [OriginBare], because a loop must be seen whatever else the route
// hides. Bare leaves out those of a message that comes from a device itself: one that
// a gateway has counted already keeps its count.
// Expiry is what the giver said; the sender writes [Delivery].Remaining.
//
// The result shares s's bytes where it can: nobody may write to them. It is
// made once and kept with s, which belongs to one goroutine: the sender and the
// meter both ask.
func Outgoing(s *Stored) *Message {
	if s.outgoing == nil {
		s.outgoing = outgoing(s)
	}
	return s.outgoing
}

func outgoing(s *Stored) *Message {
	whole := &struct { // in one piece of memory
		Message
		user [len(reserved)]UserProperty
	}{Message: s.Message}
	m := &whole.Message
	m.Topic, m.QoS, m.Retain = s.Receiver.Topic, s.Receiver.QoS, s.Receiver.Retain
	if m.User = whole.user[:0]; len(s.User) > 0 {
		m.User = foreign(s.User)
	}
	switch s.Receiver.Origin {
	case OriginUserProperties:
		m.User = append(m.User, UserProperty{PropDevice, s.Device})
		if s.Thing != "" {
			m.User = append(m.User, UserProperty{PropThing, s.Thing})
		}
		id, accepted := s.texts()
		m.User = append(m.User,
			UserProperty{PropID, id},
			UserProperty{PropAccepted, accepted},
			UserProperty{PropClock, s.Quality()})
	case OriginEnvelope:
		// An empty payload deletes what is retained: wrapped, it would not.
		if len(m.Payload) > 0 || !m.Retain {
			m.Payload, m.ContentType, m.PayloadFormat = envelope(s, nil), "application/json", 1
		}
	}
	if s.Receiver.Origin != OriginBare || s.Hops > 0 {
		m.User = append(m.User, UserProperty{PropHops, strconv.Itoa(int(s.Hops) + 1)})
	}
	return m
}

// Quality is the clock quality in words, as it travels upstream.
func (i Instant) Quality() string {
	if i.Synced {
		return "synchronised"
	}
	return "unsynchronised"
}

// texts are the message id and the time of acceptance as they travel, in one
// piece of memory.
func (o *Origin) texts() (id, accepted string) {
	var b [2*len(MessageID{}) + len(AcceptedLayout)]byte
	n := hex.Encode(b[:], o.ID[:])
	text := string(o.appendAccepted(b[:n]))
	return text[:n], text[n:]
}

// appendAccepted appends i.Wall in [AcceptedLayout]. The package time is five
// times as fast with its own layouts as with any other.
func (i *Instant) appendAccepted(out []byte) []byte {
	t := i.Wall.UTC()
	var digits [len(AcceptedLayout)]byte
	out = t.AppendFormat(out, time.RFC3339)
	out = append(out[:len(out)-1], '.') // the Z comes last
	nanos := strconv.AppendInt(digits[:0], int64(t.Nanosecond())+1e9, 10)
	return append(append(out, nanos[1:]...), 'Z')
}

// foreign copies the user properties that are not ours, with room for ours.
func foreign(user []UserProperty) []UserProperty {
	out := make([]UserProperty, 0, len(user)+6)
	for _, u := range user {
		if !slices.Contains(reserved[:], u.Key) {
			out = append(out, u)
		}
	}
	return out
}

// reserved are the names that only a gateway may set.
var reserved = [...]string{PropDevice, PropThing, PropID, PropAccepted, PropClock, PropHops}

// wrapped is the JSON of [OriginEnvelope]. The payload is a JSON value when it
// is one, else base64, and Encoding then says so.
type wrapped struct {
	Device      string          `json:"device"`
	Thing       string          `json:"thing,omitempty"`
	ID          string          `json:"id"`
	Accepted    string          `json:"accepted"`
	Clock       string          `json:"clock"`
	Topic       string          `json:"topic"` // as the device published it
	ContentType string          `json:"content_type,omitempty"`
	Encoding    string          `json:"encoding,omitempty"` // "base64" or absent
	User        UserValues      `json:"user_properties,omitempty"`
	Payload     json.RawMessage `json:"payload"`
}

func envelope(s *Stored, user UserValues) []byte {
	id, accepted := s.texts()
	w := wrapped{
		Device: s.Device, Thing: s.Thing, ID: id, Accepted: accepted, Clock: s.Quality(),
		Topic: s.Topic, ContentType: s.ContentType, User: user, Payload: s.Payload,
	}
	// json.Valid looks at syntax only: JSON that is not UTF-8 is not JSON.
	if !json.Valid(s.Payload) || !utf8.Valid(s.Payload) {
		w.Encoding = "base64"
		w.Payload = strconv.AppendQuote(nil, base64.StdEncoding.EncodeToString(s.Payload))
	}
	var out bytes.Buffer
	enc := json.NewEncoder(&out)
	enc.SetEscapeHTML(false)              // a '<' would cost six bytes of the bill
	if err := enc.Encode(w); err != nil { // strings, and a payload that was just checked
		panic("bridge: envelope: " + err.Error())
	}
	return bytes.TrimSuffix(out.Bytes(), []byte("\n"))
}
