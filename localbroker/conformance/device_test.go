package conformance

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"slices"
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
	body    []byte // of the packet read last, as it came
}

// dial opens a socket.
func (g *gate) dial(version byte) *device {
	g.tb.Helper()
	conn, err := net.Dial("tcp", g.Addrs()["lan"].String())
	if err != nil {
		g.tb.Fatal(err)
	}
	g.tb.Cleanup(func() { _ = conn.Close() })
	return &device{Conn: conn, tb: g.tb, in: bufio.NewReader(conn), version: version}
}

// change varies a packet.
type change = func(*packets.Packet)

// hello is a CONNECT with a clean session.
func hello(id string, changes ...change) packets.Packet {
	return varied(packets.Packet{
		FixedHeader: packets.FixedHeader{Type: packets.Connect},
		Connect:     packets.ConnectParams{ProtocolName: []byte("MQTT"), ClientIdentifier: id, Clean: true, Keepalive: 60},
	}, changes)
}

func varied(pk packets.Packet, changes []change) packets.Packet {
	for _, f := range changes {
		f(&pk)
	}
	return pk
}

// join connects and expects success.
func (g *gate) join(version byte, id string, changes ...change) *device {
	g.tb.Helper()
	d := g.dial(version)
	if ack := d.connect(id, changes...); ack.ReasonCode != 0 {
		g.tb.Fatalf("CONNACK %#x", ack.ReasonCode)
	}
	return d
}

// cut closes the socket without a word and waits until the broker has noticed.
func (g *gate) cut(d *device, id string) {
	g.tb.Helper()
	_ = d.Close()
	g.absent(id)
}

// connect sends CONNECT and returns CONNACK.
func (d *device) connect(id string, changes ...change) packets.Packet {
	d.tb.Helper()
	d.send(hello(id, changes...))
	return d.expect(packets.Connack)
}

// send encodes packets and writes them at once.
func (d *device) send(pks ...packets.Packet) {
	d.tb.Helper()
	var all []byte
	for _, pk := range pks {
		all = append(all, d.encode(pk)...)
	}
	d.write(all...)
}

// write sends bytes as they are.
func (d *device) write(b ...byte) {
	d.tb.Helper()
	if _, err := d.Conn.Write(b); err != nil {
		d.tb.Fatalf("send: %v", err)
	}
}

// encode makes the bytes of a packet.
func (d *device) encode(pk packets.Packet) []byte {
	d.tb.Helper()
	encoders := map[byte]func(*packets.Packet, *bytes.Buffer) error{
		packets.Connect: (*packets.Packet).ConnectEncode, packets.Publish: (*packets.Packet).PublishEncode,
		packets.Puback: (*packets.Packet).PubackEncode, packets.Pubrec: (*packets.Packet).PubrecEncode,
		packets.Pubrel: (*packets.Packet).PubrelEncode, packets.Pubcomp: (*packets.Packet).PubcompEncode,
		packets.Subscribe: (*packets.Packet).SubscribeEncode, packets.Unsubscribe: (*packets.Packet).UnsubscribeEncode,
		packets.Pingreq: (*packets.Packet).PingreqEncode, packets.Disconnect: (*packets.Packet).DisconnectEncode,
		packets.Auth: (*packets.Packet).AuthEncode,
	}
	kind := pk.FixedHeader.Type
	if slices.Contains([]byte{packets.Pubrel, packets.Subscribe, packets.Unsubscribe}, kind) {
		pk.FixedHeader.Qos = 1 // the reserved bits
	}
	if pk.ProtocolVersion == 0 {
		pk.ProtocolVersion = d.version
	}
	pk.Mods.AllowResponseInfo = true
	var buf bytes.Buffer
	if err := encoders[kind](&pk, &buf); err != nil {
		d.tb.Fatalf("encode %s: %v", packets.PacketNames[kind], err)
	}
	return buf.Bytes()
}

// read reads one packet.
func (d *device) read() (pk packets.Packet, err error) {
	_ = d.SetReadDeadline(time.Now().Add(patience))
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
	d.body = make([]byte, n)
	if _, err := io.ReadFull(d.in, d.body); err != nil {
		return pk, err
	}
	pk.FixedHeader.Remaining = n
	switch pk.FixedHeader.Type {
	case packets.Connack:
		err = pk.ConnackDecode(d.body)
	case packets.Publish:
		err = pk.PublishDecode(d.body)
	case packets.Puback:
		err = pk.PubackDecode(d.body)
	case packets.Suback:
		err = pk.SubackDecode(d.body)
	case packets.Unsuback:
		err = pk.UnsubackDecode(d.body)
	case packets.Disconnect:
		err = pk.DisconnectDecode(d.body)
	}
	return pk, err
}

// hears reports whether anything comes within that time, the end included.
func (d *device) hears(within time.Duration) bool {
	_ = d.SetReadDeadline(time.Now().Add(within))
	_, err := d.in.Peek(1)
	return !errors.Is(err, os.ErrDeadlineExceeded)
}

// expect reads the next packet, which must be of this type.
func (d *device) expect(kind byte) packets.Packet {
	d.tb.Helper()
	pk, err := d.read()
	if err != nil {
		d.tb.Fatalf("want %s: %v", packets.PacketNames[kind], err)
	}
	if pk.FixedHeader.Type != kind {
		d.tb.Fatalf("want %s, got %s %#x %v", packets.PacketNames[kind], packets.PacketNames[pk.FixedHeader.Type], pk.ReasonCode, pk.ReasonCodes)
	}
	return pk
}

