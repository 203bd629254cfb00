package localbroker

import (
	"encoding/binary"

	"github.com/mochi-mqtt/server/v2/packets"
)

// The form of packets, where the codec is more lenient than MQTT: it is looked at
// before the codec reads the body. What the codec refuses itself, such as what is
// cut short or is not UTF-8, is left to it.

// form says what is wrong with the body of a packet with this first byte, nil if
// nothing is. A Message Expiry Interval of 0, which the codec cannot tell from
// none, becomes one of 1 (B97).
func form(first, version byte, body []byte) error {
	switch kind := first >> 4; {
	case kind == packets.Connect:
		return connectForm(body)
	case kind == packets.Pingreq && len(body) > 0:
		return packets.ErrMalformedPacket
	case version != 5:
		return nil
	case kind == packets.Publish:
		return publishForm(first, body)
	case kind == packets.Subscribe:
		return subscribeForm(body)
	case kind == packets.Unsubscribe:
		return propertiesBehind(body, 2) // the packet id
	case kind == packets.Disconnect:
		return propertiesBehind(body, 1) // the reason code
	case kind == packets.Puback || kind == packets.Pubrec || kind == packets.Pubrel || kind == packets.Pubcomp:
		return propertiesBehind(body, 3) // both
	default:
		return nil
	}
}

// The flags of a CONNECT.
const (
	connectWill       = 0x04
	connectWillQoS    = 0x18
	connectWillRetain = 0x20
	connectPassword   = 0x40
	connectUser       = 0x80
)

// connectForm is form of a CONNECT. That of another protocol is answered when it
// has been read (B16).
func connectForm(body []byte) error {
	rest, ok := skipText(body) // the protocol's name
	if !ok || len(rest) < 4 || rest[0] != 4 && rest[0] != 5 {
		return nil
	}
	version, flags, rest := rest[0], rest[1], rest[4:]
	switch {
	case flags&connectWill == 0 && flags&(connectWillQoS|connectWillRetain) != 0: // [MQTT-3.1.2-11] [MQTT-3.1.2-13]
		return packets.ErrMalformedFlags
	case version == 4 && flags&connectUser == 0 && flags&connectPassword != 0: // 3.1.1's [MQTT-3.1.2-22]
		return packets.ErrMalformedFlags
	}
	texts := 1 // the client id
	if version == 5 {
		var err error
		if rest, err = propertiesForm(rest); err != nil {
			return err
		}
	}
	if flags&connectWill != 0 {
		if version == 5 {
			if rest, ok = skipText(rest); !ok {
				return nil
			}
			var err error
			if rest, err = propertiesForm(rest); err != nil {
				return err
			}
			texts--
		}
		texts += 2
	}
	for _, flag := range []byte{connectUser, connectPassword} {
		if flags&flag != 0 {
			texts++
		}
	}
	for range texts {
		if rest, ok = skipText(rest); !ok {
			return nil
		}
	}
	if len(rest) > 0 {
		return packets.ErrMalformedPacket
	}
	return nil
}

// publishForm is form of an MQTT 5 PUBLISH.
func publishForm(first byte, body []byte) error {
	rest, ok := skipText(body) // the topic
	if ok && first>>1&3 > 0 {
		rest, ok = skip(rest, 2) // the packet id
	}
	if !ok {
		return nil
	}
	_, err := propertiesForm(rest)
	return err
}

// subscribeForm is form of an MQTT 5 SUBSCRIBE.
func subscribeForm(body []byte) error {
	rest, ok := skip(body, 2) // the packet id
	if !ok {
		return nil
	}
	rest, err := propertiesForm(rest)
	for err == nil && len(rest) > 0 {
		if rest, ok = skipText(rest); !ok || len(rest) == 0 {
			return packets.ErrMalformedTopic
		}
		switch options := rest[0]; {
		case options&0xC0 != 0: // reserved [MQTT-3.8.3-5]
			return packets.ErrMalformedPacket
		case options>>4&3 == 3: // no Retain Handling
			return packets.ErrProtocolViolation
		}
		rest = rest[1:]
	}
	return err
}

// propertiesBehind is propertiesForm of what follows so many bytes, if anything
// does.
func propertiesBehind(body []byte, n int) error {
	if len(body) <= n {
		return nil
	}
	_, err := propertiesForm(body[n:])
	return err
}

// propertiesForm says what is wrong with the properties that b begins with, and
// returns what follows them. Their numbers are the codec's to check.
func propertiesForm(b []byte) (rest []byte, err error) {
	p, rest, ok := cutProperties(b)
	if !ok {
		return nil, packets.ErrMalformedProperties
	}
	var seen uint64
	for len(p) > 0 {
		id, value, next, ok := property(p)
		if !ok {
			return nil, packets.ErrMalformedProperties
		}
		if id != packets.PropUser {
			if seen&(1<<id) != 0 { // MQTT: it is a Protocol Error to include it more than once
				return nil, packets.ErrProtocolViolation
			}
			seen |= 1 << id
		}
		if err := valueForm(id, value); err != nil {
			return nil, err
		}
		p = next
	}
	return rest, nil
}

// valueForm says what is wrong with the value of a property.
func valueForm(id byte, value []byte) error {
	switch id {
	case packets.PropMessageExpiryInterval:
		if binary.BigEndian.Uint32(value) == 0 {
			value[3] = 1
		}
	case packets.PropPayloadFormat, packets.PropRequestProblemInfo, packets.PropRequestResponseInfo:
		if value[0] > 1 {
			return packets.ErrProtocolViolation
		}
	case packets.PropReceiveMaximum:
		if binary.BigEndian.Uint16(value) == 0 {
			return packets.ErrProtocolViolation
		}
	case packets.PropMaximumPacketSize:
		if binary.BigEndian.Uint32(value) == 0 {
			return packets.ErrProtocolViolation
		}
	}
	return nil
}

// property takes the first property off p, which is not empty. It is not ok when
// no client sends such a one, or it is cut short.
func property(p []byte) (id byte, value, rest []byte, ok bool) {
	id, rest = p[0], p[1:]
	after := rest
	switch id {
	case packets.PropPayloadFormat, packets.PropRequestProblemInfo, packets.PropRequestResponseInfo:
		after, ok = skip(rest, 1)
	case packets.PropTopicAlias, packets.PropReceiveMaximum, packets.PropTopicAliasMaximum:
		after, ok = skip(rest, 2)
	case packets.PropMessageExpiryInterval, packets.PropSessionExpiryInterval, packets.PropWillDelayInterval, packets.PropMaximumPacketSize:
		after, ok = skip(rest, 4)
	case packets.PropContentType, packets.PropResponseTopic, packets.PropCorrelationData, packets.PropAuthenticationMethod,
		packets.PropAuthenticationData, packets.PropReasonString, packets.PropServerReference:
		after, ok = skipText(rest)
	case packets.PropUser:
		if after, ok = skipText(rest); ok {
			after, ok = skipText(after)
		}
	case packets.PropSubscriptionIdentifier:
		_, n := binary.Uvarint(rest)
		after, ok = skip(rest, max(n, 1))
		ok = ok && n > 0
	}
	if !ok {
		return 0, nil, nil, false
	}
	return id, rest[:len(rest)-len(after)], after, true
}

// cutProperties takes properties, which begin with their length, off b.
func cutProperties(b []byte) (properties, rest []byte, ok bool) {
	n, size := binary.Uvarint(b)
	if size <= 0 || n > uint64(len(b)-size) {
		return nil, nil, false
	}
	return b[size : size+int(n)], b[size+int(n):], true
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
