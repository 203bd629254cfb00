package conformance

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/mochi-mqtt/server/v2/packets"

	"github.com/ebbgate/ebbgate/localbroker"
)

func retain(pk *packets.Packet) { pk.FixedHeader.Retain = true }

func qos2(pk *packets.Packet) { pk.FixedHeader.Qos = 2 }

func TestB72_QoS0(t *testing.T) {
	t.Parallel()
	both(t, func(t *testing.T, g *gate, version byte) {
		sub := g.join(version, "sub")
		sub.listen(1, "t")
		pub := g.join(version, "pub")
		pub.send(publish(0, "t", "x"))
		pub.expectNothing()
		if pk := sub.expectMessage("t", "x"); pk.FixedHeader.Qos != 0 {
			t.Errorf("QoS %d", pk.FixedHeader.Qos)
		}
		sub.expectNothing()
	})
}

func TestB73_PubackOf3(t *testing.T) { testPuback(t, 4) }

func TestB74_PubackOf5(t *testing.T) { testPuback(t, 5) }

// testPuback publishes with QoS 1: the acknowledgement comes after the sync of
// what a route takes, and is MQTT's four bytes.
func testPuback(t *testing.T, version byte) {
	g := open(t, slowly(200*time.Millisecond))
	d := g.join(version, "d")
	d.send(publish(1000, "t", "x"))
	d.expectNothing() // the spool has it, the disk has not
	ack := d.expect(packets.Puback)
	if ack.PacketID != 1000 || ack.ReasonCode != 0 || len(d.body) != 2 {
		t.Errorf("PUBACK of %d with %#x in %x", ack.PacketID, ack.ReasonCode, d.body)
	}
}

func TestB75_QoS2Of3(t *testing.T) {
	t.Parallel()
	g := open(t)
	d := g.join(4, "d")
	d.listen(1, "t")
	d.send(publish(5, "t", "twice", qos2))
	d.expectNothing()
	g.join(4, "pub").say("t", "once")
	d.expectMessage("t", "once")
	if n := g.dropped("qos2"); n != 1 {
		t.Errorf("%d drops, want 1", n)
	}
	closing := open(t, with(func(s *localbroker.SwitchOptions) { s.QoS2V3 = "close" }))
	d = closing.join(4, "d")
	d.send(publish(5, "t", "twice", qos2))
	d.expectEnd()
	closing.wantEnd("qos2")
}

func TestB76_QoS2Of5(t *testing.T) {
	t.Parallel()
	g := open(t)
	d := g.join(5, "d")
	d.send(publish(5, "t", "twice", qos2))
	d.expectGoodbye(0x9B)
}

func TestB77_PacketsOfQoS2(t *testing.T) {
	t.Parallel()
	both(t, func(_ *testing.T, g *gate, version byte) {
		for _, kind := range []byte{packets.Pubrec, packets.Pubrel, packets.Pubcomp} {
			d := g.join(version, "d")
			d.send(packets.Packet{FixedHeader: packets.FixedHeader{Type: kind}, PacketID: 5})
			d.expectGoodbye(0x82)
			g.wantEnd("protocol-error")
		}
	})
}

func TestB78_Dup(t *testing.T) {
	t.Parallel()
	both(t, func(t *testing.T, g *gate, version byte) {
		sub := g.join(version, "sub")
		sub.listen(1, "t")
		pub := g.join(version, "pub")
		pub.say("t", "x")
		pub.say("t", "x", func(pk *packets.Packet) { pk.FixedHeader.Dup = true })
		for range 2 {
			if pk := sub.expectMessage("t", "x"); pk.FixedHeader.Dup {
				t.Error("delivered with DUP")
			}
		}
	})
}

// refusesTopic publishes with both QoS to a topic that is refused with 0x90.
func refusesTopic(g *gate, version byte, topic string, changes ...change) {
	g.tb.Helper()
	d := g.join(version, "d")
	d.send(publish(9, topic, "x", changes...))
	if version == 5 {
		d.expectAck(9, 0x90)
		d.goodbye()
		g.wantEnd("client-disconnect")
	} else {
		d.expectEnd()
		g.wantEnd("topic-invalid")
	}
	e := g.join(version, "e")
	e.send(publish(0, topic, "x", changes...))
	e.expectGoodbye(0x90)
	g.wantEnd("topic-invalid")
}

// topicSwitches turns what devices see of a refused topic.
func topicSwitches(s *localbroker.SwitchOptions) {
	s.RefusedTopicV5, s.RefusedTopicV3 = "disconnect", "ack"
}

// turnedTopic is refusesTopic with those switches.
func turnedTopic(g *gate, version byte, topic string, changes ...change) {
	g.tb.Helper()
	d := g.join(version, "d")
	d.send(publish(9, topic, "x", changes...))
	if version == 5 {
		d.expectGoodbye(0x90)
		return
	}
	d.expectAck(9, 0)
	d.expectNothing()
}

