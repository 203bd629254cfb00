package mqtt

import (
	"bytes"
	"errors"
	"io"
	"syscall"

	"github.com/eclipse/paho.golang/packets"
	v3 "github.com/eclipse/paho.mqtt.golang/packets"
)

// The values of Options.Protocol.
const (
	protocol5    = "5"
	protocol311  = "3.1.1"
	protocolAuto = "auto"
)

// In MQTT 3.1.1 the loop is the same and the packets are others: without
// properties and reason codes. Those that come are turned into what MQTT 5 would
// say, so that the rest of the package knows one protocol.

// level311 is the protocol level in CONNECT.
const level311 = 4

// written3 is a packet of MQTT 3.1.1 as bytes.
func written3(p v3.ControlPacket) []byte {
	var b bytes.Buffer
	_ = p.Write(&b) // into memory
	return b.Bytes()
}

// connect3 is the CONNECT of MQTT 3.1.1.
func (d *dialer) connect3(o Options) []byte {
	c := d.connect(o)
	p := v3.NewControlPacket(v3.Connect).(*v3.ConnectPacket)
	p.ProtocolName, p.ProtocolVersion = c.ProtocolName, level311
	p.ClientIdentifier, p.CleanSession, p.Keepalive = c.ClientID, c.CleanStart, c.KeepAlive
	p.UsernameFlag, p.Username = c.UsernameFlag, c.Username
	p.PasswordFlag, p.Password = c.PasswordFlag, c.Password
	return written3(p)
}

// connack3 parses the answer to connect3.
func connack3(first byte, body []byte) (*packets.Connack, error) {
	if first>>4 != packets.CONNACK || len(body) != 2 {
		return nil, &ProtocolError{Code: packets.DisconnectProtocolError, Text: "another packet than the CONNACK of MQTT 3.1.1"}
	}
	ca := &packets.Connack{SessionPresent: body[0]&1 != 0, Properties: &packets.Properties{}}
	switch body[1] {
	case v3.Accepted:
	case v3.ErrRefusedBadProtocolVersion:
		ca.ReasonCode = packets.ConnackUnsupportedProtocolVersion
	case v3.ErrRefusedIDRejected:
		ca.ReasonCode = packets.ConnackInvalidClientID
	case v3.ErrRefusedServerUnavailable:
		ca.ReasonCode = packets.ConnackServerUnavailable
	case v3.ErrRefusedBadUsernameOrPassword:
		ca.ReasonCode = packets.ConnackBadUsernameOrPassword
	case v3.ErrRefusedNotAuthorised:
		ca.ReasonCode = packets.ConnackNotAuthorized
	default:
		ca.ReasonCode = packets.ConnackUnspecifiedError
	}
	return ca, nil
}

// decode3 parses a packet other than PUBACK that came in MQTT 3.1.1.
func decode3(first byte, body []byte) (packets.Packet, error) {
	h := v3.FixedHeader{MessageType: first >> 4, Dup: first&8 != 0, Qos: first >> 1 & 3, Retain: first&1 != 0, RemainingLength: len(body)}
	if h.Qos > 2 {
		return nil, malformed("QoS 3")
	}
	p, err := v3.NewControlPacketWithHeader(h)
	if err != nil {
		return nil, malformed("packet type %d", h.MessageType)
	}
	// A Buffer gives nothing of nothing, where a Reader at its end says that it is there: a
	// payload may be empty.
	if err := p.Unpack(bytes.NewBuffer(body)); err != nil {
		return nil, malformed("packet type %d: %v", h.MessageType, err)
	}
	switch p := p.(type) {
	case *v3.PublishPacket:
		return &packets.Publish{
			Topic: p.TopicName, Payload: p.Payload, QoS: p.Qos, Retain: p.Retain, Duplicate: p.Dup, PacketID: p.MessageID,
			Properties: &packets.Properties{},
		}, nil
	case *v3.SubackPacket:
		return &packets.Suback{PacketID: p.MessageID, Reasons: p.ReturnCodes, Properties: &packets.Properties{}}, nil
	case *v3.UnsubackPacket:
		return &packets.Unsuback{PacketID: p.MessageID, Properties: &packets.Properties{}}, nil
	case *v3.PingrespPacket:
		return &packets.Pingresp{}, nil
	}
	return nil, &ProtocolError{Code: packets.DisconnectProtocolError, Text: "a packet that a server does not send in MQTT 3.1.1"}
}

// subscribe3 is the SUBSCRIBE of MQTT 3.1.1.
func subscribe3(s *packets.Subscribe) []byte {
	p := v3.NewControlPacket(v3.Subscribe).(*v3.SubscribePacket)
	p.MessageID = s.PacketID
	for _, o := range s.Subscriptions {
		p.Topics, p.Qoss = append(p.Topics, o.Topic), append(p.Qoss, o.QoS)
	}
	return written3(p)
}

// unsubscribe3 is the UNSUBSCRIBE of MQTT 3.1.1.
func unsubscribe3(u *packets.Unsubscribe) []byte {
	p := v3.NewControlPacket(v3.Unsubscribe).(*v3.UnsubscribePacket)
	p.MessageID, p.Topics = u.PacketID, u.Topics
	return written3(p)
}

// disconnect is our last word, with its reason where the protocol has one.
func (c *conn) disconnect(code byte) []byte {
	if c.server.v3 {
		return written3(v3.NewControlPacket(v3.Disconnect))
	}
	d := &packets.Disconnect{ReasonCode: code, Properties: &packets.Properties{}}
	return packetOf(packets.DISCONNECT<<4, d.Buffers())
}

// otherVersion reports whether the other protocol version may be let in where
// this one was not: the broker says so, or hung up on a CONNECT that it did not
// understand.
func otherVersion(err error) bool {
	if e, ok := errors.AsType[*RefusedError](err); ok && e.Code != 0 {
		return e.Code == packets.ConnackUnsupportedProtocolVersion || e.Code == v3.ErrRefusedBadProtocolVersion
	}
	_, confused := errors.AsType[*ProtocolError](err)
	return confused || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, syscall.ECONNRESET)
}
