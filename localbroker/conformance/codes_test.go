package conformance

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mochi-mqtt/server/v2/packets"

	"github.com/ebbgate/ebbgate/bridge"
	"github.com/ebbgate/ebbgate/localbroker"
)

// stimulus brings about one reason code.
type stimulus struct {
	packet byte
	code   byte
	name   string
	do     func(g *gate) packets.Packet // returns the packet that has the code
	setup  func(*setup)
}

// index is the codes of §1.13: all that AWS lists, by packet.
func index() map[byte][]byte {
	return map[byte][]byte{
		packets.Connack:    {0x00, 0x80, 0x85, 0x86, 0x87, 0x90, 0x97, 0x9B},
		packets.Puback:     {0x00, 0x80, 0x87, 0x90, 0x91, 0x97},
		packets.Disconnect: {0x81, 0x82, 0x87, 0x8B, 0x8D, 0x8E, 0x8F, 0x90, 0x93, 0x94, 0x97, 0x98, 0x9B, 0xA1},
		packets.Suback:     {0x00, 0x01, 0x80, 0x87, 0x8F, 0x91, 0x97},
		packets.Unsuback:   {0x00, 0x80, 0x8F, 0x91},
	}
}

// greets answers with the CONNACK of a CONNECT.
func greets(id string, changes ...change) func(*gate) packets.Packet {
	return func(g *gate) packets.Packet { return g.dial(5).connect(id, changes...) }
}

// answers sends packets on a connection and answers with the last reply of a
// kind that comes.
func answers(kind byte, sends ...packets.Packet) func(*gate) packets.Packet {
	return func(g *gate) packets.Packet {
		d := g.join(5, "d")
		var last packets.Packet
		d.send(sends...)
		for range sends {
			if last = d.expect(kind); kind == packets.Disconnect {
				break
			}
		}
		return last
	}
}

// meanwhile answers with what comes while a PUBLISH waits for the disk.
func meanwhile(kind byte, send packets.Packet) func(*gate) packets.Packet {
	return func(g *gate) packets.Packet {
		d := g.join(5, "d")
		d.send(publish(7, "t", "x"), send)
		return d.expect(kind)
	}
}

// unfit is a router whose route does not take the payload.
type unfit struct{ bridge.Router }

func (unfit) Up(*bridge.Principal, *bridge.Message) ([]bridge.Receiver, []bridge.Turned, error) {
	return nil, nil, bridge.Errorf("route", bridge.PayloadInvalid, "not what the route expects")
}

func connackStimuli(t *testing.T) []stimulus {
	const c = packets.Connack
	return []stimulus{
		{c, 0x00, "accepted", greets("d"), nil},
		{c, 0x80, "Maximum Packet Size 511", greets("d", packetSize(511)), nil},
		{c, 0x85, "client id of 129 bytes", greets(strings.Repeat("x", 129)), nil},
		{c, 0x85, "client id with $, by switch", greets("$d"), with(func(s *localbroker.SwitchOptions) { s.DollarClientID = "refuse" })},
		{c, 0x86, "wrong password", greets("d", login("anna", "wrong")), logins(t)},
		{c, 0x87, "Connect denied", greets("stranger"), nil},
		{c, 0x87, "PersistentConnect denied", greets("transient", persistent(60)), nil},
		{c, 0x87, "LastWill denied", greets("willless", leaving("last", "word")), nil},
		{c, 0x87, "will topic denied", greets("d", leaving("forbidden/last", "word")), nil},
		{c, 0x90, "will topic reserved", greets("d", leaving("$mine/last", "word")), nil},
		{c, 0x97, "no connection left", func(g *gate) packets.Packet {
			g.join(5, "first")
			return g.dial(5).connect("second")
		}, oneConnection},
		{c, 0x9B, "will of QoS 2", greets("d", leaving("last", "word", willQoS2)), nil},
	}
}

func pubackStimuli() []stimulus {
	const p = packets.Puback
	return []stimulus{
		{p, 0x00, "accepted", answers(p, publish(1, "t", "x")), nil},
		{p, 0x80, "a payload that its route does not take", answers(p, publish(1, "t", "x")), func(s *setup) {
			s.router = func(r bridge.Router) bridge.Router { return unfit{r} }
		}},
		{p, 0x87, "Publish denied", answers(p, publish(1, "forbidden/t", "x")), nil},
		{p, 0x87, "RetainPublish denied", answers(p, publish(1, "unretained/t", "x", retain)), nil},
		{p, 0x90, "topic too long", answers(p, publish(1, tooLong[0], "x")), nil},
		{p, 0x90, "topic too deep", answers(p, publish(1, tooLong[2], "x")), nil},
		{p, 0x90, "topic reserved", answers(p, publish(1, "$mine/t", "x")), nil},
		{p, 0x91, "packet id in use", func(g *gate) packets.Packet {
			d := g.join(5, "d")
			d.send(publish(7, "t", "x"), publish(7, "t", "x"))
			d.expectAck(7, 0)
			return d.expect(p)
		}, slowly(200 * time.Millisecond)},
		{p, 0x97, "publish rate", answers(p, publish(1, "t", "x"), publish(2, "t", "x")), func(s *setup) { s.lan().Quotas.PublishesPerSecond = 1 }},
		{p, 0x97, "retained count", func(g *gate) packets.Packet {
			d := g.join(5, "d")
			d.say("a", "x", retain)
			d.send(publish(1, "b", "x", retain))
			return d.expect(p)
		}, func(s *setup) { s.broker.Broker.RetainedMessages = 1 }},
		{p, 0x97, "retained rate", answers(p, publish(1, "a", "x", retain), publish(2, "a", "x", retain)), nil},
	}
}

