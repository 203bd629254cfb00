package localbroker

import "github.com/mochi-mqtt/server/v2/packets"

// expiryFrame makes a Message Expiry Interval of 0 into one of 1 (B97) in the
// bytes of an MQTT 5 PUBLISH on their way to the codec, which cannot tell 0
// from none. It takes a packet as it comes, in any pieces, and looks no further
// than the properties.
type expiryFrame struct {
	part  expiryPart
	qos   bool
	skip  int  // bytes to pass over before part
	count int  // bytes of part that were read
	value uint // of part, as far as it was read
	left  int  // bytes of properties that are still to come
	zero  bool // the interval, as far as it was read, is 0
}

type expiryPart byte

const (
	partTopic    expiryPart = iota // length of the topic
	partLength                     // length of the properties
	partID                         // a property's id
	partInterval                   // the Message Expiry Interval
	partString                     // length of a string or of binary data
	partPair                       // length of the name of a user property, whose value follows
	partNumber                     // a variable byte integer
	partDone
)

// begin expects the body of a packet with this first byte.
func (e *expiryFrame) begin(header byte) {
	*e = expiryFrame{qos: header>>1&3 > 0}
}

// pass reads on in the packet's body.
func (e *expiryFrame) pass(p []byte) {
	for i := 0; i < len(p) && e.part != partDone; {
		if e.skip > 0 {
			n := min(e.skip, len(p)-i)
			e.skip -= n
			i += n
			if e.skip > 0 {
				return
			}
			if e.part == partID && e.left <= 0 {
				e.part = partDone
			}
			continue
		}
		e.read(&p[i])
		i++
	}
}

// read takes one byte that is not passed over.
func (e *expiryFrame) read(b *byte) {
	e.count++
	switch e.part {
	case partTopic, partString, partPair:
		e.value = e.value<<8 | uint(*b)
		if e.count < 2 {
			return
		}
		e.counted()
	case partLength, partNumber:
		e.value |= uint(*b&0x7f) << (7 * (e.count - 1))
		if *b&0x80 != 0 && e.count < 4 {
			return
		}
		if e.part == partLength {
			e.left = int(e.value)
			e.next(partID, 0)
		} else {
			e.left -= e.count
			e.next(partID, 0)
		}
	case partID:
		e.property(*b)
	case partInterval:
		e.zero = (e.zero || e.count == 1) && *b == 0
		if e.count < 4 {
			return
		}
		if e.zero {
			*b = 1
		}
		e.part = partDone // there is only one
	}
}

// counted has read the length of a string.
func (e *expiryFrame) counted() {
	n := int(e.value)
	switch e.part {
	case partTopic:
		if e.qos {
			n += 2 // packet id
		}
		e.next(partLength, n)
	case partPair:
		e.left -= 2 + n
		e.next(partString, n)
	default:
		e.left -= 2 + n
		e.next(partID, n)
	}
}

// property begins with a property's id. What a PUBLISH cannot have ends the
// search: the codec refuses it.
func (e *expiryFrame) property(id byte) {
	e.left--
	switch id {
	case packets.PropMessageExpiryInterval:
		e.next(partInterval, 0)
		if e.left < 4 {
			e.part = partDone
		}
	case packets.PropPayloadFormat:
		e.left--
		e.next(partID, 1)
	case packets.PropTopicAlias:
		e.left -= 2
		e.next(partID, 2)
	case packets.PropContentType, packets.PropResponseTopic, packets.PropCorrelationData:
		e.next(partString, 0)
	case packets.PropUser:
		e.next(partPair, 0)
	case packets.PropSubscriptionIdentifier:
		e.next(partNumber, 0)
	default:
		e.part = partDone
	}
}

// next goes on with part, skip bytes from here.
func (e *expiryFrame) next(part expiryPart, skip int) {
	e.part, e.skip, e.count, e.value = part, skip, 0, 0
	if part == partID && skip == 0 && e.left <= 0 {
		e.part = partDone
	}
}
