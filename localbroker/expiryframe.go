package localbroker

import (
	"encoding/binary"

	"github.com/mochi-mqtt/server/v2/packets"
)

// leastExpiry makes a Message Expiry Interval of 0 into one of 1 (B97) in the
// body of an MQTT 5 PUBLISH with this first byte: the codec cannot tell 0 from
// none. It looks no further than the properties, and leaves to the codec what is
// cut short or cannot be in a PUBLISH.
func leastExpiry(first byte, body []byte) {
	rest, ok := skipText(body) // the topic
	if ok && first>>1&3 > 0 {
		rest, ok = skip(rest, 2) // the packet id
	}
	if !ok {
		return
	}
	n, size := binary.Uvarint(rest)
	if size <= 0 || n > uint64(len(rest)-size) {
		return
	}
	for p := rest[size : size+int(n)]; ok && len(p) > 0; {
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
