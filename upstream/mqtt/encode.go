package mqtt

import (
	"strings"
	"unicode/utf8"

	"github.com/eclipse/paho.golang/packets"

	"github.com/ebbgate/ebbgate/bridge"
)

// publishOf makes the packet of a message. expiry is the Message Expiry
// Interval to send, when m has one; 0 counts as 1 (B97).
func publishOf(m *bridge.Message, expiry uint32) *packets.Publish {
	props := &packets.Properties{
		ContentType:     m.ContentType,
		ResponseTopic:   m.ResponseTopic,
		CorrelationData: m.CorrelationData,
		User:            make([]packets.User, len(m.User)),
	}
	for i, u := range m.User {
		props.User[i] = packets.User{Key: u.Key, Value: u.Value}
	}
	if m.PayloadFormat != 0 {
		props.PayloadFormat = &m.PayloadFormat
	}
	if m.HasExpiry {
		expiry = max(expiry, 1)
		props.MessageExpiry = &expiry
	}
	return &packets.Publish{Topic: m.Topic, Payload: m.Payload, QoS: min(m.QoS, 1), Retain: m.Retain, Properties: props}
}

// firstByte is a PUBLISH's first byte. DUP is never set: what is sent again is
// sent on a new session.
func firstByte(p *packets.Publish) byte {
	b := packets.PUBLISH<<4 | p.QoS<<1
	if p.Retain {
		b |= 1
	}
	return b
}

// messageOf makes the message of a packet.
func messageOf(p *packets.Publish) *bridge.Message {
	m := &bridge.Message{Topic: p.Topic, Payload: p.Payload, QoS: p.QoS, Retain: p.Retain}
	props := p.Properties
	if props == nil {
		return m
	}
	m.ContentType, m.ResponseTopic, m.CorrelationData = props.ContentType, props.ResponseTopic, props.CorrelationData
	if props.PayloadFormat != nil {
		m.PayloadFormat = *props.PayloadFormat
	}
	if props.MessageExpiry != nil {
		m.HasExpiry, m.Expiry = true, *props.MessageExpiry
	}
	for _, u := range props.User {
		m.User = append(m.User, bridge.UserProperty{Key: u.Key, Value: u.Value})
	}
	return m
}

// maxString is the longest string that MQTT can carry, in bytes; the library
// would cut a longer one without a word.
const maxString = 65535

// publishable reports whether a topic can be published to at all: a broker
// closes the connection over one that cannot.
func publishable(topic string) bool {
	return topic != "" && len(topic) <= maxString && utf8.ValidString(topic) && !strings.ContainsAny(topic, "+#\x00")
}
