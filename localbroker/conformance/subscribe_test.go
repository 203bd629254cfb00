package conformance

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mochi-mqtt/server/v2/packets"

	"github.com/ebbgate/ebbgate/localbroker"
)

func TestB121_Suback3(t *testing.T) { testSuback(t, 4) }

func TestB122_Suback5(t *testing.T) { testSuback(t, 5) }

func testSuback(t *testing.T, version byte) {
	g := open(t)
	d := g.join(version, "d")
	pk := subscribing(0, "a", "b/#", "c/+")
	pk.PacketID, pk.Filters[1].Qos = 300, 1
	d.send(pk)
	ack := d.expect(packets.Suback)
	d.wantCodes(ack.ReasonCodes, 0, 1, 0)
	if ack.PacketID != 300 {
		t.Errorf("SUBACK of %d", ack.PacketID)
	}
	g.join(version, "pub").say("b/x/y", "x")
	d.expectMessage("b/x/y", "x")
}

func TestB123_SubscribeQoS2Of3(t *testing.T) {
	t.Parallel()
	g := open(t)
	d := g.join(4, "d")
	d.send(subscribing(2, "t"))
	d.expectNothing()
	d.say("t", "x")
	d.expectNothing() // there is no subscription
	d = open(t, with(func(s *localbroker.SwitchOptions) { s.QoS2V3 = "close" })).join(4, "d")
	d.send(subscribing(2, "t"))
	d.expectEnd()
}

func TestB124_SubscribeQoS2Of5(t *testing.T) {
	t.Parallel()
	g := open(t)
	d := g.join(5, "d")
	d.send(subscribing(2, "t"))
	d.expectGoodbye(0x9B)
}

func filters(n int) []string {
	out := make([]string, n)
	for i := range out {
		out[i] = fmt.Sprint("t/", i)
	}
	return out
}

func TestB125_NineFilters(t *testing.T) {
	t.Parallel()
	both(t, func(_ *testing.T, g *gate, version byte) {
		d := g.join(version, "d")
		d.listen(0, filters(8)...)
		d.send(subscribing(0, filters(9)...))
		d.expectGoodbye(0x97)
		g.wantEnd("filter-count")
	})
}

func TestB126_NineFiltersOfUnsubscribe(t *testing.T) {
	t.Parallel()
	both(t, func(_ *testing.T, g *gate, version byte) {
		d := g.join(version, "d")
		d.listen(0, filters(8)...)
		d.send(unsubscribing(filters(9)...))
		d.expectNothing()
		g.join(version, "pub").say("t/0", "x")
		d.expectMessage("t/0", "x")
	})
}

// fifty subscribes to as much as a connection may have.
func (d *device) fifty() {
	d.tb.Helper()
	for some := range slices.Chunk(filters(50), 5) {
		d.listen(0, some...)
	}
}

func TestB127_FiftyFirstOf3(t *testing.T) { testFiftyFirst(t, 4, 0x80) }

func TestB128_FiftyFirstOf5(t *testing.T) { testFiftyFirst(t, 5, 0x97) }

func testFiftyFirst(t *testing.T, version, code byte) {
	g := open(t)
	d := g.join(version, "d")
	d.fifty()
	d.wantCodes(d.subscribe(1, "one/too/many", "t/0"), code, 1)
	d.unsubscribe("t/49")
	d.listen(1, "one/too/many")
}

func TestB129_FilterDenied(t *testing.T) {
	t.Parallel()
	g := open(t)
	d := g.join(5, "d")
	d.wantCodes(d.subscribe(1, "a", "forbidden/t", "b"), 1, 0x87, 1)
	ending := open(t, func(s *setup) { s.lan().DeniedSubscribe.MQTT5 = "disconnect" }).join(5, "d")
	ending.send(subscribing(1, "a", "forbidden/t"))
	ending.expectGoodbye(0x87)
}

