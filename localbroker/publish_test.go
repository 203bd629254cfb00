package localbroker

import (
	"bytes"
	"slices"
	"strings"
	"testing"

	"github.com/mochi-mqtt/server/v2/packets"

	"github.com/ebbgate/ebbgate/bridge"
)

// answers of a PUBLISH in the tables below.
const (
	closes  = 0x100 // the connection ends without a word
	nothing = 0x200 // no answer, and the connection lives
	bye     = 0x400 // DISCONNECT with the code in the low byte
)

// answered expects one of the answers above, or a PUBACK with a code.
func (d *device) answered(want int) {
	d.tb.Helper()
	switch {
	case want == closes:
		d.expectEnd()
	case want == nothing:
		d.expectNothing()
	case want&bye != 0:
		d.expectGoodbye(byte(want))
	default:
		if got := d.expect(packets.Puback).ReasonCode; got != byte(want) {
			d.tb.Errorf("PUBACK %#x, want %#x", got, want)
		}
		d.expectNothing()
	}
}

// TestPublishAnswers: what a device sees, by version and QoS, end to end.
func TestPublishAnswers(t *testing.T) {
	big := strings.Repeat("x", 128<<10+1)
	tests := []struct {
		name                 string
		profile              string
		denied               DeniedOptions
		pk                   packets.Packet // as QoS 1, id 1
		v5q1, v3q1, v5q0, v3 int
		reason               string
	}{
		{name: "accepted (B73, B74)", pk: publish(1, "t", "x"), v5q1: 0, v3q1: 0, v5q0: nothing, v3: nothing},
		{name: "denied (B85, B86)", pk: publish(1, "secret", "x"), v5q1: 0x87, v3q1: closes, v5q0: bye | 0x87, v3: closes},
		{name: "denied, disconnect and ack", pk: publish(1, "secret", "x"), denied: DeniedOptions{MQTT5: deniedDisconnect, MQTT3: deniedAck}, v5q1: bye | 0x87, v3q1: 0, v5q0: bye | 0x87, v3: closes},
		{name: "denied, profile mqtt", profile: profileMQTT, pk: publish(1, "secret", "x"), v5q1: 0x87, v3q1: closes, v5q0: nothing, v3: nothing},
		{name: "retain denied (B211)", pk: publish(1, "keep", "x", retain), v5q1: 0x87, v3q1: closes, v5q0: bye | 0x87, v3: closes},
		{name: "too deep (B80, B81)", pk: publish(1, "1/2/3/4/5/6/7/8/9", "x"), v5q1: 0x90, v3q1: closes, v5q0: bye | 0x90, v3: closes},
		{name: "too long", pk: publish(1, strings.Repeat("x", 257), "x"), v5q1: 0x90, v3q1: closes, v5q0: bye | 0x90, v3: closes},
		{name: "reserved (B82)", pk: publish(1, "$SYS/x", "x"), v5q1: 0x90, v3q1: closes, v5q0: bye | 0x90, v3: closes},
		{name: "reserved, profile mqtt", profile: profileMQTT, pk: publish(1, "$SYS/x", "x"), v5q1: 0x90, v3q1: closes, v5q0: nothing, v3: nothing},
		{name: "retain on a reserved topic (B83)", pk: publish(1, "$aws/things/t/x", "x", retain), v5q1: 0x90, v3q1: closes, v5q0: bye | 0x90, v3: closes},
		{name: "wildcard (B79)", pk: publish(1, "a/#", "x"), v5q1: 0x90, v3q1: closes, v5q0: bye | 0x90, v3: closes},
		{name: "payload above 128 KiB (B84)", pk: publish(1, "t", big), v5q1: bye | 0x97, v3q1: closes, v5q0: bye | 0x97, v3: closes},
		{name: "packet above the limit", pk: publish(1, "t", big+big), v5q1: bye | 0x97, v3q1: closes, v5q0: bye | 0x97, v3: closes},
		{name: "packet above the limit, profile mqtt", profile: profileMQTT, pk: publish(1, "t", strings.Repeat(big, 9)), v5q1: bye | 0x95, v3q1: closes, v5q0: bye | 0x95, v3: closes},
	}
	for _, tt := range tests {
		for _, v := range []struct {
			name         string
			version, qos byte
			want         int
		}{{"v5 QoS 1", 5, 1, tt.v5q1}, {"v3.1.1 QoS 1", 4, 1, tt.v3q1}, {"v5 QoS 0", 5, 0, tt.v5q0}, {"v3.1.1 QoS 0", 4, 0, tt.v3}} {
			t.Run(tt.name+"/"+v.name, func(t *testing.T) {
				o := plain(profileAWS)
				if tt.profile != "" {
					o.Profile = tt.profile
				}
				if tt.denied != (DeniedOptions{}) {
					o.Denied = tt.denied
				}
				h := open(t, people{}, o)
				h.rules.deny("iot:Publish secret", "iot:RetainPublish keep")
				d := h.join(v.version, "d")
				pk := tt.pk
				if v.qos == 0 {
					pk.FixedHeader.Qos, pk.PacketID = 0, 0
				}
				_, _ = d.Write(encode(t, pk, v.version)) // the broker may close before it has read all
				d.answered(v.want)
			})
		}
	}
}

