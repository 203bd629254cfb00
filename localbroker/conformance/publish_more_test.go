package conformance

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/mochi-mqtt/server/v2/packets"
)

// alias gives a PUBLISH a Topic Alias.
func alias(n uint16) change {
	return func(pk *packets.Packet) { pk.Properties.TopicAlias, pk.Properties.TopicAliasFlag = n, true }
}

// messageExpiry is the Message Expiry Interval of a PUBLISH; 0 is none.
func messageExpiry(seconds uint32) change {
	return func(pk *packets.Packet) { pk.Properties.MessageExpiryInterval = seconds }
}

// zeroExpiry is a PUBLISH of QoS 1 with packet id 1 and a Message Expiry
// Interval of 0, which the encoder cannot write.
func zeroExpiry(topic, payload string) []byte {
	body := append([]byte{0, byte(len(topic))}, topic...)
	body = append(body, 0, 1, 5, packets.PropMessageExpiryInterval, 0, 0, 0, 0)
	body = append(body, payload...)
	return append([]byte{0x32, byte(len(body))}, body...)
}

// hasExpiry reports whether the PUBLISH read last, of QoS 1, begins its
// properties with this Message Expiry Interval.
func (d *device) hasExpiry(seconds byte) bool {
	after := d.body[2+int(d.body[1])+2+1:]
	return bytes.HasPrefix(after, []byte{packets.PropMessageExpiryInterval, 0, 0, 0, seconds})
}

func TestB93_AliasBound(t *testing.T) {
	t.Parallel()
	g := open(t)
	sub := g.join(5, "sub")
	sub.listen(1, "#")
	d := g.join(5, "d")
	for n := range uint16(8) {
		d.say(fmt.Sprintf("topic/%d", n+1), "x", alias(n+1))
		sub.expectMessage(fmt.Sprintf("topic/%d", n+1), "x")
	}
	d.say("", "y", alias(8))
	if pk := sub.expectMessage("topic/8", "y"); pk.Properties.TopicAliasFlag {
		t.Error("the alias went on to the subscriber")
	}
	other := g.join(5, "other")
	other.send(publish(1, "", "z", alias(8)))
	other.expectGoodbye(0x82)
}

func TestB94_AliasResolved(t *testing.T) {
	t.Parallel()
	g := open(t)
	sub := g.join(5, "sub")
	sub.listen(1, "#")
	d := g.join(5, "d")
	d.say("first", "x", alias(1))
	d.say("second", "x", alias(1)) // bound anew
	d.say("", "y", alias(1))
	sub.expectMessage("first", "x")
	sub.expectMessage("second", "x")
	sub.expectMessage("second", "y")
	d.send(publish(2, "forbidden/t", "z", alias(2)))
	d.expectAck(2, 0x87)
	d.send(publish(3, "", "z", alias(2)))
	d.expectAck(3, 0x87)
	sub.expectNothing()
}

func TestB95_UnboundAlias(t *testing.T) {
	t.Parallel()
	g := open(t)
	d := g.join(5, "d")
	d.send(publish(1, "", "x", alias(3)))
	d.expectGoodbye(0x82)
}

func TestB96_AliasOutOfRange(t *testing.T) {
	t.Parallel()
	g := open(t)
	for _, n := range []byte{0, 9, 255} {
		d := g.join(5, "d")
		d.write(0x32, 9, 0, 1, 't', 0, 1, 3, packets.PropTopicAlias, 0, n)
		d.expectGoodbye(0x94)
	}
}

func TestB97_ExpiryOfZero(t *testing.T) {
	t.Parallel()
	g := open(t)
	g.clock.stop()
	for _, id := range []string{"soon", "late"} {
		absent := g.join(5, id, persistent(600))
		absent.listen(1, "t")
		g.cut(absent, id)
	}
	d := g.join(5, "d")
	d.write(zeroExpiry("t", "short")...)
	d.expectAck(1, 0)
	d.settle()
	g.clock.advance(400 * time.Millisecond)
	soon := g.join(5, "soon", persistent(600))
	if soon.expectMessage("t", "short"); !soon.hasExpiry(0) { // 600 ms are left (B117)
		t.Errorf("PUBLISH %x has no expiry of 0", soon.body)
	}
	g.clock.advance(700 * time.Millisecond)
	d.say("t", "after")
	g.join(5, "late", persistent(600)).expectMessage("t", "after")
}

func TestB98_LongExpiry(t *testing.T) {
	t.Parallel()
	g := open(t)
	d := g.join(5, "d")
	d.listen(1, "t")
	d.send(publish(1, "t", "x", messageExpiry(700_000)))
	pk := d.expectEither(1)
	if got := pk.Properties.MessageExpiryInterval; got > 604_800 || got < 604_700 {
		t.Errorf("expiry %d, want 604800", got)
	}
}

// expectEither reads the acknowledgement of a PUBLISH and the delivery of it to
// the same device, in the order in which they come.
func (d *device) expectEither(id uint16) packets.Packet {
	d.tb.Helper()
	d.expectAck(id, 0)
	return d.take()
}

func TestB99_NoExpiry(t *testing.T) {
	t.Parallel()
	g := open(t)
	absent := g.join(5, "absent", persistent(3600))
	absent.listen(1, "t")
	g.cut(absent, "absent")
	d := g.join(5, "d")
	d.say("t", "x")
	g.clock.advance(59 * time.Minute)
	again := g.join(5, "absent", persistent(3600))
	again.expectMessage("t", "x")
	if again.hasExpiry(0) {
		t.Errorf("PUBLISH %x has an expiry", again.body)
	}
}

