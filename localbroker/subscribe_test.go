package localbroker

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"github.com/mochi-mqtt/server/v2/packets"
)

// TestSubscribeCodes: each filter has its own answer; a denied one never
// delivers.
func TestSubscribeCodes(t *testing.T) {
	filters := []string{"ok", "secret/#", "a/#/b", strings.Repeat("x", 257), "$share/g/ok", "$share/g+/ok"}
	for version, want := range map[byte][]byte{
		5: {1, 0x87, 0x8F, 0x8F, 1, 0x8F},
		4: {1, 0x80, 0x80, 0x80, 1, 0x80},
	} {
		h := open(t, people{}, plain(profileAWS))
		h.rules.deny("iot:Subscribe secret/#")
		d := h.join(version, "d")
		if got := d.subscribe(1, filters...); !bytes.Equal(got, want) {
			t.Errorf("version %d: codes %#x, want %#x", version, got, want)
		}
		pub := h.join(4, "pub")
		pub.send(publish(1, "secret/1", "x"))
		pub.expect(packets.Puback)
		d.expectNothing()
	}
}

// TestSharePolicy: iot:Subscribe is asked for the whole text.
func TestSharePolicy(t *testing.T) {
	h := open(t, people{}, plain(profileAWS))
	h.rules.deny("iot:Subscribe $share/g/t")
	d := h.join(5, "d")
	if got := d.subscribe(0, "$share/g/t", "t"); !bytes.Equal(got, []byte{0x87, 0}) {
		t.Errorf("codes %#x", got)
	}
}

func TestReservedFilters(t *testing.T) {
	h := open(t, people{}, plain(profileAWS))
	d := h.join(5, "five")
	if got := d.subscribe(0, "$SYS/#", "$aws/rules/x/y", "$aws/things/t/#"); !bytes.Equal(got, []byte{0x8F, 0x8F, 0}) { // B131, B146
		t.Errorf("codes %#x", got)
	}
	old := h.join(4, "three")
	old.send(packets.Packet{FixedHeader: packets.FixedHeader{Type: packets.Subscribe}, PacketID: 1, Filters: packets.Subscriptions{{Filter: "$SYS/#"}}})
	old.expectEnd() // B132
}

// TestSubscriptionLimits: 8 filters a packet (B125), 50 a connection (B127,
// B128).
func TestSubscriptionLimits(t *testing.T) {
	many := func(n int, from int) []string {
		var out []string
		for i := range n {
			out = append(out, fmt.Sprintf("f/%d", from+i))
		}
		return out
	}
	each(t, func(t *testing.T, version byte) {
		h := open(t, people{}, plain(profileAWS))
		d := h.join(version, "d")
		for i := range 6 {
			if got := d.subscribe(0, many(8, i*8)...); !bytes.Equal(got, make([]byte, 8)) {
				t.Fatalf("codes %#x", got)
			}
		}
		excess := byte(0x97)
		if version == 4 {
			excess = 0x80
		}
		if got := d.subscribe(0, many(3, 48)...); !bytes.Equal(got, []byte{0, 0, excess}) {
			t.Errorf("codes %#x, want the 51st refused", got)
		}
		if got := d.subscribe(1, "f/0"); !bytes.Equal(got, []byte{1}) {
			t.Errorf("subscribing again: %#x", got)
		}
		pk := packets.Packet{FixedHeader: packets.FixedHeader{Type: packets.Subscribe}, PacketID: 1}
		for _, f := range many(9, 100) {
			pk.Filters = append(pk.Filters, packets.Subscription{Filter: f})
		}
		d.send(pk)
		if version == 5 {
			d.expectGoodbye(0x97)
		} else {
			d.expectEnd()
		}
	})
}