// expectEnd expects that the broker closes without another word.
func (d *device) expectEnd() {
	d.tb.Helper()
	pk, err := d.read()
	if err == nil {
		d.tb.Fatalf("want the end of the connection, got %s %#x %v", packets.PacketNames[pk.FixedHeader.Type], pk.ReasonCode, pk.ReasonCodes)
	}
	if errors.Is(err, os.ErrDeadlineExceeded) {
		d.tb.Fatal("the connection stays open")
	}
}

// expectGoodbye expects the end of the connection, which MQTT 5 is told about
// in a DISCONNECT with this code and 3.1.1 is not (B185, B186).
func (d *device) expectGoodbye(code byte) {
	d.tb.Helper()
	if d.version == 5 {
		if pk := d.expect(packets.Disconnect); pk.ReasonCode != code {
			d.tb.Fatalf("DISCONNECT %#x, want %#x", pk.ReasonCode, code)
		}
	}
	d.expectEnd()
}

// expectNothing expects that nothing is on its way: what the broker answers
// next is a PINGREQ.
func (d *device) expectNothing() {
	d.tb.Helper()
	d.send(packets.Packet{FixedHeader: packets.FixedHeader{Type: packets.Pingreq}})
	d.expect(packets.Pingresp)
}

// expectAck expects the PUBACK of a packet id with a code, which 3.1.1 does not
// have.
func (d *device) expectAck(id uint16, code byte) {
	d.tb.Helper()
	pk := d.expect(packets.Puback)
	if d.version < 5 {
		code = 0
	}
	if pk.PacketID != id || pk.ReasonCode != code {
		d.tb.Fatalf("PUBACK of %d with %#x, want %d with %#x", pk.PacketID, pk.ReasonCode, id, code)
	}
}

// expectAckAnd expects the PUBACK of a packet id and a message, in whichever
// order they come.
func (d *device) expectAckAnd(id uint16, message func()) {
	d.tb.Helper()
	if !d.hears(patience) {
		d.tb.Fatal("nothing comes")
	}
	if first, _ := d.in.Peek(1); first[0]>>4 == packets.Publish {
		message()
		d.expectAck(id, 0)
		return
	}
	d.expectAck(id, 0)
	message()
}

// publish is a PUBLISH, of QoS 1 when it has a packet id.
func publish(id uint16, topic, payload string, changes ...change) packets.Packet {
	pk := packets.Packet{FixedHeader: packets.FixedHeader{Type: packets.Publish}, TopicName: topic, Payload: []byte(payload), PacketID: id}
	if id > 0 {
		pk.FixedHeader.Qos = 1
	}
	return varied(pk, changes)
}

// say publishes with QoS 1, expects the acknowledgement of success, and settles.
func (d *device) say(topic, payload string, changes ...change) {
	d.tb.Helper()
	d.send(publish(1, topic, payload, changes...))
	d.expectAck(1, 0)
	d.settle()
}

// settle waits until what the device has published is in the queues of its
// subscribers: the acknowledgement of the next message, which nobody can
// subscribe to (B106), comes after that.
func (d *device) settle() {
	d.tb.Helper()
	d.send(publish(2, "$aws/rules/none/t", ""))
	d.expectAck(2, 0)
}

// subscribe sends SUBSCRIBE and returns the codes.
func (d *device) subscribe(qos byte, filters ...string) []byte {
	d.tb.Helper()
	d.send(subscribing(qos, filters...))
	return d.expect(packets.Suback).ReasonCodes
}

func subscribing(qos byte, filters ...string) packets.Packet {
	pk := packets.Packet{FixedHeader: packets.FixedHeader{Type: packets.Subscribe}, PacketID: 7}
	for _, f := range filters {
		pk.Filters = append(pk.Filters, packets.Subscription{Filter: f, Qos: qos})
	}
	return pk
}

// listen subscribes and expects that it was granted.
func (d *device) listen(qos byte, filters ...string) {
	d.tb.Helper()
	d.wantCodes(d.subscribe(qos, filters...), slices.Repeat([]byte{qos}, len(filters))...)
}

// unsubscribe sends UNSUBSCRIBE and returns the codes, none for 3.1.1.
func (d *device) unsubscribe(filters ...string) []byte {
	d.tb.Helper()
	d.send(unsubscribing(filters...))
	return d.expect(packets.Unsuback).ReasonCodes
}

func unsubscribing(filters ...string) packets.Packet {
	pk := subscribing(0, filters...)
	pk.FixedHeader.Type = packets.Unsubscribe
	return pk
}

func (d *device) wantCodes(got []byte, want ...byte) {
	d.tb.Helper()
	if !bytes.Equal(got, want) {
		d.tb.Fatalf("codes %#v, want %#v", got, want)
	}
}

// take reads a PUBLISH and acknowledges it.
func (d *device) take() packets.Packet {
	d.tb.Helper()
	pk := d.expect(packets.Publish)
	if pk.FixedHeader.Qos > 0 {
		d.puback(pk.PacketID)
	}
	return pk
}

// expectMessage takes a message and compares topic and payload.
func (d *device) expectMessage(topic, payload string) packets.Packet {
	d.tb.Helper()
	pk := d.take()
	if pk.TopicName != topic || string(pk.Payload) != payload {
		d.tb.Fatalf("got %q on %s, want %q on %s", pk.Payload, pk.TopicName, payload, topic)
	}
	return pk
}

func (d *device) puback(id uint16) {
	d.tb.Helper()
	d.send(packets.Packet{FixedHeader: packets.FixedHeader{Type: packets.Puback}, PacketID: id})
}

// goodbye sends DISCONNECT.
func (d *device) goodbye(changes ...change) {
	d.tb.Helper()
	d.send(varied(packets.Packet{FixedHeader: packets.FixedHeader{Type: packets.Disconnect}}, changes))
}
