package bridge

import "slices"

// Message is one MQTT application message, in either direction.
//
// The receiver of a *Message owns Payload and the slices of Properties: the
// giver must not write to them afterwards.
type Message struct {
	Topic   string // resolved: never a topic alias
	Payload []byte
	QoS     byte // 0 or 1; 2 only inside listeners of profile mqtt
	Retain  bool
	Dup     bool // from a cloud: it was sent before and had no answer; only the bill asks
	Properties
}

// Properties are the MQTT 5 PUBLISH properties that travel end to end. A
// message from MQTT 3.1.1 has none.
type Properties struct {
	PayloadFormat   byte // 1: UTF-8 text
	HasExpiry       bool
	Expiry          uint32 // Message Expiry Interval in seconds, when HasExpiry
	ContentType     string
	ResponseTopic   string
	CorrelationData []byte
	User            []UserProperty // in the sender's order
}

// UserProperty is one MQTT 5 user property; names may repeat.
type UserProperty struct{ Key, Value string }

// UserValue returns the value of the last user property named key.
func (p *Properties) UserValue(key string) (string, bool) {
	for _, u := range slices.Backward(p.User) {
		if u.Key == key {
			return u.Value, true
		}
	}
	return "", false
}

// MeteredSize is the size that AWS bills for a PUBLISH, in bytes: topic and
// payload, and for MQTT 5 the user properties, response topic, correlation
// data and content type (M06).
func (m *Message) MeteredSize() int {
	n := len(m.Topic) + len(m.Payload) + len(m.ContentType) + len(m.ResponseTopic) + len(m.CorrelationData)
	for _, u := range m.User {
		n += len(u.Key) + len(u.Value)
	}
	return n
}