func TestB100_PropertiesForwarded(t *testing.T) {
	t.Parallel()
	g := open(t)
	sub := g.join(5, "sub")
	sub.listen(1, "t")
	d := g.join(5, "d")
	d.say("t", "x", func(pk *packets.Packet) {
		pk.Properties.PayloadFormat, pk.Properties.PayloadFormatFlag = 1, true
		pk.Properties.ContentType, pk.Properties.ResponseTopic = "text/plain", "answers/d"
		pk.Properties.CorrelationData = []byte{0, 1, 2}
	}, user("b", "1"), user("a", "2"), user("b", "3"))
	p := sub.expectMessage("t", "x").Properties
	if p.PayloadFormat != 1 || p.ContentType != "text/plain" || p.ResponseTopic != "answers/d" || !bytes.Equal(p.CorrelationData, []byte{0, 1, 2}) {
		t.Errorf("properties %+v", p)
	}
	if got := fmt.Sprint(p.User); got != "[{b 1} {a 2} {b 3}]" {
		t.Errorf("user properties %s", got)
	}
	kb8 := strings.Repeat("x", 8<<10)
	within := []change{
		func(pk *packets.Packet) { pk.Properties.ContentType = kb8[:256] },
		func(pk *packets.Packet) { pk.Properties.CorrelationData = []byte(kb8) },
		user(kb8[:4096], kb8[4096:]),
	}
	d.say("t", "x", within...)
	for _, beyond := range []change{
		func(pk *packets.Packet) { pk.Properties.ContentType = kb8[:257] },
		func(pk *packets.Packet) { pk.Properties.CorrelationData = []byte(kb8 + "x") },
		user(kb8[:4096], kb8[4096:]+"x"),
	} {
		e := g.join(5, "e")
		e.send(publish(1, "t", "x", beyond))
		e.expectGoodbye(0x97)
	}
}

func TestB101_WildcardInResponseTopic(t *testing.T) {
	t.Parallel()
	g := open(t)
	for _, topic := range []string{"a/+", "a/#"} {
		d := g.join(5, "d")
		pk := publish(1, "t", "x", func(pk *packets.Packet) { pk.Properties.ResponseTopic = "a/_" })
		d.write(bytes.Replace(d.encode(pk), []byte("a/_"), []byte(topic), 1)...) // the encoder leaves a wildcard out
		d.expectGoodbye(0x82)
	}
}

func TestB102_SubscriptionIdentifierOfDevice(t *testing.T) {
	t.Parallel()
	g := open(t)
	d := g.join(5, "d")
	d.send(publish(1, "t", "x", func(pk *packets.Packet) { pk.Properties.SubscriptionIdentifier = []int{1} }))
	d.expectGoodbye(0x82)
}

func TestB103_Malformed(t *testing.T) {
	t.Parallel()
	g := open(t)
	for name, packet := range map[string]string{
		"a topic longer than its packet": "\x30\x04\x00\x09ab",
		"a topic that is not UTF-8":      "\x30\x05\x00\x02\xff\xfe\x00",
		"properties cut short":           "\x30\x05\x00\x01t\x05\x02",
		"QoS 3":                          "\x36\x07\x00\x01t\x00\x01\x00x",
		"SUBSCRIBE without its flags":    "\x80\x07\x00\x01\x00\x00\x01t\x00",
		"PINGREQ with flags":             "\xc1\x00",
		"a length that never ends":       "\x30\xff\xff\xff\xff\x01",
		"packet type 0":                  "\x00\x00",
		"a property of other packets":    "\x30\x07\x00\x01t\x03\x21\x00\x05",
	} {
		t.Run(name, func(t *testing.T) {
			d := g.join(5, "d")
			d.tb = t
			d.write([]byte(packet)...)
			d.expectGoodbye(0x81)
			g.wantEnd("malformed")
		})
	}
}

func TestB104_OutOfOrder(t *testing.T) {
	t.Parallel()
	g := open(t)
	for name, packet := range map[string]string{
		"CONNACK":                    "\x20\x03\x00\x00\x00",
		"SUBACK":                     "\x90\x04\x00\x01\x00\x00",
		"UNSUBACK":                   "\xb0\x04\x00\x01\x00\x00",
		"PINGRESP":                   "\xd0\x00",
		"PUBLISH with packet id 0":   "\x32\x07\x00\x01t\x00\x00\x00x",
		"SUBSCRIBE without a filter": "\x82\x03\x00\x01\x00",
		"UNSUBSCRIBE with id 0":      "\xa2\x06\x00\x00\x00\x00\x01t",
		"PUBLISH without topic":      "\x30\x04\x00\x00\x00x",
	} {
		t.Run(name, func(t *testing.T) {
			d := g.join(5, "d")
			d.tb = t
			d.write([]byte(packet)...)
			d.expectGoodbye(0x82)
		})
	}
}

func TestB105_Order(t *testing.T) {
	both(t, func(_ *testing.T, g *gate, version byte) {
		sub := g.join(version, "sub")
		sub.listen(1, "t")
		d := g.join(version, "d")
		d.send(flood(50)...)
		for i := range uint16(50) {
			d.expectAck(i+1, 0)
			sub.expectMessage("t", fmt.Sprint(i))
		}
	}, slowly(time.Millisecond))
}
