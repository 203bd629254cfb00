package localbroker

import (
	"errors"

	"github.com/google/uuid"
	"github.com/mochi-mqtt/server/v2/packets"
)

// serve is the life of a connection on its reading goroutine, from CONNECT to
// its end, whose cause it returns.
//
// The packets are mochi's; its server, which would drive a connection, is not
// used: see ADR 6. While nothing comes, serve waits as few frames deep as it
// can, so that the stacks of ten thousand silent devices stay small.
func (c *client) serve() error {
	early, err := c.greet()
	if err != nil {
		return err
	}
	if early {
		return errEarlyPacket
	}
	for {
		c.wire.await()
		if err := c.inbound.await(); err != nil {
			return err
		}
		if more, err := c.take(); !more {
			return err
		}
	}
}

// greet reads CONNECT and answers it; early says that the device has not waited
// for that, and must (B17).
func (c *client) greet() (early bool, err error) {
	pk, err := c.inbound.next()
	if err != nil {
		return false, err
	}
	c.wire.throttle.passes(c.inbound.size, c.wire.done)
	c.broker.traffic.packetsIn.Add(1)
	c.broker.traffic.connects.Add(1)
	c.hello = &pk
	c.inbound.version = pk.ProtocolVersion
	if err := c.valid(); err != nil {
		return false, err
	}
	id := pk.Connect.ClientIdentifier
	if id == "" {
		id = uuid.NewString() // B21
	}
	if err := c.connect(id); err != nil {
		return false, err
	}
	early = c.settings.closesEarly(c.profile) && c.early()
	// Before CONNACK: who has it is counted.
	c.broker.traffic.connected(c.broker.connected.Add(1))
	c.listener.finished(c.wire.raw)
	if err := c.wire.keepAlive(c.alive); err != nil {
		return early, err
	}
	connack := encodeConnack(c.version, c.present, c.connack())
	if len(connack) > c.largest { // [MQTT-3.1.2-24]
		return early, &tooLargeError{len(connack), c.largest}
	}
	if err := c.wire.writeWelcome(connack); err != nil {
		return early, err
	}
	c.greeted()
	c.session.start(c)
	c.broker.lifecycle.connected(c)
	if f := c.broker.events.Connected; f != nil {
		f(c.info())
	}
	return early, nil
}

// valid checks the form of the CONNECT that MQTT itself asks for, and answers
// one that is not. The will and the login are checked by us: mochi refuses legal
// ones (an empty payload, an empty password).
func (c *client) valid() error {
	bare := *c.hello
	bare.Connect.WillFlag, bare.Connect.WillRetain = false, false
	bare.Connect.UsernameFlag, bare.Connect.Username, bare.Connect.PasswordFlag, bare.Connect.Password = false, nil, false, nil
	code, version := bare.ConnectValidate(), c.hello.ProtocolVersion
	if code == packets.CodeSuccess {
		switch {
		case version < 4: // B16
			code = packets.ErrUnsupportedProtocolVersion
		case version < 5 && !bare.Connect.Clean && bare.Connect.ClientIdentifier == "": // B22
			code = packets.ErrClientIdentifierNotValid
		default:
			return nil
		}
	}
	answer := code.Code
	switch {
	case version == 5:
	case version != 4:
		answer = 1 // unacceptable protocol level (B16)
	case c.settings.Switches.RefusedConnectV3 == switchClose:
		return &malformedError{code}
	case code == packets.ErrClientIdentifierNotValid:
		answer = 2
	default:
		return &malformedError{code} // 3.1.1 has no code for it
	}
	c.wire.writeLast(encodeRefusal(version, answer, code.Reason))
	return &malformedError{code}
}

// take reads one packet and answers it; more says whether to go on.
func (c *client) take() (more bool, err error) {
	pk, err := c.inbound.next()
	if err != nil {
		return false, err
	}
	c.wire.heard()
	c.broker.traffic.packetsIn.Add(1)
	if !c.intake.ready() {
		return false, nil
	}
	if pk.FixedHeader.Type != packets.Publish { // else it is publish that knows
		c.wire.throttle.passes(c.inbound.size, c.wire.done)
	}
	var why *cause
	switch pk.FixedHeader.Type {
	case packets.Publish:
		why = c.publish(&pk)
	case packets.Puback:
		c.session.acked(pk.PacketID)
	case packets.Pubrec, packets.Pubrel, packets.Pubcomp:
		why = c.acknowledged(&pk)
	case packets.Subscribe:
		why = c.subscribe(&pk)
	case packets.Unsubscribe:
		why = c.unsubscribe(&pk)
	case packets.Pingreq:
		_, err = c.wire.Write([]byte{packets.Pingresp << 4, 0}) // B38
		return err == nil, err
	case packets.Disconnect:
		if why = c.farewell(&pk); why == nil {
			return false, nil
		}
	default: // a second CONNECT (B18), AUTH (B47)
		why = &cause{reason: "protocol-error", code: 0x82}
	}
	if why != nil {
		c.close(*why)
		return false, errClosed
	}
	return true, nil
}

// errClosed says that the connection's cause is known.
var errClosed = errors.New("closed")

// farewell takes a DISCONNECT: the will is discarded unless the device wants it
// published (B164, B165), the session expiry may be changed (B60-B62).
func (c *client) farewell(pk *packets.Packet) *cause {
	if p := &pk.Properties; p.SessionExpiryIntervalFlag {
		if p.SessionExpiryInterval > 0 && c.expiry == 0 {
			return &cause{reason: "protocol-error", code: 0x82} // B60
		}
		c.expiry = min(seconds(p.SessionExpiryInterval), c.profile.sessionExpiry)
	}
	clean := pk.ReasonCode != packets.CodeDisconnectWillMessage.Code
	c.cause.CompareAndSwap(nil, &cause{reason: "client-disconnect", clean: clean})
	return nil
}
