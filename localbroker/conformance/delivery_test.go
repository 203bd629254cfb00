package conformance

import (
	"fmt"
	"testing"
	"time"

	"github.com/mochi-mqtt/server/v2/packets"

	"github.com/ebbgate/ebbgate/localbroker"
)

func TestB108_LowerQoS(t *testing.T) {
	t.Parallel()
	both(t, func(t *testing.T, g *gate, version byte) {
		pub := g.join(version, "pub")
		for granted := range byte(2) {
			sub := g.join(version, fmt.Sprint("sub", granted))
			sub.listen(granted, "t")
			for published := range byte(2) {
				pub.send(publish(uint16(published), "t", "x"))
				if published > 0 {
					pub.expectAck(1, 0)
				}
				if pk := sub.take(); pk.FixedHeader.Qos != min(granted, published) {
					t.Errorf("published with %d, granted %d, delivered with %d", published, granted, pk.FixedHeader.Qos)
				}
			}
			sub.goodbye()
			g.absent(fmt.Sprint("sub", granted))
		}
	})
}

func TestB109_QoS0Subscription(t *testing.T) {
	t.Parallel()
	both(t, func(t *testing.T, g *gate, version byte) {
		sub := g.join(version, "sub")
		sub.listen(0, "t")
		pub := g.join(version, "pub")
		pub.say("t", "x")
		if pk := sub.expectMessage("t", "x"); pk.FixedHeader.Qos != 0 || pk.FixedHeader.Dup {
			t.Errorf("QoS %d, DUP %v", pk.FixedHeader.Qos, pk.FixedHeader.Dup)
		}
		sub.expectNothing()
	})
}

// waits moves the clock on by minutes, while a device that acknowledges nothing
// pings in its keep alive, and counts what is sent to it again.
func (g *gate) waits(d *device, minutes int) (again int) {
	g.tb.Helper()
	for range minutes {
		g.clock.advance(time.Minute)
		d.send(packets.Packet{FixedHeader: packets.FixedHeader{Type: packets.Pingreq}})
		for {
			pk, err := d.read()
			if err != nil {
				g.tb.Fatal(err)
			}
			if pk.FixedHeader.Type == packets.Pingresp {
				break
			}
			if pk.FixedHeader.Type != packets.Publish || pk.FixedHeader.Dup {
				g.tb.Fatalf("packet type %d, DUP %v", pk.FixedHeader.Type, pk.FixedHeader.Dup)
			}
			again++
		}
	}
	return again
}

// dropsAfter leaves a delivery unacknowledged for that many minutes and one
// more: then it is dropped, and not before.
func dropsAfter(t *testing.T, version byte, minutes int) (again int) {
	g := open(t)
	d := g.join(version, "d", persistent(3600), keepAlive(1200))
	d.listen(1, "t")
	pub := g.join(version, "pub", keepAlive(1200))
	pub.say("t", "x")
	d.expect(packets.Publish)
	again = g.waits(d, minutes-1)
	if g.dropped("retry-window") != 0 {
		t.Error("dropped too early")
	}
	pub.expectNothing() // stays
	g.clock.advance(time.Minute + time.Second)
	eventually(t, "the drop", func() bool { return g.dropped("retry-window") == 1 })
	g.cut(d, "d")
	back, present := g.resume(version, "d", 3600)
	if back.expectNothing(); !present {
		t.Error("the session is gone")
	}
	return again
}

func TestB110_RetryWindowOf3(t *testing.T) {
	t.Parallel()
	dropsAfter(t, 4, 60)
	g := open(t, func(s *setup) { s.lan().ResendV3 = 10 * time.Second })
	d, deaf := g.join(4, "d"), g.join(4, "deaf")
	d.listen(1, "t")
	deaf.listen(1, "t")
	g.join(4, "pub").say("t", "x")
	d.expect(packets.Publish)
	deaf.expect(packets.Publish)
	g.clock.advance(11 * time.Second)
	for _, d := range []*device{d, deaf} {
		if pk := d.expect(packets.Publish); string(pk.Payload) != "x" || pk.FixedHeader.Dup {
			t.Errorf("sent again as %q, DUP %v", pk.Payload, pk.FixedHeader.Dup)
		} else if d != deaf {
			d.puback(pk.PacketID)
		}
	}
	d.expectNothing()
	g.clock.advance(11 * time.Second)
	deaf.expect(packets.Publish)
	d.expectNothing() // it has acknowledged
}

func TestB111_RetryWindowOf5(t *testing.T) {
	t.Parallel()
	if again := dropsAfter(t, 5, 16); again != 0 {
		t.Errorf("sent again %d times on the same connection, which MQTT 5 forbids", again)
	}
}

func TestB112_SentAgain(t *testing.T) {
	t.Parallel()
	both(t, func(t *testing.T, g *gate, version byte) {
		sub := g.join(version, "sub", persistent(600))
		sub.listen(1, "t")
		pub := g.join(version, "pub")
		pub.say("t", "x")
		sub.expect(packets.Publish) // and no PUBACK
		g.cut(sub, "sub")
		again := g.join(version, "sub", persistent(600))
		if pk := again.expectMessage("t", "x"); pk.FixedHeader.Dup {
			t.Error("sent again with DUP")
		}
	})
}

func TestB113_WindowOfDevice(t *testing.T) {
	t.Parallel()
	both(t, func(_ *testing.T, g *gate, version byte) {
		sub := g.join(version, "sub")
		sub.listen(1, "t")
		for _, id := range []string{"a", "b"} {
			pub := g.join(version, id)
			pub.send(flood(55)...)
			for i := range uint16(55) {
				pub.expectAck(i+1, 0)
			}
		}
		first := sub.expect(packets.Publish)
		for range 99 {
			sub.expect(packets.Publish)
		}
		sub.expectNothing()
		sub.puback(first.PacketID)
		sub.expect(packets.Publish)
		sub.expectNothing()
	}, unpaced)
}

