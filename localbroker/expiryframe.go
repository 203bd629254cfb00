package localbroker

import (
	"encoding/binary"

	"github.com/mochi-mqtt/server/v2/packets"
)

// The codec cannot tell a Message Expiry Interval of 0 from none, so that one of
// 0 is made into one of 1 (B97) before it reads the packet. What is cut short, or
// cannot be where it is, is left to the codec.

// leastExpiry does so in the body of an MQTT 5 PUBLISH with this first byte.
func leastExpiry(first byte, body []byte) {
	rest, ok := skipText(body) // the topic
	if ok && first>>1&3 > 0 {
		rest, ok = skip(rest, 2) // the packet id
	}
	if ok {
		leastOf(rest)
	}
}

// leastWillExpiry does so for the will in the body of a CONNECT of any version.
func leastWillExpiry(body []byte) {
	rest, ok := skipText(body) // the protocol's name
	if !ok || len(rest) < 4 || rest[0] != 5 || rest[1]&4 == 0 {
		return
	}
	_, rest, ok = cutProperties(rest[4:])
	if ok {
		rest, ok = skipText(rest) // the client id
	}
	if ok {
		leastOf(rest)
	}
}

// cutProperties takes properties, which begin with their length, off b.
func cutProperties(b []byte) (properties, rest []byte, ok bool) {
	n, size := binary.Uvarint(b)
	if size <= 0 || n > uint64(len(b)-size) {
		return nil, nil, false
	}
	return b[size : size+int(n)], b[size+int(n):], true
}

// leastOf does so in the properties that b begins with.
func leastOf(b []byte) {
	p, _, ok := cutProperties(b)
	for ok && len(p) > 0 {
		id := p[0]
		p = p[1:]
		switch id {
		case packets.PropMessageExpiryInterval:
			if len(p) >= 4 && binary.BigEndian.Uint32(p) == 0 {
				p[3] = 1
			}
			return // there is only one
		case packets.PropPayloadFormat:
			p, ok = skip(p, 1)
		case packets.PropTopicAlias:
			p, ok = skip(p, 2)
		case packets.PropWillDelayInterval:
			p, ok = skip(p, 4)
		case packets.PropContentType, packets.PropResponseTopic, packets.PropCorrelationData:
			p, ok = skipText(p)
		case packets.PropUser:
			if p, ok = skipText(p); ok {
				p, ok = skipText(p)
			}
		case packets.PropSubscriptionIdentifier:
			_, k := binary.Uvarint(p)
			p, ok = skip(p, max(k, 1))
		default:
			return
		}
	}
}

func skip(b []byte, n int) (rest []byte, ok bool) {
	if len(b) < n {
		return nil, false
	}
	return b[n:], true
}

// skipText skips a string or binary data.
func skipText(b []byte) (rest []byte, ok bool) {
	if len(b) < 2 {
		return nil, false
	}
	return skip(b[2:], int(binary.BigEndian.Uint16(b)))
}