func disconnectStimuli() []stimulus {
	const d = packets.Disconnect
	kind := func(kind byte) packets.Packet {
		return packets.Packet{FixedHeader: packets.FixedHeader{Type: kind}, PacketID: 1}
	}
	identified := subscribing(0, "t")
	identified.Properties.SubscriptionIdentifier = []int{1}
	goodbye := kind(d)
	expiry(60)(&goodbye)
	turned := func(do func(*gate, *device)) func(*gate) packets.Packet {
		return func(g *gate) packets.Packet {
			c := g.join(5, "d")
			do(g, c)
			return c.expect(d)
		}
	}
	return []stimulus{
		{d, 0x81, "malformed packet", turned(func(_ *gate, c *device) { c.write(0x30, 1, 0) }), nil},
		{d, 0x82, "second CONNECT", answers(d, hello("d")), nil},
		{d, 0x82, "PUBREC", answers(d, kind(packets.Pubrec)), nil},
		{d, 0x82, "PUBREL", answers(d, kind(packets.Pubrel)), nil},
		{d, 0x82, "PUBCOMP", answers(d, kind(packets.Pubcomp)), nil},
		{d, 0x82, "AUTH", answers(d, varied(kind(packets.Auth), []change{authentication, func(pk *packets.Packet) { pk.ReasonCode = 0x18 }})), nil},
		{d, 0x82, "unbound alias", answers(d, publish(1, "", "x", alias(1))), nil},
		{d, 0x82, "session expiry on DISCONNECT", answers(d, goodbye), nil},
		{d, 0x87, "QoS 0 PUBLISH denied", answers(d, publish(0, "forbidden/t", "x")), nil},
		{d, 0x87, "authorisation lost", turned(func(g *gate, _ *device) { g.retire() }), nil},
		{d, 0x8B, "shutting down", turned(func(g *gate, _ *device) { g.stop() }), nil},
		{d, 0x8D, "keep alive", turned(func(g *gate, c *device) {
			for range 4 {
				if g.clock.advance(91 * time.Second); c.hears(3 * time.Second) {
					return
				}
			}
		}), nil},
		{d, 0x8E, "taken over", turned(func(g *gate, _ *device) { g.join(5, "d") }), nil},
		{d, 0x8F, "filter, by switch", answers(d, subscribing(0, "a#")), with(filterSwitches)},
		{d, 0x90, "topic of QoS 0", answers(d, publish(0, "a#", "x")), nil},
		{d, 0x93, "101 in flight", answers(d, flood(101)...), slowly(time.Second)},
		{d, 0x94, "alias 9", answers(d, publish(1, "t", "x", alias(9))), nil},
		{d, 0x97, "payload too large", answers(d, publish(1, "t", strings.Repeat("x", 128<<10+1))), nil},
		{d, 0x97, "nine filters", answers(d, subscribing(0, filters(9)...)), nil},
		{d, 0x98, "an administrator", turned(func(g *gate, _ *device) { g.Kick("d") }), nil},
		{d, 0x9B, "QoS 2", answers(d, publish(1, "t", "x", qos2)), nil},
		{d, 0xA1, "Subscription Identifier", answers(d, identified), nil},
	}
}

func subscribeStimuli() []stimulus {
	const s, u = packets.Suback, packets.Unsuback
	shared := account(func(q *localbroker.AccountQuotas) { q.ShareGroupChanges = 1 })
	return []stimulus{
		{s, 0x00, "granted with QoS 0", answers(s, subscribing(0, "t")), nil},
		{s, 0x01, "granted with QoS 1", answers(s, subscribing(1, "t")), nil},
		{s, 0x80, "refused to 3.1.1", func(g *gate) packets.Packet {
			return packets.Packet{ReasonCodes: g.join(4, "d").subscribe(1, "forbidden/t")}
		}, nil},
		{s, 0x87, "Subscribe denied", answers(s, subscribing(1, "forbidden/t")), nil},
		{s, 0x8F, "bad filter", answers(s, subscribing(1, "a#")), nil},
		{s, 0x8F, "reserved filter", answers(s, subscribing(1, "$SYS/#")), nil},
		{s, 0x91, "packet id in use", meanwhile(s, subscribing(1, "t")), slowly(200 * time.Millisecond)},
		{s, 0x97, "one subscription too many", answers(s, subscribing(1, "a"), subscribing(1, "b")), func(s *setup) { s.lan().Quotas.Subscriptions = 1 }},
		{u, 0x00, "done", answers(u, unsubscribing("never")), nil},
		{u, 0x80, "too fast", answers(u, unsubscribing("$share/g/t"), unsubscribing("$share/g/t")), shared},
		{u, 0x8F, "bad filter", answers(u, unsubscribing("a#")), nil},
		{u, 0x91, "packet id in use", meanwhile(u, unsubscribing("t")), slowly(200 * time.Millisecond)},
	}
}

