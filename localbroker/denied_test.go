package localbroker

import (
	"bytes"
	"testing"

	"github.com/mochi-mqtt/server/v2/packets"
)

// TestDeniedSubscribe: policy §4, with its switch.
func TestDeniedSubscribe(t *testing.T) {
	each(t, func(t *testing.T, version byte) {
		o := plain(profileAWS)
		o.DeniedSubscribe = DeniedSubscribeOptions{MQTT5: deniedDisconnect, MQTT3: deniedClose}
		h := open(t, people{}, o)
		h.rules.deny("iot:Subscribe secret")
		d := h.join(version, "d", withWill)
		d.send(packets.Packet{FixedHeader: packets.FixedHeader{Type: packets.Subscribe}, PacketID: 1, Filters: packets.Subscriptions{{Filter: "ok"}, {Filter: "secret"}}})
		if version == 5 {
			d.expectGoodbye(0x87)
		} else {
			d.expectEnd()
		}
		receive(t, "the end", h.ended)
		if got := h.walk.topics(); len(got) != 1 || got[0] != "w" { // AUTH_ERROR fires the will
			t.Errorf("the walk took %q", got)
		}
		if got := h.Status().AuthErrors["Subscribe.AuthError"]; got != 1 {
			t.Errorf("counted %d", got)
		}
	})
}

// TestWillCheck: B27, with its switch.
func TestWillCheck(t *testing.T) {
	for _, tt := range []struct {
		check     string
		atConnect bool // refused at CONNECT
		atFire    bool // refused when it fires
	}{
		{"", true, true}, {willBoth, true, true}, {willAtConnect, true, false}, {willAtFire, false, true},
	} {
		t.Run(tt.check, func(t *testing.T) {
			each(t, func(t *testing.T, version byte) {
				h := openWith(t, people{}, func(d *Deps) { d.WillCheck = tt.check }, plain(profileAWS))
				h.rules.deny("iot:Publish w")
				want := byte(0)
				if tt.atConnect {
					want = map[byte]byte{5: 0x87, 4: 5}[version]
				}
				if got := dial(t, h.addr(), version).connect("refused", withWill).ReasonCode; got != want {
					t.Errorf("CONNACK %#x, want %#x", got, want)
				}
				h.rules.deny()
				d := h.join(version, "d", withWill)
				h.rules.deny("iot:Publish w")
				h.leave(d, "d")
				for why := receive(t, "the end", h.ended); why != "connection-lost"; {
					why = receive(t, "the end", h.ended)
				}
				took := len(h.walk.topics()) > 0
				if took == tt.atFire {
					t.Errorf("published: %v", took)
				}
			})
		})
	}
}

// TestWillRetainsReserved: a will that would be a retained PUBLISH to a "$" topic
// is refused like one, whatever the policy says (policy §3).
func TestWillRetainsReserved(t *testing.T) {
	for version, want := range map[byte]byte{5: 0x90} {
		h := open(t, people{}, plain(profileAWS))
		reserved := func(pk *packets.Packet) {
			withWill(pk)
			pk.Connect.WillTopic, pk.Connect.WillRetain = "$aws/things/d/shadow/update", true
		}
		if got := dial(t, h.addr(), version).connect("d", reserved).ReasonCode; got != want {
			t.Errorf("CONNACK %#x, want %#x", got, want)
		}
	}
}

// TestShareReceive: a delivery through a shared subscription is asked about with
// its ShareName; through an ordinary one without.
func TestShareReceive(t *testing.T) {
	for name, tt := range map[string]struct {
		filters []string
		deny    string
		gets    bool
	}{
		"shared, its form denied":          {[]string{"$share/g/t"}, "iot:Receive $share/g/t", false},
		"shared, the plain form denied":    {[]string{"$share/g/t"}, "iot:Receive t", true},
		"plain, the shared form denied":    {[]string{"t"}, "iot:Receive $share/g/t", true},
		"both, the plain form denied":      {[]string{"t", "$share/g/t"}, "iot:Receive t", true},
		"both, the shared form denied":     {[]string{"t", "$share/g/#"}, "iot:Receive $share/g/t", true},
		"shared by another, denied for it": {[]string{"$share/h/t"}, "iot:Receive $share/g/t", true},
	} {
		t.Run(name, func(t *testing.T) {
			h := open(t, people{}, plain(profileAWS))
			h.rules.deny(tt.deny)
			d := h.join(5, "d")
			d.subscribe(0, tt.filters...)
			pub := h.join(4, "pub")
			pub.send(publish(1, "t", "x"))
			pub.expect(packets.Puback)
			pub.expectNothing()
			if tt.gets {
				d.take()
			} else {
				eventually(t, "it is withheld", func() bool { return h.dropped("receive-denied") == 1 })
				d.expectNothing()
			}
		})
	}
}

// TestAuthErrors: each refusal is counted under AWS's name for it.
func TestAuthErrors(t *testing.T) {
	h := open(t, people{}, plain(profileAWS))
	h.rules.deny("iot:Connect x", "iot:Publish secret", "iot:RetainPublish kept", "iot:Subscribe s1", "iot:Subscribe s2", "iot:Receive mute")
	if got := dial(t, h.addr(), 5).connect("x").ReasonCode; got != 0x87 {
		t.Fatalf("CONNACK %#x", got)
	}
	d := h.join(5, "d")
	if got := d.subscribe(0, "s1", "ok", "s2", "mute"); !bytes.Equal(got, []byte{0x87, 0, 0x87, 0}) {
		t.Fatalf("SUBACK %#x", got)
	}
	for i, pk := range []packets.Packet{publish(1, "secret", "x"), publish(2, "kept", "x", retain), publish(3, "kept", "", retain), publish(4, "mute", "x")} {
		d.send(pk)
		want := byte(0x87)
		if i == 3 {
			want = 0
		}
		if got := d.expect(packets.Puback).ReasonCode; got != want {
			t.Errorf("PUBLISH %d: PUBACK %#x, want %#x", i+1, got, want)
		}
	}
	want := map[string]int64{"Connect.AuthError": 1, "Subscribe.AuthError": 2, "PublishIn.AuthError": 1, "PublishRetained.AuthError": 2, "PublishOut.AuthError": 1}
	eventually(t, "the counts", func() bool {
		got := h.Status().AuthErrors
		for name, n := range want {
			if got[name] != n {
				return false
			}
		}
		return len(got) == len(want)
	})
}