func TestB79_WildcardInTopic(t *testing.T) {
	t.Parallel()
	topics := []string{"a/+/b", "a/#", "+", "#", "a+b", "a/b#c"}
	both(t, func(_ *testing.T, g *gate, version byte) {
		for _, topic := range topics {
			refusesTopic(g, version, topic)
		}
	})
	both(t, func(_ *testing.T, g *gate, version byte) { turnedTopic(g, version, "a/+/b") }, with(topicSwitches))
}

var tooLong = []string{strings.Repeat("x", 257), strings.Repeat("ü", 129), "a/b/c/d/e/f/g/h/i"}

func TestB80_LongTopic(t *testing.T) {
	t.Parallel()
	g := open(t)
	for _, topic := range tooLong {
		refusesTopic(g, 5, topic)
	}
	d := g.join(5, "f")
	for _, topic := range []string{strings.Repeat("x", 256), "a/b/c/d/e/f/g/h"} {
		d.say(topic, "x")
	}
	turnedTopic(open(t, with(topicSwitches)), 5, tooLong[0])
}

func TestB81_LongTopicOf3(t *testing.T) {
	t.Parallel()
	g := open(t)
	for _, topic := range tooLong {
		refusesTopic(g, 4, topic)
	}
	d := g.join(4, "f")
	for _, topic := range []string{strings.Repeat("x", 256), "a/b/c/d/e/f/g/h"} {
		d.say(topic, "x")
	}
	turnedTopic(open(t, with(topicSwitches)), 4, tooLong[0])
}

func TestB82_UnknownDollarTopic(t *testing.T) {
	t.Parallel()
	topics := []string{"$mine/t", "$SYS/broker/uptime", "$share/g/t", "$", "$awsome/t"}
	both(t, func(_ *testing.T, g *gate, version byte) {
		for _, topic := range topics {
			refusesTopic(g, version, topic)
		}
	})
	both(t, func(_ *testing.T, g *gate, version byte) { turnedTopic(g, version, "$mine/t") }, with(topicSwitches))
}

func TestB83_RetainOnReservedTopic(t *testing.T) {
	both(t, func(_ *testing.T, g *gate, version byte) {
		refusesTopic(g, version, "$aws/things/d/shadow/update", retain)
	})
	both(t, func(_ *testing.T, g *gate, version byte) {
		turnedTopic(g, version, "$aws/things/d/shadow/update", retain)
	}, with(topicSwitches))
}

func TestB84_LargePayload(t *testing.T) {
	t.Parallel()
	both(t, func(_ *testing.T, g *gate, version byte) {
		full := strings.Repeat("x", 128<<10)
		g.join(version, "d").say("t", full)
		for id := range uint16(2) {
			d := g.join(version, "d")
			d.send(publish(id, "t", full+"x"))
			d.expectGoodbye(0x97)
		}
		packet := g.join(version, "d") // announces 149,505 bytes
		packet.write(0x30, 0xFD, 0x8F, 0x09)
		packet.expectGoodbye(0x97)
	})
}

func TestB85_PublishDenied(t *testing.T) {
	t.Parallel()
	g := open(t)
	d := g.join(5, "d")
	d.send(publish(3, "forbidden/t", "x"))
	d.expectAck(3, 0x87)
	d.send(publish(4, "unretained/t", "x", retain))
	d.expectAck(4, 0x87)
	d.say("unretained/t", "x")
	d.send(publish(0, "forbidden/t", "x"))
	d.expectGoodbye(0x87)
	ending := open(t, func(s *setup) { s.lan().Denied.MQTT5 = "disconnect" })
	d = ending.join(5, "d")
	d.send(publish(3, "forbidden/t", "x"))
	d.expectGoodbye(0x87)
}

func TestB86_PublishDeniedOf3(t *testing.T) {
	t.Parallel()
	g := open(t)
	for id := range uint16(2) {
		d := g.join(4, "d")
		d.send(publish(id, "forbidden/t", "x"))
		d.expectEnd()
		g.wantEnd("not-authorized")
	}
	d := g.join(4, "d")
	d.send(publish(3, "unretained/t", "x", retain))
	d.expectEnd()
}

func TestB87_PacketIDInUse(t *testing.T) {
	g := open(t, slowly(200*time.Millisecond))
	d := g.join(5, "d")
	d.send(publish(7, "t", "first"), publish(7, "t", "second"), publish(8, "t", "third"))
	d.expectAck(7, 0)
	d.expectAck(7, 0x91)
	d.expectAck(8, 0)
	d.send(publish(7, "t", "fourth"))
	d.expectAck(7, 0)
}

// flood is n PUBLISHes of QoS 1.
func flood(n int) []packets.Packet {
	out := make([]packets.Packet, n)
	for i := range out {
		out[i] = publish(uint16(i+1), "t", fmt.Sprint(i))
	}
	return out
}

func TestB88_ReceiveMaximumExceeded(t *testing.T) {
	g := open(t, slowly(time.Second))
	d := g.join(5, "d")
	d.send(flood(101)...)
	d.expectGoodbye(0x93)
	g.wantEnd("receive-maximum")
}

func TestB89_WindowOf3(t *testing.T) {
	g := open(t, slowly(300*time.Millisecond))
	d := g.join(4, "d")
	d.send(flood(105)...)
	for i := range uint16(105) {
		d.expectAck(i+1, 0)
	}
}
