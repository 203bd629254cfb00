package localbroker

import (
	"bufio"
	"bytes"
	"cmp"
	"errors"
	"io"
	"net"
	"os"
	"testing"
	"time"

	"github.com/mochi-mqtt/server/v2/packets"
)

// device is a raw MQTT client: it sends what the test says, right or wrong, and
// shows what comes.
type device struct {
	net.Conn
	tb      testing.TB
	in      *bufio.Reader
	version byte

	patience time.Duration    // for a packet; 0: as for everything
	early    []packets.Packet // messages that came before what was awaited
}

// hello is a CONNECT to be varied.
func hello(version byte, id string) packets.Packet {
	return packets.Packet{
		FixedHeader: packets.FixedHeader{Type: packets.Connect}, ProtocolVersion: version,
		Connect: packets.ConnectParams{ProtocolName: []byte("MQTT"), ClientIdentifier: id, Clean: true, Keepalive: 60},
	}
}

func dial(tb testing.TB, addr string, version byte) *device {
	tb.Helper()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		tb.Fatal(err)
	}
	return over(tb, conn, version)
}

func over(tb testing.TB, conn net.Conn, version byte) *device {
	tb.Cleanup(func() { _ = conn.Close() })
	return &device{Conn: conn, tb: tb, in: bufio.NewReader(conn), version: version}
}

// join connects and expects success.
func (h *house) join(version byte, id string, change ...func(*packets.Packet)) *device {
	h.tb.Helper()
	d := dial(h.tb, h.addr(), version)
	ack := d.connect(id, change...)
	if ack.ReasonCode != 0 {
		h.tb.Fatalf("CONNACK %#x", ack.ReasonCode)
	}
	h.ready(id)
	return d
}

// ready waits until the connection is open: CONNACK is out a moment before, and who
// is told goodbye in between is only closed.
func (h *house) ready(id string) {
	h.tb.Helper()
	if id == "" {
		return // the broker chose another
	}
	eventually(h.tb, id+" is open", func() bool {
		s := h.sessions.find(id)
		if s == nil {
			return false
		}
		c := s.current()
		return c != nil && c.open.Load()
	})
}

// leave cuts the device's connection and waits until the broker has noticed.
func (h *house) leave(d *device, id string) {
	h.tb.Helper()
	_ = d.Close()
	eventually(h.tb, id+" is away", func() bool {
		s := h.sessions.find(id)
		return s == nil || s.current() == nil
	})
}

func (d *device) connect(id string, change ...func(*packets.Packet)) packets.Packet {
	d.tb.Helper()
	pk := hello(d.version, id)
	for _, f := range change {
		f(&pk)
	}
	d.send(pk)
	return d.expect(packets.Connack)
}

// send encodes and writes a packet.
func (d *device) send(pk packets.Packet) {
	d.tb.Helper()
	if _, err := d.Write(encode(d.tb, pk, d.version)); err != nil {
		d.tb.Fatalf("send: %v", err)
	}
}

func encode(tb testing.TB, pk packets.Packet, version byte) []byte {
	tb.Helper()
	var buf bytes.Buffer
	var err error
	pk.ProtocolVersion = version
	pk.Mods.AllowResponseInfo = true
	switch pk.FixedHeader.Type {
	case packets.Connect:
		err = pk.ConnectEncode(&buf)
	case packets.Publish:
		err = pk.PublishEncode(&buf)
	case packets.Puback:
		err = pk.PubackEncode(&buf)
	case packets.Pubrec:
		err = pk.PubrecEncode(&buf)
	case packets.Pubrel:
		pk.FixedHeader.Qos = 1
		err = pk.PubrelEncode(&buf)
	case packets.Pubcomp:
		err = pk.PubcompEncode(&buf)
	case packets.Subscribe:
		pk.FixedHeader.Qos = 1
		err = pk.SubscribeEncode(&buf)
	case packets.Unsubscribe:
		pk.FixedHeader.Qos = 1
		err = pk.UnsubscribeEncode(&buf)
	case packets.Disconnect:
		err = pk.DisconnectEncode(&buf)
	case packets.Auth:
		err = pk.AuthEncode(&buf)
	case packets.Pingreq:
		err = pk.PingreqEncode(&buf)
	default:
		tb.Fatalf("no encoder for packet type %d", pk.FixedHeader.Type)
	}
	if err != nil {
		tb.Fatal(err)
	}
	return buf.Bytes()
}