// retire gives the listener policies that allow nobody, and looks at who is
// there.
func (g *gate) retire() {
	g.tb.Helper()
	retired := g.options
	retired.Listeners = slices.Clone(retired.Listeners)
	retired.Listeners[0].Policies = []string{"retired"}
	if err := g.Reload(retired); err != nil {
		g.tb.Fatal(err)
	}
	g.Enforce()
}

// codesOf are the reason codes of a packet.
func codesOf(pk packets.Packet) []byte {
	if len(pk.ReasonCodes) > 0 {
		return pk.ReasonCodes
	}
	return []byte{pk.ReasonCode}
}

// TestReasonCodes brings about every code of §1.13.
func TestReasonCodes(t *testing.T) {
	t.Parallel()
	seen := map[byte][]byte{}
	for _, s := range slices.Concat(connackStimuli(t), pubackStimuli(), disconnectStimuli(), subscribeStimuli()) {
		seen[s.packet] = append(seen[s.packet], s.code)
		t.Run(fmt.Sprintf("%s %#02x %s", packets.PacketNames[s.packet], s.code, s.name), func(t *testing.T) {
			t.Parallel()
			var changes []func(*setup)
			if s.setup != nil {
				changes = append(changes, s.setup)
			}
			g := open(t, changes...)
			g.clock.stop() // the second of two is too fast on a slow machine as well
			if got := codesOf(s.do(g)); !slices.Equal(got, []byte{s.code}) {
				t.Errorf("got %#v, want %#x", got, s.code)
			}
		})
	}
	for packet, codes := range index() {
		for _, code := range codes {
			if !slices.Contains(seen[packet], code) {
				t.Errorf("nothing brings about %s %#x", packets.PacketNames[packet], code)
			}
		}
	}
}

// TestCodesThatAWSDoesNotUse: where another broker answers with a code that
// AWS does not list, this one answers with one that it does.
func TestCodesThatAWSDoesNotUse(t *testing.T) {
	t.Parallel()
	const connack, puback, disconnect, suback, unsuback = packets.Connack, packets.Puback, packets.Disconnect, packets.Suback, packets.Unsuback
	full := strings.Repeat("x", 149_504)
	for _, s := range []stimulus{
		{puback, 0x00, "0x10: nobody has subscribed", answers(puback, publish(1, "t", "x")), nil},
		{unsuback, 0x00, "0x11: never subscribed", answers(unsuback, unsubscribing("t")), nil},
		{disconnect, 0x97, "0x95: a packet too large", answers(disconnect, publish(1, "t", full)), nil},
		{disconnect, 0x9B, "SUBACK 0x02: QoS 2", answers(disconnect, subscribing(2, "t")), nil},
		{suback, 0x01, "0x9E: a shared subscription", answers(suback, subscribing(1, "$share/g/t")), nil},
		{suback, 0x01, "0xA2: a wildcard", answers(suback, subscribing(1, "#")), nil},
		{connack, 0x01, "0x84: level 6", func(g *gate) packets.Packet {
			d := g.dial(4)
			b := d.encode(hello("d"))
			b[8] = 6 // of the protocol
			d.write(b...)
			return d.expect(connack)
		}, nil},
		{connack, 0x8C, "0x8C: but for an Authentication Method (B47)", greets("d", authentication), nil},
		{puback, 0x80, "0x99: a payload that its route does not take", answers(puback, publish(1, "t", "x")), func(s *setup) {
			s.router = func(r bridge.Router) bridge.Router { return unfit{r} }
		}},
	} {
		t.Run(s.name, func(t *testing.T) {
			var changes []func(*setup)
			if s.setup != nil {
				changes = append(changes, s.setup)
			}
			g := open(t, changes...)
			g.clock.stop() // the second of two is too fast on a slow machine as well
			if got := codesOf(s.do(g)); !slices.Equal(got, []byte{s.code}) {
				t.Errorf("got %#v, want %#x", got, s.code)
			}
		})
	}
	t.Run("CONNACK 0x95: a CONNECT too large", func(t *testing.T) {
		d := open(t).dial(5)
		d.write(0x10, 0xFD, 0x8F, 0x09) // announces 149,505 bytes
		d.expectEnd()
	})
}