func TestSubscribeQoS2(t *testing.T) {
	for _, tt := range []struct {
		profile string
		version byte
		want    int
	}{
		{profileAWS, 5, bye | 0x9B}, {profileAWS, 4, nothing}, {profileAWSEdge, 4, closes},
	} {
		h := open(t, people{}, plain(tt.profile))
		d := h.join(tt.version, "d")
		d.send(packets.Packet{FixedHeader: packets.FixedHeader{Type: packets.Subscribe}, PacketID: 1, Filters: packets.Subscriptions{{Filter: "t", Qos: 2}}})
		d.answered(tt.want)
	}
	h := open(t, people{}, plain(profileMQTT))
	if got := h.join(4, "d").subscribe(2, "t"); !bytes.Equal(got, []byte{2}) {
		t.Errorf("profile mqtt grants %#x, want 2", got)
	}
}

func TestSubscriptionIdentifier(t *testing.T) {
	pk := packets.Packet{FixedHeader: packets.FixedHeader{Type: packets.Subscribe}, PacketID: 1, Filters: packets.Subscriptions{{Filter: "t/#", Qos: 1}}}
	pk.Properties.SubscriptionIdentifier = []int{42}
	t.Run("refused by AWS (B137)", func(t *testing.T) {
		h := open(t, people{}, plain(profileAWS))
		d := h.join(5, "d")
		d.send(pk)
		gone := d.expect(packets.Disconnect)
		if gone.ReasonCode != 0xA1 || gone.Properties.ReasonString != "DISCONNECT: Subscription Id is not supported now" {
			t.Errorf("DISCONNECT %#x %q", gone.ReasonCode, gone.Properties.ReasonString)
		}
	})
	t.Run("delivered in profile mqtt", func(t *testing.T) {
		h := open(t, people{}, plain(profileMQTT))
		d := h.join(5, "d")
		d.send(pk)
		d.expect(packets.Suback)
		second := pk
		second.Filters = packets.Subscriptions{{Filter: "t/+"}}
		second.Properties.SubscriptionIdentifier = []int{7}
		d.send(second)
		d.expect(packets.Suback)
		h.join(4, "pub").send(publish(1, "t/x", "x"))
		got := d.take()
		ids := got.Properties.SubscriptionIdentifier
		if len(ids) != 2 || ids[0]+ids[1] != 49 || got.FixedHeader.Qos != 1 {
			t.Errorf("identifiers %v, QoS %d", ids, got.FixedHeader.Qos)
		}
		d.expectNothing() // one copy (B114)
	})
}

func TestUnsubscribe(t *testing.T) {
	unsubscribe := func(d *device, filters ...string) {
		pk := packets.Packet{FixedHeader: packets.FixedHeader{Type: packets.Unsubscribe}, PacketID: 3}
		for _, f := range filters {
			pk.Filters = append(pk.Filters, packets.Subscription{Filter: f})
		}
		d.send(pk)
	}
	for _, tt := range []struct {
		profile string
		want    []byte
	}{
		{profileAWS, []byte{0, 0, 0x8F}}, // B142-B144
		{profileMQTT, []byte{0, 0x11, 0x11}},
	} {
		h := open(t, people{}, plain(tt.profile))
		d, pub := h.join(5, "d"), h.join(4, "pub")
		d.subscribe(1, "a", "b")
		unsubscribe(d, "a", "never", "x#")
		if got := d.expect(packets.Unsuback).ReasonCodes; !bytes.Equal(got, tt.want) {
			t.Errorf("%s: codes %#x, want %#x", tt.profile, got, tt.want)
		}
		pub.send(publish(1, "a", "x"))
		pub.send(publish(2, "b", "x"))
		if got := d.take().TopicName; got != "b" {
			t.Errorf("%s: got %q", tt.profile, got)
		}
	}
	t.Run("nine filters (B126)", func(t *testing.T) {
		h := open(t, people{}, plain(profileAWS))
		d := h.join(5, "d")
		d.subscribe(0, "a")
		unsubscribe(d, "a", "a", "a", "a", "a", "a", "a", "a", "a")
		d.expectNothing()
		if got := h.Sessions()[0].Filters; len(got) != 1 {
			t.Errorf("subscriptions %v", got)
		}
	})
}