func TestB130_FilterDeniedOf3(t *testing.T) {
	t.Parallel()
	g := open(t)
	d := g.join(4, "d")
	d.wantCodes(d.subscribe(1, "a", "forbidden/t", "b"), 1, 0x80, 1)
	closing := open(t, func(s *setup) { s.lan().DeniedSubscribe.MQTT3 = "close" }).join(4, "d")
	closing.send(subscribing(1, "a", "forbidden/t"))
	closing.expectEnd()
}

func TestB131_UnknownDollarFilter(t *testing.T) {
	g := open(t)
	d := g.join(5, "d")
	d.wantCodes(d.subscribe(1, "a", "$SYS/#", "$mine/t"), 1, 0x8F, 0x8F)
	d.listen(1, "$aws/things/d/shadow/update/accepted")
	g.join(5, "pub").say("a", "x")
	d.expectMessage("a", "x")
}

func TestB132_UnknownDollarFilterOf3(t *testing.T) {
	t.Parallel()
	g := open(t)
	for _, filter := range []string{"$SYS/#", "$SYS/broker/uptime", "$mine/t"} {
		d := g.join(4, "d")
		d.send(subscribing(0, "a", filter))
		d.expectEnd()
		g.wantEnd("reserved-filter")
	}
}

func TestB133_WildcardsAndDollar(t *testing.T) {
	both(t, func(_ *testing.T, g *gate, version byte) {
		all := g.join(version, "all")
		all.listen(1, "#", "+/things/d/shadow/update", "+/#")
		named := g.join(version, "named")
		named.listen(1, "$aws/things/d/#")
		g.join(version, "pub").say("$aws/things/d/test", "x")
		named.expectMessage("$aws/things/d/test", "x")
		all.expectNothing()
	})
}

func TestB134_HashDoesNotMatchParent(t *testing.T) {
	t.Parallel()
	both(t, func(_ *testing.T, g *gate, version byte) {
		d := g.join(version, "d")
		d.listen(1, "sensor/#")
		d.listen(1, "+/deep/#")
		pub := g.join(version, "pub")
		for _, topic := range []string{"sensor", "a/deep", "sensor/", "sensor/a", "sensor/a/b", "a/deep/b"} {
			pub.say(topic, "x")
		}
		for _, topic := range []string{"sensor/", "sensor/a", "sensor/a/b", "a/deep/b"} {
			d.expectMessage(topic, "x")
		}
		d.expectNothing()
	})
}

// refusesFilter subscribes to filters that are not valid, beside one that is,
// and looks at the switches.
func refusesFilter(t *testing.T, refused ...string) {
	both(t, func(_ *testing.T, g *gate, version byte) {
		d := g.join(version, "d")
		code := byte(0x8F)
		if version < 5 {
			code = 0x80
		}
		for _, filter := range refused {
			d.wantCodes(d.subscribe(1, "good", filter), 1, code)
		}
	})
	both(t, func(_ *testing.T, g *gate, version byte) {
		d := g.join(version, "d")
		d.send(subscribing(1, "good", refused[0]))
		d.expectGoodbye(0x8F)
		g.wantEnd("filter-invalid")
	}, with(filterSwitches))
}

// filterSwitches end connections by filters that are not valid.
func filterSwitches(s *localbroker.SwitchOptions) {
	s.RefusedFilterV5, s.RefusedFilterV3 = "disconnect", "close"
}

func TestB135_WildcardsMisplaced(t *testing.T) {
	t.Parallel()
	refusesFilter(t, "a/#/b", "a#", "a/b#", "#a", "a+", "+a/b", "a/+b/c", "##", "++", "#/")
}

func TestB136_LongFilter(t *testing.T) {
	t.Parallel()
	refusesFilter(t, append([]string{"a/+/c/d/e/f/g/h/#"}, tooLong...)...)
	both(t, func(_ *testing.T, g *gate, version byte) {
		d := g.join(version, "d")
		d.listen(0, strings.Repeat("x", 256), "a/b/c/d/e/f/g/#")
		d.listen(0, "$share/group/a/b/c/d/e/f/g/#") // two slashes more are free (Q15)
	})
}

