package conformance

import (
	"testing"
	"time"

	"github.com/mochi-mqtt/server/v2/packets"
)

// keep publishes a retained message, a second after the last one on the topic
// (B155).
func (g *gate) keep(d *device, topic, payload string, changes ...change) {
	g.tb.Helper()
	g.clock.advance(1100 * time.Millisecond)
	d.say(topic, payload, append([]change{retain}, changes...)...)
}

// wantRetained expects what a new subscription to the topic receives at once:
// one message, or none.
func (g *gate) wantRetained(version byte, topic string, payload ...string) packets.Packet {
	g.tb.Helper()
	d := g.join(version, "looker")
	defer func() {
		d.goodbye()
		g.absent("looker")
	}()
	d.listen(1, topic)
	var pk packets.Packet
	for _, want := range payload {
		if pk = d.expectMessage(topic, want); !pk.FixedHeader.Retain {
			g.tb.Error("a retained message without RETAIN")
		}
	}
	d.expectNothing()
	return pk
}

func TestB147_Retain(t *testing.T) {
	t.Parallel()
	both(t, func(t *testing.T, g *gate, version byte) {
		sub := g.join(version, "sub")
		sub.listen(1, "t")
		pub := g.join(version, "pub")
		for _, payload := range []string{"first", "second"} {
			g.keep(pub, "t", payload)
			if pk := sub.expectMessage("t", payload); pk.FixedHeader.Retain {
				t.Error("a live message with RETAIN")
			}
		}
		g.wantRetained(version, "t", "second")
	})
}

func TestB148_RetainNothing(t *testing.T) {
	t.Parallel()
	both(t, func(t *testing.T, g *gate, version byte) {
		pub := g.join(version, "pub")
		g.keep(pub, "t", "x")
		sub := g.join(version, "sub")
		sub.listen(1, "t")
		sub.expectMessage("t", "x")
		g.keep(pub, "t", "")
		if pk := sub.expectMessage("t", ""); pk.FixedHeader.Retain {
			t.Error("the empty message with RETAIN")
		}
		g.wantRetained(version, "t")
	})
}

func TestB149_NoRetain(t *testing.T) {
	t.Parallel()
	both(t, func(_ *testing.T, g *gate, version byte) {
		pub := g.join(version, "pub")
		g.keep(pub, "t", "kept")
		pub.say("t", "live")
		pub.say("t", "")
		g.wantRetained(version, "t", "kept")
	})
}

func TestB150_RetainedAtSubscribe(t *testing.T) {
	t.Parallel()
	both(t, func(_ *testing.T, g *gate, version byte) {
		g.keep(g.join(version, "pub"), "a/b", "x")
		d := g.join(version, "d")
		for range 2 { // every SUBSCRIBE sends it
			d.listen(1, "a/b")
			if pk := d.expectMessage("a/b", "x"); !pk.FixedHeader.Retain {
				d.tb.Error("without RETAIN")
			}
		}
	})
}

func TestB151_RetainedAndWildcards(t *testing.T) {
	t.Parallel()
	both(t, func(_ *testing.T, g *gate, version byte) {
		pub := g.join(version, "pub")
		g.keep(pub, "a/b", "kept")
		d := g.join(version, "d")
		d.listen(1, "a/+")
		d.listen(1, "#", "a/#")
		d.expectNothing()
		pub.say("a/b", "live")
		d.expectMessage("a/b", "live")
	})
}

func TestB152_RetainedAndShared(t *testing.T) {
	t.Parallel()
	both(t, func(t *testing.T, g *gate, version byte) {
		pub := g.join(version, "pub")
		g.keep(pub, "t", "kept")
		d := g.join(version, "d")
		d.listen(1, "$share/group/t")
		d.expectNothing()
		g.keep(pub, "t", "live")
		if pk := d.expectMessage("t", "live"); pk.FixedHeader.Retain {
			t.Error("with RETAIN")
		}
	})
}

