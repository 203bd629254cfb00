package scenario

import (
	"bufio"
	"errors"
	"fmt"
	"net"
	"testing"
	"time"

	"github.com/eclipse/paho.mqtt.golang/packets"
)

// openPolicy lets the devices of a LAN do everything.
const openPolicy = `{
  "Version": "2012-10-17",
  "Statement": [{"Effect": "Allow", "Action": "iot:*", "Resource": "*"}]
}`

// local is a gateway whose devices speak to each other, with no cloud in reach.
func local(t testing.TB, set ...string) *gateway {
	t.Helper()
	g := newGateway(t, site{Endpoint: "mqtt://127.0.0.1:1", Set: set})
	g.write("policies/fleet.json", openPolicy)
	return g
}

// client is a device of MQTT 3.1.1 that does what the test says, packet by
// packet.
type client struct {
	net.Conn
	t       testing.TB
	in      *bufio.Reader
	present bool // Session Present
}

// join connects a device.
func join(t testing.TB, addr, id string, clean bool, change ...func(*packets.ConnectPacket)) *client {
	t.Helper()
	c, err := dialDevice(t, addr, id, clean, change...)
	if err != nil {
		t.Fatalf("%s: %v", id, err)
	}
	return c
}

func dialDevice(t testing.TB, addr, id string, clean bool, change ...func(*packets.ConnectPacket)) (*client, error) {
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		return nil, err
	}
	t.Cleanup(func() { _ = conn.Close() })
	c := &client{Conn: conn, t: t, in: bufio.NewReader(conn)}
	pk := packets.NewControlPacket(packets.Connect).(*packets.ConnectPacket)
	pk.ProtocolName, pk.ProtocolVersion, pk.ClientIdentifier, pk.CleanSession, pk.Keepalive = "MQTT", 4, id, clean, 600
	for _, f := range change {
		f(pk)
	}
	if err := pk.Write(conn); err != nil {
		return nil, err
	}
	answer, err := c.next()
	if err != nil {
		return nil, err
	}
	ack, ok := answer.(*packets.ConnackPacket)
	if !ok || ack.ReturnCode != 0 {
		return nil, fmt.Errorf("CONNECT was answered by %v", answer)
	}
	c.present = ack.SessionPresent
	return c, nil
}

func (c *client) next() (packets.ControlPacket, error) {
	if err := c.SetReadDeadline(time.Now().Add(30 * time.Second)); err != nil {
		return nil, err
	}
	return packets.ReadPacket(c.in)
}

// expect reads the next packet, which must be a P.
func expect[P packets.ControlPacket](c *client) P {
	c.t.Helper()
	pk, err := c.next()
	if err != nil {
		c.t.Fatal(err)
	}
	p, ok := pk.(P)
	if !ok {
		c.t.Fatalf("got %v", pk)
	}
	return p
}

func (c *client) send(pk packets.ControlPacket) {
	c.t.Helper()
	if err := pk.Write(c); err != nil {
		c.t.Fatal(err)
	}
}

func (c *client) subscribe(filters ...string) {
	c.t.Helper()
	pk := packets.NewControlPacket(packets.Subscribe).(*packets.SubscribePacket)
	pk.MessageID, pk.Topics = 1, filters
	for range filters {
		pk.Qoss = append(pk.Qoss, 1)
	}
	c.send(pk)
	for _, code := range expect[*packets.SubackPacket](c).ReturnCodes {
		if code != 1 {
			c.t.Fatalf("SUBACK %#x", code)
		}
	}
}

// leave says goodbye and waits until the gateway has seen it.
func (c *client) leave() {
	c.t.Helper()
	c.send(packets.NewControlPacket(packets.Disconnect))
	if _, err := c.next(); err == nil {
		c.t.Error("a packet after DISCONNECT")
	}
}

// take reads a message and acknowledges it.
func (c *client) take() *packets.PublishPacket {
	c.t.Helper()
	p := expect[*packets.PublishPacket](c)
	if p.Qos > 0 {
		ack := packets.NewControlPacket(packets.Puback).(*packets.PubackPacket)
		ack.MessageID = p.MessageID
		c.send(ack)
	}
	return p
}

// quiet expects that nothing is on its way.
func (c *client) quiet() {
	c.t.Helper()
	c.send(packets.NewControlPacket(packets.Pingreq))
	expect[*packets.PingrespPacket](c)
}

// letter is a message to publish.
type letter struct {
	topic, payload string
	retain         bool
}

// publishAll publishes with QoS 1, a hundred in flight, and returns once all are
// acknowledged.
func (c *client) publishAll(letters []letter) error {
	const window = 100
	out := bufio.NewWriter(c)
	sent, acked := 0, 0
	for acked < len(letters) {
		for sent < len(letters) && sent-acked < window {
			l := letters[sent]
			pk := packets.NewControlPacket(packets.Publish).(*packets.PublishPacket)
			pk.Qos, pk.MessageID, pk.TopicName, pk.Payload, pk.Retain = 1, uint16(sent%60_000+1), l.topic, []byte(l.payload), l.retain
			if err := pk.Write(out); err != nil {
				return err
			}
			sent++
		}
		if err := out.Flush(); err != nil {
			return err
		}
		for more := true; more; more = c.in.Buffered() > 0 {
			pk, err := c.next()
			if err != nil {
				return err
			}
			if _, ok := pk.(*packets.PubackPacket); !ok {
				return errors.New("no PUBACK: " + pk.String())
			}
			acked++
		}
	}
	return nil
}