func TestB114_OverlappingSubscriptions(t *testing.T) {
	t.Parallel()
	both(t, func(t *testing.T, g *gate, version byte) {
		d := g.join(version, "d")
		d.listen(0, "a/#", "a/b")
		d.listen(1, "a/+")
		g.join(version, "pub").say("a/b", "x")
		if pk := d.expectMessage("a/b", "x"); pk.FixedHeader.Qos != 1 {
			t.Errorf("QoS %d, want the highest", pk.FixedHeader.Qos)
		}
		d.expectNothing()
	})
	both(t, func(t *testing.T, g *gate, version byte) {
		d := g.join(version, "d")
		d.listen(0, "a/#", "a/b")
		d.listen(1, "a/+")
		g.join(version, "pub").say("a/b", "x")
		sum := 0
		for range 3 {
			sum += int(d.expectMessage("a/b", "x").FixedHeader.Qos)
		}
		if sum != 1 {
			t.Errorf("%d of the three copies have QoS 1, want one", sum)
		}
		d.expectNothing()
	}, with(func(s *localbroker.SwitchOptions) { s.Overlapping = "each" }))
}

func TestB115_From5To3(t *testing.T) {
	t.Parallel()
	g := open(t)
	sub := g.join(4, "sub")
	sub.listen(1, "t")
	absent := g.join(4, "absent", persistent(0))
	absent.listen(1, "t")
	g.cut(absent, "absent")
	pub := g.join(5, "pub")
	pub.say("t", "x", messageExpiry(60), user("a", "b"), func(pk *packets.Packet) { pk.Properties.ContentType = "text" })
	pk := sub.expect(packets.Publish)
	if want := []byte{0, 1, 't', byte(pk.PacketID >> 8), byte(pk.PacketID), 'x'}; string(sub.body) != string(want) {
		t.Errorf("PUBLISH %x, want %x", sub.body, want)
	}
	g.clock.advance(61 * time.Second) // as the keep alive is 60 s, nobody is cut off yet
	pub.say("t", "later")
	g.join(4, "absent", persistent(0)).expectMessage("t", "later")
}

func TestB116_From3To5(t *testing.T) {
	t.Parallel()
	g := open(t)
	absent := g.join(5, "absent", persistent(3600))
	absent.listen(1, "t")
	g.cut(absent, "absent")
	g.join(4, "pub").say("t", "x")
	g.clock.advance(59 * time.Minute)
	again := g.join(5, "absent", persistent(3600))
	pk := again.expect(packets.Publish)
	if want := []byte{0, 1, 't', byte(pk.PacketID >> 8), byte(pk.PacketID), 0, 'x'}; string(again.body) != string(want) {
		t.Errorf("PUBLISH %x, want %x", again.body, want)
	}
}

func TestB117_SecondsLeft(t *testing.T) {
	t.Parallel()
	g := open(t)
	g.clock.stop()
	pub := g.join(5, "pub", keepAlive(1200))
	for passed, want := range map[time.Duration]byte{
		0: 100, time.Second: 99, 60*time.Second + time.Millisecond: 39,
		99 * time.Second: 1, 99*time.Second + time.Millisecond: 0, 99*time.Second + 990*time.Millisecond: 0,
	} {
		id := fmt.Sprint("d", passed)
		d, _ := g.resume(5, id, 600)
		d.listen(1, "t")
		g.cut(d, id)
		pub.say("t", id, messageExpiry(100))
		g.clock.advance(passed)
		d, _ = g.resume(5, id, 600)
		if d.expectMessage("t", id); !d.hasExpiry(want) {
			t.Errorf("after %v PUBLISH is %x, want %d seconds left", passed, d.body, want)
		}
		d.unsubscribe("t")
		d.goodbye()
		g.absent(id)
	}
}

func TestB118_Expired(t *testing.T) {
	t.Parallel()
	g := open(t)
	absent := g.join(5, "absent", persistent(600))
	absent.listen(1, "t")
	silent := g.join(5, "silent", persistent(600))
	silent.listen(1, "t")
	g.cut(absent, "absent")
	pub := g.join(5, "pub", keepAlive(1200))
	pub.say("t", "brief", messageExpiry(20))
	silent.expect(packets.Publish) // and no PUBACK
	g.cut(silent, "silent")
	pub.say("t", "lasting", messageExpiry(100))
	g.clock.advance(30 * time.Second)
	for _, id := range []string{"absent", "silent"} {
		d := g.join(5, id, persistent(600))
		d.expectMessage("t", "lasting")
		d.expectNothing()
	}
}

func TestB119_NothingMissedAfterSuback(t *testing.T) {
	t.Parallel()
	both(t, func(_ *testing.T, g *gate, version byte) {
		pub, sub := g.join(version, "pub"), g.join(version, "sub")
		for i := range 20 {
			topic := fmt.Sprint("t/", i)
			sub.listen(1, topic)
			pub.say(topic, "x")
			sub.expectMessage(topic, "x")
		}
	})
}

func TestB120_OwnMessage(t *testing.T) {
	t.Parallel()
	both(t, func(_ *testing.T, g *gate, version byte) {
		d := g.join(version, "d")
		pk := subscribing(1, "t")
		pk.Filters[0].NoLocal = version == 5
		d.send(pk)
		d.wantCodes(d.expect(packets.Suback).ReasonCodes, 1)
		d.send(publish(1, "t", "x"))
		d.expectEither(1)
	})
}