func TestB153_RetainedFirst(t *testing.T) {
	t.Parallel()
	both(t, func(_ *testing.T, g *gate, version byte) {
		pub := g.join(version, "pub")
		g.keep(pub, "t", "kept")
		d := g.join(version, "d")
		d.listen(1, "t")
		pub.say("t", "live")
		d.expectMessage("t", "kept")
		d.expectMessage("t", "live")
	})
}

func TestB154_RetainedFull(t *testing.T) {
	t.Parallel()
	both(t, func(t *testing.T, g *gate, version byte) {
		pub := g.join(version, "pub")
		g.keep(pub, "a", "x")
		g.keep(pub, "b", "x")
		if version == 5 {
			pub.send(publish(1, "c", "x", retain))
			pub.expectAck(1, 0x97)
		}
		pub.send(publish(0, "c", "x", retain))
		pub.settle()
		g.wantRetained(version, "c")
		if g.dropped("retained-full") == 0 {
			t.Error("nothing is counted")
		}
		g.keep(pub, "a", "y") // replaces
		g.keep(pub, "a", "")  // deletes
		g.keep(pub, "c", "x")
		g.wantRetained(version, "c", "x")
	}, func(s *setup) { s.broker.Broker.RetainedMessages = 2 })
}

func TestB156_RetainedExpired(t *testing.T) {
	t.Parallel()
	g := open(t)
	g.keep(g.join(5, "pub"), "t", "x", messageExpiry(60))
	if pk := g.wantRetained(5, "t", "x"); pk.Properties.MessageExpiryInterval == 0 {
		t.Error("the retained message has no expiry")
	}
	g.clock.advance(61 * time.Second)
	g.wantRetained(5, "t")
}

func TestB157_RetainedOf3(t *testing.T) {
	t.Parallel()
	g := open(t)
	g.keep(g.join(4, "pub"), "t", "x")
	g.clock.advance(365 * 24 * time.Hour)
	g.wantRetained(4, "t", "x")
	g.wantRetained(5, "t", "x")
}

func TestB158_RetainedQoS(t *testing.T) {
	t.Parallel()
	both(t, func(t *testing.T, g *gate, version byte) {
		pub := g.join(version, "pub")
		g.keep(pub, "t/1", "x")
		pub.send(publish(0, "t/0", "x", retain))
		pub.settle()
		d := g.join(version, "d")
		for granted := range byte(2) {
			for kept, topic := range []string{"t/0", "t/1"} {
				d.listen(granted, topic)
				if pk := d.expectMessage(topic, "x"); pk.FixedHeader.Qos != min(granted, byte(kept)) {
					t.Errorf("kept with %d, granted %d, delivered with %d", kept, granted, pk.FixedHeader.Qos)
				}
			}
		}
	})
}

func TestB159_WillRetained(t *testing.T) {
	t.Parallel()
	both(t, func(_ *testing.T, g *gate, version byte) {
		watcher := g.join(version, "watcher")
		watcher.listen(1, "last")
		d := g.join(version, "d", leaving("last", "word", func(pk *packets.Packet) { pk.Connect.WillRetain = true }))
		g.cut(d, "d")
		watcher.expectMessage("last", "word")
		g.wantRetained(version, "last", "word")
	})
}

func TestB162_RetainedAndResumption(t *testing.T) {
	t.Parallel()
	both(t, func(_ *testing.T, g *gate, version byte) {
		g.keep(g.join(version, "pub"), "t", "x")
		d := g.join(version, "d", persistent(600))
		d.listen(1, "t")
		d.expectMessage("t", "x")
		g.cut(d, "d")
		again := g.join(version, "d", persistent(600))
		again.expectNothing()
	})
}

func TestB163_RetainKeepsConnection(t *testing.T) {
	t.Parallel()
	both(t, func(_ *testing.T, g *gate, version byte) {
		d := g.join(version, "d")
		g.keep(d, "t", "x")
		d.say("t", "the connection is still there")
	})
}
