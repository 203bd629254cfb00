package mqtt

import (
	"fmt"

	"github.com/eclipse/paho.golang/packets"

	"github.com/ebbgate/ebbgate/bridge"
)

// resultOf says what a PUBACK's reason code means for the message. Codes below
// 0x80 are success, whatever else they tell [MQTT-2.4]; an unknown refusal is
// one for now, because that loses nothing.
func resultOf(code byte) bridge.Result {
	switch code {
	case packets.PubackNotAuthorized:
		return bridge.ResultDenied
	case packets.PubackTopicNameInvalid, packets.DisconnectPacketTooLarge, packets.PubackPayloadFormatInvalid:
		return bridge.ResultRefused
	}
	if code < 0x80 {
		return bridge.ResultAcked
	}
	return bridge.ResultRetry
}

// outcomeOf is the outcome of a PUBACK.
func outcomeOf(a puback, wire int) bridge.Outcome {
	o := bridge.Outcome{Result: resultOf(a.code), Code: a.code, Reason: a.reason, Wire: wire}
	if o.Reason == "" && a.code >= 0x80 {
		o.Reason = (&packets.Puback{ReasonCode: a.code}).Reason()
	}
	return o
}

// server is what the CONNACK says about the broker.
type server struct {
	receiveMaximum int // QoS 1 messages that it takes unacknowledged
	maximumPacket  int // bytes; 0: no limit
	maximumPayload int // bytes; 0: none is known
	maximumQoS     byte
	noRetain       bool
	aliases        int // topic aliases that it takes
	sessionPresent bool
	v3             bool // it speaks MQTT 3.1.1
}

func serverOf(ca *packets.Connack) server {
	s := server{receiveMaximum: 65535, maximumQoS: 2, sessionPresent: ca.SessionPresent}
	p := ca.Properties
	if p == nil {
		return s
	}
	if p.ReceiveMaximum != nil {
		s.receiveMaximum = int(*p.ReceiveMaximum)
	}
	if p.MaximumPacketSize != nil {
		s.maximumPacket = int(*p.MaximumPacketSize)
	}
	if p.MaximumQOS != nil {
		s.maximumQoS = *p.MaximumQOS
	}
	if p.TopicAliasMaximum != nil {
		s.aliases = int(*p.TopicAliasMaximum)
	}
	s.noRetain = p.RetainAvailable != nil && *p.RetainAvailable == 0
	return s
}

// refuse finds a limit of the broker, or of the protocol, that a packet of size
// bytes breaks. Sending it would end the connection, again and again.
func (s *server) refuse(p *publish, size int) (bridge.Outcome, bool) {
	code, reason, result := byte(0), "", bridge.ResultRefused
	switch {
	case !publishable(p.Topic):
		code, reason = packets.PubackTopicNameInvalid, fmt.Sprintf("%.64q is not a topic to publish to", p.Topic)
	case p.tooLong():
		code, reason = packets.PubackPayloadFormatInvalid, "a property is longer than MQTT can carry"
	case size > maxOutgoing:
		code, reason = packets.DisconnectPacketTooLarge, fmt.Sprintf("%d bytes are more than MQTT can carry", size)
	case s.maximumPacket > 0 && size > s.maximumPacket:
		code, reason = packets.DisconnectPacketTooLarge, fmt.Sprintf("%d bytes, and the broker takes %d", size, s.maximumPacket)
	case s.maximumPayload > 0 && len(p.Payload) > s.maximumPayload:
		code, reason = packets.DisconnectPacketTooLarge, fmt.Sprintf("a payload of %d bytes, and AWS takes %d: give the route split or divert", len(p.Payload), s.maximumPayload)
	case min(p.QoS, 1) > s.maximumQoS:
		// Of all messages, not of this one: whoever runs the broker may mend it, and no
		// backlog is given up for that.
		result = bridge.ResultDenied
		code, reason = packets.DisconnectQoSNotSupported, fmt.Sprintf("QoS %d, and the broker takes %d", p.QoS, s.maximumQoS)
	case p.Retain && s.noRetain:
		result = bridge.ResultDenied
		code, reason = packets.DisconnectRetainNotSupported, "the broker does not retain"
	default:
		return bridge.Outcome{}, false
	}
	return bridge.Outcome{Result: result, Code: code, Reason: reason}, true
}

// awsPayload is the largest payload that AWS takes (Q11). It does not say so, and ends
// the connection with 0x97, or without a word (B84).
const awsPayload = 128 << 10

// maxOutgoing is the largest MQTT packet: five bytes of header and the largest
// length [MQTT-1.5.5].
const maxOutgoing = 5 + 268_435_455
