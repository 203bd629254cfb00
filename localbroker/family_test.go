package localbroker

import (
	"strings"
	"testing"

	"github.com/mochi-mqtt/server/v2/packets"

	"github.com/ebbgate/ebbgate/bridge"
)

// shop is a family: $shop/… is its own, $shop/of/CLIENT each client's.
type shop struct {
	took chan FamilyRequest
	err  error
}

func (s *shop) Owns(profile, topic string) bool {
	return profile != profileMQTT && (topic == "$shop/#" || strings.HasPrefix(topic, "$shop/"))
}

func (s *shop) Admits(m *bridge.Message) error {
	if len(m.Payload) > 200<<10 {
		return bridge.Errorf(bridge.OpPublish, bridge.TooLarge, "%d bytes", len(m.Payload))
	}
	return nil
}

func (s *shop) Subscribes(who *bridge.Principal, filter string) bool {
	return filter == "$shop/of/"+who.ClientID
}

func (s *shop) Take(r FamilyRequest, done func(error)) {
	s.took <- r
	done(s.err)
}

func shopping(t *testing.T, profile string) (*house, *shop) {
	t.Helper()
	s := &shop{took: make(chan FamilyRequest, 10)}
	return openWith(t, people{}, func(d *Deps) { d.Families = []Family{s} }, plain(profile)), s
}

// TestFamilyTakesItsTopics: what is published to a family's topics goes to the
// service, with all that it may need, and neither into the walk nor to
// subscribers; retained is nothing of it.
func TestFamilyTakesItsTopics(t *testing.T) {
	for _, version := range []byte{4, 5} {
		h, s := shopping(t, profileAWS)
		d := h.join(version, "a", func(pk *packets.Packet) {
			if version == 5 {
				pk.Properties.MaximumPacketSize = 9000
			}
		})
		d.send(publish(7, "$shop/a/very/long/way/of/more/than/seven/slashes", "x", retain))
		if ack := d.expect(packets.Puback); ack.PacketID != 7 || ack.ReasonCode != 0 {
			t.Errorf("%+v", ack)
		}
		r := <-s.took
		if r.From.ClientID != "a" || r.PacketID != 7 || r.Message.Retain || string(r.Message.Payload) != "x" || version == 5 && r.Largest != 9000 {
			t.Errorf("%+v", r)
		}
		if got := h.walk.topics(); len(got) > 0 {
			t.Errorf("the walk has %q", got)
		}
		if n := h.Status().Retained; n != 0 {
			t.Errorf("%d retained", n)
		}
	}
}

// TestFamilyAnswersWithItsCodes: a refusal is the PUBACK's reason code, and the
// policy and the family's own bounds come before it.
func TestFamilyAnswersWithItsCodes(t *testing.T) {
	h, s := shopping(t, profileAWSEdge)
	d := h.join(5, "a")
	s.err = Refusal("shop-closed", 0x83)
	d.send(publish(1, "$shop/x", "x"))
	if ack := d.expect(packets.Puback); ack.ReasonCode != 0x83 || h.dropped("shop-closed") != 1 {
		t.Errorf("%#x", ack.ReasonCode)
	}
	h.rules.deny("iot:Publish $shop/secret")
	d.send(publish(2, "$shop/secret", "x"))
	if ack := d.expect(packets.Puback); ack.ReasonCode != 0x87 {
		t.Errorf("%#x", ack.ReasonCode)
	}
	if len(s.took) != 1 {
		t.Errorf("the family has %d messages", len(s.took))
	}
}

// TestFamilyAnswersOnConnectionsOnly: a will has none.
func TestFamilyAnswersOnConnectionsOnly(t *testing.T) {
	h, _ := shopping(t, profileAWSEdge)
	d := dial(t, h.addr(), 5)
	ack := d.connect("a", func(pk *packets.Packet) {
		pk.Connect.WillFlag, pk.Connect.WillTopic, pk.Connect.WillPayload = true, "$shop/x", []byte("x")
	})
	if ack.ReasonCode != 0x90 {
		t.Errorf("CONNACK %#x", ack.ReasonCode)
	}
}

// TestFamilySubscriptions: the family says who may subscribe to its topics; in a
// profile where it has none they are what they were.
func TestFamilySubscriptions(t *testing.T) {
	h, _ := shopping(t, profileAWSEdge)
	a := h.join(5, "a")
	if got := a.subscribe(1, "$shop/of/a", "$shop/of/b", "$shop/#", "$other/x"); string(got) != "\x01\x8f\x8f\x8f" {
		t.Errorf("% x", got)
	}
	h, _ = shopping(t, profileMQTT)
	a = h.join(5, "a")
	if got := a.subscribe(1, "$shop/of/b"); string(got) != "\x01" {
		t.Errorf("% x", got)
	}
}

// TestHand: an answer goes to who asked, by its subscription, and tells what
// became of it; more than the profile's payload is no hindrance.
func TestHand(t *testing.T) {
	h, s := shopping(t, profileAWSEdge)
	a, b := h.join(5, "a"), h.join(5, "b")
	a.subscribe(1, "$shop/of/a")
	b.send(publish(1, "$shop/x", "x"))
	b.expect(packets.Puback)
	a.send(publish(1, "$shop/x", "x"))
	a.expect(packets.Puback)
	deaf, asker := (<-s.took).From, (<-s.took).From
	left := make(chan bridge.Result, 1)
	hand := func(who *bridge.Principal, m *bridge.Message) {
		h.Hand(who, m, func(r bridge.Result) { left <- r })
	}
	large := strings.Repeat("x", 180<<10)
	for qos := range byte(2) {
		hand(asker, &bridge.Message{Topic: "$shop/of/a", Payload: []byte(large), QoS: qos})
		pk := a.take()
		if r := <-left; r != bridge.ResultAcked || len(pk.Payload) != len(large) || pk.FixedHeader.Qos != qos {
			t.Errorf("%v, %d bytes", r, len(pk.Payload))
		}
	}
	hand(deaf, &bridge.Message{Topic: "$shop/of/a", Payload: []byte("x")})
	if r := <-left; r != bridge.ResultAbsent {
		t.Errorf("without a subscription: %v", r)
	}
	h.leave(a, "a")
	again := h.join(5, "a")
	again.subscribe(1, "$shop/of/a")
	hand(asker, &bridge.Message{Topic: "$shop/of/a", Payload: []byte("x")})
	if r := <-left; r != bridge.ResultAbsent {
		t.Errorf("another connection of the client id: %v", r)
	}
	again.expectNothing()
}