func TestB137_SubscriptionIdentifier(t *testing.T) {
	t.Parallel()
	g := open(t)
	d := g.join(5, "d")
	pk := subscribing(1, "t")
	pk.Properties.SubscriptionIdentifier = []int{1}
	pk.Filters[0].Identifier = 1
	d.send(pk)
	bye := d.expect(packets.Disconnect)
	if bye.ReasonCode != 0xA1 || bye.Properties.ReasonString != "DISCONNECT: Subscription Id is not supported now" {
		t.Errorf("DISCONNECT %#x, %q", bye.ReasonCode, bye.Properties.ReasonString)
	}
	d.expectEnd()
}

func TestB138_SubscribeIDInUse(t *testing.T) {
	g := open(t, slowly(300*time.Millisecond))
	d := g.join(5, "d")
	d.listen(0, "kept")
	d.send(publish(7, "t", "x"), subscribing(0, "a", "b"), unsubscribing("kept"))
	d.wantCodes(d.expect(packets.Suback).ReasonCodes, 0x91, 0x91)
	d.wantCodes(d.expect(packets.Unsuback).ReasonCodes, 0x91)
	d.expectAck(7, 0)
	d.listen(0, "a", "b")
}

func TestB140_UserPropertiesOfSubscribe(t *testing.T) {
	t.Parallel()
	g := open(t)
	d := g.join(5, "d")
	d.send(varied(subscribing(1, "t"), []change{user("a", "b")}))
	d.wantCodes(d.expect(packets.Suback).ReasonCodes, 1)
}

func TestB141_RetainOptions(t *testing.T) {
	t.Parallel()
	test := func(counts bool, changes ...func(*setup)) {
		g := open(t, changes...)
		pub := g.join(5, "pub")
		g.keep(pub, "t", "kept")
		d := g.join(5, "d")
		pk := subscribing(1, "t")
		pk.Filters[0].RetainHandling, pk.Filters[0].RetainAsPublished = 2, true
		d.send(pk)
		d.wantCodes(d.expect(packets.Suback).ReasonCodes, 1)
		if !counts {
			if pk := d.expectMessage("t", "kept"); !pk.FixedHeader.Retain {
				t.Error("the retained message comes without RETAIN")
			}
		}
		g.keep(pub, "t", "live")
		if pk := d.expectMessage("t", "live"); pk.FixedHeader.Retain != counts {
			t.Errorf("the live message comes with RETAIN %v", pk.FixedHeader.Retain)
		}
	}
	test(false)
	test(true, with(func(s *localbroker.SwitchOptions) { s.RetainOptions = "honour" }))
}

func TestB142_Unsubscribe(t *testing.T) {
	t.Parallel()
	both(t, func(_ *testing.T, g *gate, version byte) {
		d := g.join(version, "d")
		d.listen(1, "a", "b")
		codes := d.unsubscribe("a")
		if version == 5 {
			d.wantCodes(codes, 0)
		}
		pub := g.join(version, "pub")
		pub.say("a", "x")
		pub.say("b", "x")
		d.expectMessage("b", "x")
	})
}

func TestB143_UnsubscribeNothing(t *testing.T) {
	t.Parallel()
	g := open(t)
	d := g.join(5, "d")
	d.listen(1, "a")
	d.wantCodes(d.unsubscribe("never", "a"), 0, 0)
	d.wantCodes(d.unsubscribe("a"), 0)
}

func TestB144_UnsubscribeInvalid(t *testing.T) {
	t.Parallel()
	g := open(t)
	d := g.join(5, "d")
	d.listen(1, "a")
	d.wantCodes(d.unsubscribe("a/#/b", "a", "a+", tooLong[0]), 0x8F, 0, 0x8F, 0x8F)
}

func TestB146_BasicIngestFilter(t *testing.T) {
	t.Parallel()
	g := open(t)
	five := g.join(5, "five")
	five.wantCodes(five.subscribe(1, "$aws/rules/rule/t", "$aws/rules/#"), 0x8F, 0x8F)
	three := g.join(4, "three")
	three.send(subscribing(1, "$aws/rules/rule/t"))
	three.expectEnd()
}
