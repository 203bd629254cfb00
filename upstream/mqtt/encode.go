package mqtt

import (
	"encoding/binary"
	"strings"
	"unicode/utf8"

	"github.com/eclipse/paho.golang/packets"

	"github.com/ebbgate/ebbgate/bridge"
)

// publish is a PUBLISH to be sent, measured and not written yet. It is encoded
// without the library, as PUBACK is decoded: these two come as often as messages
// go, and the library makes a dozen pieces of garbage of each. A test holds what
// it writes against what the library reads.
type publish struct {
	*bridge.Message
	expiry uint32 // Message Expiry Interval to send, when the message has one; 0 counts as 1 (B97)
	props  int    // bytes of the properties
	body   int    // bytes behind the header
	v3     bool   // MQTT 3.1.1: no properties
	alias  uint16 // number of the topic; 0: none
	bare   bool   // the number goes without the topic

	attempt int // the how many-th time it is sent, see [bridge.Delivery]
}

func publishOf(m *bridge.Message, expiry uint32, v3 bool) publish {
	p := publish{Message: m, expiry: max(expiry, 1), v3: v3}
	if v3 {
		p.body = 2 + len(m.Topic) + len(m.Payload)
		if m.QoS > 0 {
			p.body += 2
		}
		return p
	}
	if m.PayloadFormat != 0 {
		p.props += 2
	}
	if m.HasExpiry {
		p.props += 5
	}
	if m.ContentType != "" {
		p.props += 3 + len(m.ContentType)
	}
	if m.ResponseTopic != "" {
		p.props += 3 + len(m.ResponseTopic)
	}
	if len(m.CorrelationData) > 0 {
		p.props += 3 + len(m.CorrelationData)
	}
	for i := range m.User {
		p.props += 5 + len(m.User[i].Key) + len(m.User[i].Value)
	}
	p.body = 2 + len(m.Topic) + digits(p.props) + p.props + len(m.Payload)
	if m.QoS > 0 {
		p.body += 2
	}
	return p
}

// numbered gives the topic's number, which goes with the topic or in place of it.
func (p *publish) numbered(alias uint16, bare bool) {
	p.body -= digits(p.props) + p.props
	p.alias, p.bare, p.props = alias, bare, p.props+aliasSize
	p.body += digits(p.props) + p.props
	if bare {
		p.body -= len(p.Topic)
	}
}

// size is the bytes of the packet on the wire.
func (p *publish) size() int { return 1 + digits(p.body) + p.body }

// append writes the packet behind out. DUP is never set: what is sent again is
// sent on a new session. QoS 2 goes as 1.
func (p *publish) append(out []byte, id uint16) []byte {
	first := packets.PUBLISH << 4
	if p.QoS > 0 {
		first |= 1 << 1
	}
	if p.Retain {
		first |= 1
	}
	out = appendLength(append(out, first), p.body)
	if p.bare {
		out = appendString(out, "")
	} else {
		out = appendString(out, p.Topic)
	}
	if p.QoS > 0 {
		out = append(out, byte(id>>8), byte(id))
	}
	if p.v3 {
		return append(out, p.Payload...)
	}
	out = appendLength(out, p.props)
	if p.alias != 0 {
		out = binary.BigEndian.AppendUint16(append(out, packets.PropTopicAlias), p.alias)
	}
	if p.PayloadFormat != 0 {
		out = append(out, packets.PropPayloadFormat, p.PayloadFormat)
	}
	if p.HasExpiry {
		out = binary.BigEndian.AppendUint32(append(out, packets.PropMessageExpiry), p.expiry)
	}
	if p.ContentType != "" {
		out = appendString(append(out, packets.PropContentType), p.ContentType)
	}
	if p.ResponseTopic != "" {
		out = appendString(append(out, packets.PropResponseTopic), p.ResponseTopic)
	}
	if len(p.CorrelationData) > 0 {
		out = appendString(append(out, packets.PropCorrelationData), p.CorrelationData)
	}
	for i := range p.User {
		out = appendString(append(out, packets.PropUser), p.User[i].Key)
		out = appendString(out, p.User[i].Value)
	}
	return append(out, p.Payload...)
}

// tooLong reports whether a property is longer than MQTT can carry.
func (p *publish) tooLong() bool {
	if p.props <= maxString {
		return false
	}
	for i := range p.User {
		if max(len(p.User[i].Key), len(p.User[i].Value)) > maxString {
			return true
		}
	}
	return max(len(p.ContentType), len(p.ResponseTopic), len(p.CorrelationData)) > maxString
}

func appendString[S ~string | ~[]byte](out []byte, s S) []byte {
	return append(binary.BigEndian.AppendUint16(out, uint16(len(s))), s...)
}

// appendLength appends a variable byte integer [MQTT-1.5.5].
func appendLength(out []byte, n int) []byte {
	for n > 0x7f {
		out = append(out, byte(n)|0x80)
		n >>= 7
	}
	return append(out, byte(n))
}

// digits is how many bytes appendLength appends.
func digits(n int) int {
	d := 1
	for n >>= 7; n > 0; n >>= 7 {
		d++
	}
	return d
}

// messageOf makes the message of a packet.
func messageOf(p *packets.Publish) *bridge.Message {
	m := &bridge.Message{Topic: p.Topic, Payload: p.Payload, QoS: p.QoS, Retain: p.Retain, Dup: p.Duplicate}
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

// maxString is the longest string that MQTT can carry, in bytes.
const maxString = 65535

// publishable reports whether a topic can be published to at all: a broker
// closes the connection over one that cannot.
func publishable(topic string) bool {
	return topic != "" && len(topic) <= maxString && utf8.ValidString(topic) && !strings.ContainsAny(topic, "+#\x00")
}
