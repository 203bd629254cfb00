package localbroker

import (
	"slices"
	"strings"

	mqtt "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/packets"
)

// hook is where mochi calls us. mochi frames, decodes and validates; every
// packet of an established connection is answered here, and mochi then gets an
// inert one. So nothing that mochi does with a PUBLISH, a subscription, a
// session or a will (mochi.md: M1-M17) can happen to a device's message.
type hook struct {
	mqtt.HookBase
	broker *Broker
}

// ID implements mqtt.Hook.
func (h *hook) ID() string { return "ebbgate" }

// Provides implements mqtt.Hook. OnACLCheck is deliberately not ours: without
// it mochi denies everything, which is right for a packet that should never
// have reached it.
func (h *hook) Provides(b byte) bool {
	return slices.Contains([]byte{
		mqtt.OnPacketRead, mqtt.OnConnect, mqtt.OnConnectAuthenticate,
		mqtt.OnSessionEstablished, mqtt.OnPacketEncode,
	}, b)
}

// clientOf finds our side of a connection.
func clientOf(cl *mqtt.Client) (*client, bool) {
	w, ok := cl.Net.Conn.(*wire)
	if !ok {
		return nil, false
	}
	return w.client, true
}

// OnPacketRead implements mqtt.Hook. An ErrRejectPacket ends the connection.
func (h *hook) OnPacketRead(cl *mqtt.Client, pk packets.Packet) (packets.Packet, error) {
	c, ok := clientOf(cl)
	if !ok {
		return pk, packets.ErrRejectPacket
	}
	if c.session == nil { // and so before OnConnect
		return c.greet(pk)
	}
	c.wire.heard()
	if !c.intake.ready() {
		return pk, packets.ErrRejectPacket
	}
	var why *cause
	switch pk.FixedHeader.Type {
	case packets.Publish:
		why = c.publish(&pk)
	case packets.Puback:
		c.session.acked(pk.PacketID)
	case packets.Subscribe:
		why = c.subscribe(&pk)
	case packets.Unsubscribe:
		why = c.unsubscribe(&pk)
	case packets.Pingreq:
		return pk, nil // mochi answers
	case packets.Disconnect:
		if why = c.farewell(&pk); why == nil {
			return packets.Packet{FixedHeader: packets.FixedHeader{Type: packets.Disconnect}, ProtocolVersion: pk.ProtocolVersion}, nil
		}
	default: // a second CONNECT (B18), AUTH (B47), the packets of QoS 2 (B77)
		why = &cause{reason: "protocol-error", code: 0x82}
	}
	if why != nil {
		c.close(*why)
		return pk, packets.ErrRejectPacket
	}
	return inert(), nil
}

// inert is a packet that mochi reads and forgets: the acknowledgement of a
// delivery that it never made.
func inert() packets.Packet {
	return packets.Packet{FixedHeader: packets.FixedHeader{Type: packets.Puback}}
}

// greet keeps the CONNECT and hands mochi one without will and login: it would
// publish the one unasked, and refuses legal ones of both (an empty payload, an
// empty password).
func (c *client) greet(pk packets.Packet) (packets.Packet, error) {
	if pk.FixedHeader.Type != packets.Connect || c.hello != nil {
		return pk, packets.ErrRejectPacket // mochi has seen to it already
	}
	hello := pk
	c.hello = &hello
	if pk.Connect.WillFlag {
		pk.Connect.WillFlag, pk.Connect.WillRetain, pk.Connect.WillQos = false, false, 0
		pk.Connect.WillTopic, pk.Connect.WillPayload, pk.Connect.WillProperties = "", nil, packets.Properties{}
	}
	pk.Connect.UsernameFlag, pk.Connect.Username, pk.Connect.PasswordFlag, pk.Connect.Password = false, nil, false, nil
	return pk, nil
}

// OnConnect implements mqtt.Hook: the CONNECT is well-formed.
func (h *hook) OnConnect(cl *mqtt.Client, _ packets.Packet) error {
	c, ok := clientOf(cl)
	if !ok {
		return packets.ErrRejectPacket
	}
	if err := c.connect(strings.Clone(cl.ID)); err != nil {
		return err
	}
	h.broker.connected.Add(1) // before CONNACK: who has it is counted
	if err := c.wire.keepAlive(c.alive); err != nil {
		return err
	}
	// mochi knows the connection, not the client: its take-over races, its
	// sessions outlive ours.
	cl.ID = h.broker.connectionID()
	c.mochiID = cl.ID
	cl.Properties.Clean = true
	cl.Properties.Props.SessionExpiryInterval, cl.Properties.Props.SessionExpiryIntervalFlag = 0, false
	return nil
}

// OnConnectAuthenticate implements mqtt.Hook: OnConnect has done it.
func (h *hook) OnConnectAuthenticate(cl *mqtt.Client, _ packets.Packet) bool {
	c, ok := clientOf(cl)
	return ok && c.session != nil
}

// OnSessionEstablished implements mqtt.Hook: CONNACK is written.
func (h *hook) OnSessionEstablished(cl *mqtt.Client, _ packets.Packet) {
	c, ok := clientOf(cl)
	if !ok {
		return
	}
	c.greeted()
	c.session.start(c)
	if f := h.broker.events.Connected; f != nil {
		f(c.info())
	}
}

// OnPacketEncode implements mqtt.Hook: the few packets that mochi still writes
// by itself, made ours or, with type 0, unwritten.
func (h *hook) OnPacketEncode(cl *mqtt.Client, pk packets.Packet) packets.Packet {
	c, ok := clientOf(cl)
	if !ok {
		return pk
	}
	version := cl.Properties.ProtocolVersion
	switch {
	case pk.FixedHeader.Type == packets.Connack && c.session != nil:
		pk.SessionPresent = c.present
		pk.Properties = c.connack()
	case pk.FixedHeader.Type == packets.Connack && version != 5:
		switch {
		case version != 4:
			pk.ReasonCode = 1 // unacceptable protocol level (B16)
		case c.settings.Switches.RefusedConnectV3 == switchClose:
			pk.FixedHeader.Type = packets.Reserved
		case pk.ReasonCode == packets.ErrUnspecifiedError.Code:
			pk.ReasonCode = 2 // no client id, and not clean (B22)
		case pk.ReasonCode > 5:
			pk.FixedHeader.Type = packets.Reserved
		}
	case pk.FixedHeader.Type == packets.Disconnect && version != 5: // M7
		pk.FixedHeader.Type = packets.Reserved
	}
	return pk
}

// farewell takes a DISCONNECT: the will is discarded unless the device wants it
// published (B164, B165), the session expiry may be changed (B60-B62).
func (c *client) farewell(pk *packets.Packet) *cause {
	if p := &pk.Properties; p.SessionExpiryIntervalFlag {
		if p.SessionExpiryInterval > 0 && c.expiry == 0 {
			return &cause{reason: "protocol-error", code: 0x82} // B60
		}
		c.expiry = min(seconds(p.SessionExpiryInterval), c.settings.Limits.SessionExpiry)
	}
	clean := pk.ReasonCode != packets.CodeDisconnectWillMessage.Code
	c.cause.CompareAndSwap(nil, &cause{reason: "client-disconnect", clean: clean})
	return nil
}