// TestTopicAlias: an alias is resolved before anybody decides (M6, B93-B96).
func TestTopicAlias(t *testing.T) {
	alias := func(n uint16) func(*packets.Packet) {
		return func(pk *packets.Packet) { pk.Properties.TopicAlias, pk.Properties.TopicAliasFlag = n, true }
	}
	t.Run("bound and used", func(t *testing.T) {
		h := open(t, people{}, plain(profileAWS))
		d := h.join(5, "d")
		d.send(publish(1, "a", "x", alias(8)))
		d.send(publish(2, "", "x", alias(8)))
		d.send(publish(3, "b", "x", alias(8)))
		d.send(publish(4, "", "x", alias(8)))
		for range 4 {
			d.expect(packets.Puback)
		}
		if got := h.walk.topics(); !slices.Equal(got, []string{"a", "a", "b", "b"}) {
			t.Errorf("the walk took %q", got)
		}
	})
	t.Run("does not get around the policy", func(t *testing.T) {
		h := open(t, people{}, plain(profileAWS))
		h.rules.deny("iot:Publish secret")
		d := h.join(5, "d")
		d.send(publish(1, "secret", "x", alias(1)))
		d.answered(0x87)
		d.send(publish(2, "", "x", alias(1)))
		d.answered(0x87)
		if got := h.walk.topics(); len(got) != 0 {
			t.Errorf("the walk took %q", got)
		}
	})
	for name, tt := range map[string]struct {
		pk   packets.Packet
		code byte
	}{
		"above the maximum": {publish(1, "a", "x", alias(9)), 0x94},
		"unbound":           {publish(1, "", "x", alias(3)), 0x82},
		"no topic at all":   {publish(1, "", "x"), 0x82},
	} {
		t.Run(name, func(t *testing.T) {
			h := open(t, people{}, plain(profileAWS))
			d := h.join(5, "d")
			d.send(tt.pk)
			d.expectGoodbye(tt.code)
		})
	}
	t.Run("zero", func(t *testing.T) { // the codec cannot write it
		h := open(t, people{}, plain(profileAWS))
		d := h.join(5, "d")
		if _, err := d.Write([]byte{0x32, 9, 0, 1, 'a', 0, 1, 3, 35, 0, 0}); err != nil {
			t.Fatal(err)
		}
		d.expectGoodbye(0x94)
	})
	t.Run("a new connection begins without", func(t *testing.T) {
		h := open(t, people{}, plain(profileAWS))
		d := h.join(5, "d")
		d.send(publish(1, "a", "x", alias(1)))
		d.expect(packets.Puback)
		again := h.join(5, "d")
		again.send(publish(1, "", "x", alias(1)))
		again.expectGoodbye(0x82)
	})
}

