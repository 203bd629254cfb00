package localbroker

import (
	"bytes"

	"github.com/mochi-mqtt/server/v2/packets"

	"github.com/ebbgate/ebbgate/bridge"
)

// encodeDisconnect makes a v5 DISCONNECT.
func encodeDisconnect(code byte, reason string) []byte {
	var buf bytes.Buffer
	pk := packets.Packet{
		FixedHeader:     packets.FixedHeader{Type: packets.Disconnect},
		ProtocolVersion: 5, ReasonCode: code,
		Properties: packets.Properties{ReasonString: reason},
	}
	_ = pk.DisconnectEncode(&buf) // a bytes.Buffer does not fail
	return buf.Bytes()
}

// encodeConnack makes a CONNACK that accepts.
func encodeConnack(version byte, present bool, p packets.Properties) []byte {
	var buf bytes.Buffer
	pk := packets.Packet{
		FixedHeader:     packets.FixedHeader{Type: packets.Connack},
		ProtocolVersion: version, SessionPresent: present, Properties: p,
	}
	_ = pk.ConnackEncode(&buf)
	return buf.Bytes()
}

// encodeRefusal makes a CONNACK that refuses.
func encodeRefusal(version, code byte, reason string) []byte {
	var buf bytes.Buffer
	pk := packets.Packet{
		FixedHeader:     packets.FixedHeader{Type: packets.Connack},
		ProtocolVersion: version, ReasonCode: code,
	}
	if version == 5 {
		pk.Properties.ReasonString = reason
	}
	_ = pk.ConnackEncode(&buf)
	return buf.Bytes()
}

// encodeCodes makes a SUBACK or an UNSUBACK.
func encodeCodes(kind, version byte, id uint16, codes []byte) []byte {
	var buf bytes.Buffer
	pk := packets.Packet{
		FixedHeader:     packets.FixedHeader{Type: kind},
		ProtocolVersion: version, PacketID: id, ReasonCodes: codes,
	}
	if kind == packets.Suback {
		_ = pk.SubackEncode(&buf)
	} else {
		_ = pk.UnsubackEncode(&buf)
	}
	return buf.Bytes()
}

// encodePublish makes the PUBLISH of a delivery; remaining is its Message
// Expiry Interval, 0 in the last second (B117).
func encodePublish(d *delivery, version byte, dup bool, remaining uint32) ([]byte, error) {
	m := d.msg
	pk := packets.Packet{
		FixedHeader:     packets.FixedHeader{Type: packets.Publish, Qos: d.qos, Retain: d.retain, Dup: dup},
		ProtocolVersion: version, TopicName: m.Topic, Payload: m.Payload, PacketID: d.id,
		Mods: packets.Mods{AllowResponseInfo: true},
	}
	if version == 5 {
		pk.Properties = packets.Properties{
			PayloadFormat: m.PayloadFormat, PayloadFormatFlag: m.PayloadFormat != 0,
			ContentType: m.ContentType, ResponseTopic: m.ResponseTopic, CorrelationData: m.CorrelationData,
			SubscriptionIdentifier: d.identifiers,
		}
		if m.HasExpiry {
			pk.Properties.MessageExpiryInterval = max(remaining, 1)
		}
		for _, u := range m.User {
			pk.Properties.User = append(pk.Properties.User, packets.UserProperty{Key: u.Key, Val: u.Value})
		}
	}
	var buf bytes.Buffer
	buf.Grow(len(m.Topic) + len(m.Payload) + 64)
	err := pk.PublishEncode(&buf)
	if version == 5 && m.HasExpiry && remaining == 0 && err == nil {
		lastSecond(buf.Bytes(), &pk)
	}
	return buf.Bytes(), err
}

// lastSecond makes the Message Expiry Interval of an encoded PUBLISH 0. The
// codec leaves out one of 0, so that it was given 1.
func lastSecond(packet []byte, pk *packets.Packet) {
	at := 1 + lengthSize(packet[1:]) + 2 + len(pk.TopicName)
	if pk.FixedHeader.Qos > 0 {
		at += 2
	}
	at += lengthSize(packet[at:])
	if pk.Properties.PayloadFormatFlag { // the codec's first; the interval is its second
		at += 2
	}
	if interval := packet[at : at+5]; interval[0] == packets.PropMessageExpiryInterval {
		interval[4] = 0
	}
}

// lengthSize is the bytes of a variable byte integer.
func lengthSize(b []byte) int {
	for i, c := range b {
		if c&0x80 == 0 {
			return i + 1
		}
	}
	return len(b)
}

// properties takes the end-to-end properties of a v5 packet.
func properties(p *packets.Properties) bridge.Properties {
	out := bridge.Properties{
		PayloadFormat: p.PayloadFormat,
		HasExpiry:     p.MessageExpiryInterval > 0, Expiry: p.MessageExpiryInterval,
		ContentType: p.ContentType, ResponseTopic: p.ResponseTopic, CorrelationData: p.CorrelationData,
	}
	if len(p.User) > 0 {
		out.User = make([]bridge.UserProperty, len(p.User))
		for i, u := range p.User {
			out.User[i] = bridge.UserProperty{Key: u.Key, Value: u.Val}
		}
	}
	return out
}