// read reads one packet.
func (d *device) read() (pk packets.Packet, err error) {
	_ = d.SetReadDeadline(time.Now().Add(cmp.Or(d.patience, patience)))
	b, err := d.in.ReadByte()
	if err != nil {
		return pk, err
	}
	pk.ProtocolVersion = d.version
	pk.FixedHeader.Type, pk.FixedHeader.Qos = b>>4, b>>1&3
	pk.FixedHeader.Retain, pk.FixedHeader.Dup = b&1 > 0, b>>3&1 > 0
	n, _, err := packets.DecodeLength(d.in)
	if err != nil {
		return pk, err
	}
	pk.FixedHeader.Remaining = n
	body := make([]byte, n)
	if _, err := io.ReadFull(d.in, body); err != nil {
		return pk, err
	}
	switch pk.FixedHeader.Type {
	case packets.Connack:
		err = pk.ConnackDecode(body)
	case packets.Publish:
		err = pk.PublishDecode(body)
	case packets.Puback:
		err = pk.PubackDecode(body)
	case packets.Pubrec:
		err = pk.PubrecDecode(body)
	case packets.Pubrel:
		err = pk.PubrelDecode(body)
	case packets.Pubcomp:
		err = pk.PubcompDecode(body)
	case packets.Suback:
		err = pk.SubackDecode(body)
	case packets.Unsuback:
		err = pk.UnsubackDecode(body)
	case packets.Disconnect:
		err = pk.DisconnectDecode(body)
	}
	return pk, err
}

// expect reads the next packet, which must be of this type.
func (d *device) expect(kind byte) packets.Packet {
	d.tb.Helper()
	pk, err := d.read()
	if err != nil {
		d.tb.Fatalf("want %s: %v", packets.PacketNames[kind], err)
	}
	if pk.FixedHeader.Type != kind {
		d.tb.Fatalf("want %s, got %s %#x", packets.PacketNames[kind], packets.PacketNames[pk.FixedHeader.Type], pk.ReasonCode)
	}
	return pk
}

// expectEnd expects that the broker closes without another word.
func (d *device) expectEnd() {
	d.tb.Helper()
	pk, err := d.read()
	if err == nil {
		d.tb.Fatalf("want the end of the connection, got %s %#x", packets.PacketNames[pk.FixedHeader.Type], pk.ReasonCode)
	}
	if errors.Is(err, os.ErrDeadlineExceeded) {
		d.tb.Fatal("the connection stays open")
	}
}

// expectGoodbye expects DISCONNECT with a code, then the end.
func (d *device) expectGoodbye(code byte) {
	d.tb.Helper()
	if pk := d.expect(packets.Disconnect); pk.ReasonCode != code {
		d.tb.Fatalf("DISCONNECT %#x, want %#x", pk.ReasonCode, code)
	}
	d.expectEnd()
}

// expectNothing expects that nothing is on its way: a PINGREQ is answered next.
func (d *device) expectNothing() {
	d.tb.Helper()
	if len(d.early) > 0 {
		d.tb.Fatalf("%d messages came before", len(d.early))
	}
	d.send(packets.Packet{FixedHeader: packets.FixedHeader{Type: packets.Pingreq}})
	d.expect(packets.Pingresp)
}

func publish(id uint16, topic, payload string, change ...func(*packets.Packet)) packets.Packet {
	pk := packets.Packet{FixedHeader: packets.FixedHeader{Type: packets.Publish}, TopicName: topic, Payload: []byte(payload), PacketID: id}
	if id > 0 {
		pk.FixedHeader.Qos = 1
	}
	for _, f := range change {
		f(&pk)
	}
	return pk
}

func retain(pk *packets.Packet) { pk.FixedHeader.Retain = true }

func persistent(seconds uint32) func(*packets.Packet) {
	return func(pk *packets.Packet) {
		pk.Connect.Clean = false
		if seconds > 0 {
			pk.Properties.SessionExpiryInterval, pk.Properties.SessionExpiryIntervalFlag = seconds, true
		}
	}
}

// subscribe subscribes and returns the codes.
func (d *device) subscribe(qos byte, filters ...string) []byte {
	d.tb.Helper()
	pk := packets.Packet{FixedHeader: packets.FixedHeader{Type: packets.Subscribe}, PacketID: 7}
	for _, f := range filters {
		pk.Filters = append(pk.Filters, packets.Subscription{Filter: f, Qos: qos})
	}
	d.send(pk)
	return d.expect(packets.Suback).ReasonCodes
}

// puback acknowledges a delivery.
func (d *device) puback(id uint16) {
	d.tb.Helper()
	d.send(packets.Packet{FixedHeader: packets.FixedHeader{Type: packets.Puback}, PacketID: id})
}

// take reads a PUBLISH and acknowledges it.
func (d *device) take() packets.Packet {
	d.tb.Helper()
	if len(d.early) > 0 {
		pk := d.early[0]
		d.early = d.early[1:]
		return pk
	}
	pk := d.expect(packets.Publish)
	if pk.FixedHeader.Qos > 0 {
		d.puback(pk.PacketID)
	}
	return pk
}