// TestProtocolErrors of an established connection.
func TestProtocolErrors(t *testing.T) {
	kind := func(k byte) packets.Packet {
		return packets.Packet{FixedHeader: packets.FixedHeader{Type: k}, PacketID: 1}
	}
	second := hello(5, "d")
	subID := publish(1, "t", "x")
	subID.Properties.SubscriptionIdentifier = []int{1}
	tests := []struct {
		name string
		pk   packets.Packet
		raw  []byte
		code byte
	}{
		{name: "second CONNECT (B18)", pk: second, code: 0x82},
		{name: "PUBREC (B77)", pk: kind(packets.Pubrec), code: 0x82},
		{name: "AUTH", pk: kind(packets.Auth), code: 0x82},
		{name: "Subscription Identifier in PUBLISH (B102)", pk: subID, code: 0x82},
		{name: "wildcard in Response Topic (B101)", raw: append([]byte{0x32, 12, 0, 1, 'a', 0, 1, 6, 8, 0, 3}, "a/#"...), code: 0x82},
		{name: "packet id 0", raw: []byte{0x32, 6, 0, 1, 'a', 0, 0, 0}, code: 0x82},
		{name: "malformed (B103)", raw: []byte{0x32, 3, 0, 9, 'a'}, code: 0x81},
		{name: "packet type 0", raw: []byte{0x00, 0}, code: 0x81},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			h := open(t, people{}, plain(profileAWS))
			d := h.join(5, "d")
			if tt.raw != nil {
				if _, err := d.Write(tt.raw); err != nil {
					t.Fatal(err)
				}
			} else {
				d.send(tt.pk)
			}
			d.expectGoodbye(tt.code)
		})
	}
}

// TestQoS2 is refused in the profiles of AWS (B75, B76).
func TestQoS2(t *testing.T) {
	qos2 := publish(1, "t", "x", func(pk *packets.Packet) { pk.FixedHeader.Qos = 2 })
	for _, tt := range []struct {
		profile string
		version byte
		want    int
	}{
		{profileAWS, 5, bye | 0x9B}, {profileAWS, 4, nothing},
		{profileAWSEdge, 5, bye | 0x9B}, {profileAWSEdge, 4, closes},
	} {
		h := open(t, people{}, plain(tt.profile))
		d := h.join(tt.version, "d")
		d.send(qos2)
		d.answered(tt.want)
		if len(h.walk.topics()) > 0 || h.dropped("qos2") != 1 {
			t.Errorf("%s, version %d: taken, or not counted", tt.profile, tt.version)
		}
	}
}

// TestPublishProperties: all properties reach the walk, user properties in
// order, and the expiry is clamped (B98, B100).
func TestPublishProperties(t *testing.T) {
	h := open(t, people{}, plain(profileAWS))
	d := h.join(5, "d")
	d.send(publish(1, "t", "x", func(pk *packets.Packet) {
		pk.Properties = packets.Properties{
			PayloadFormatFlag: true, PayloadFormat: 1, MessageExpiryInterval: 999_999_999,
			ContentType: "text/plain", ResponseTopic: "r", CorrelationData: []byte{1, 2},
			User: []packets.UserProperty{{Key: "b", Val: "1"}, {Key: "a", Val: "2"}, {Key: "b", Val: "3"}},
		}
	}))
	d.expect(packets.Puback)
	m := h.walk.took[0]
	if m.PayloadFormat != 1 || !m.HasExpiry || m.Expiry != 604_800 || m.ContentType != "text/plain" || m.ResponseTopic != "r" || !bytes.Equal(m.CorrelationData, []byte{1, 2}) {
		t.Errorf("properties %+v", m.Properties)
	}
	if want := []bridge.UserProperty{{Key: "b", Value: "1"}, {Key: "a", Value: "2"}, {Key: "b", Value: "3"}}; !slices.Equal(m.User, want) {
		t.Errorf("user properties %v", m.User)
	}
}

// TestPublishRate: above the limit messages are discarded (B90), v5 is told
// (B91).
func TestPublishRate(t *testing.T) {
	each(t, func(t *testing.T, version byte) {
		o := plain(profileAWS)
		o.Limits.PublishesPerSec = 2
		h := open(t, people{}, o)
		d := h.join(version, "d")
		for id := uint16(1); id <= 4; id++ {
			d.send(publish(id, "t", "x"))
		}
		d.expect(packets.Puback)
		d.expect(packets.Puback)
		if version == 5 {
			for range 2 {
				if got := d.expect(packets.Puback).ReasonCode; got != 0x97 {
					t.Errorf("PUBACK %#x, want 0x97", got)
				}
			}
		}
		d.expectNothing()
		if n := len(h.walk.topics()); n != 2 {
			t.Errorf("the walk took %d, want 2", n)
		}
	})
}
