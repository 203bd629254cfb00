package localbroker

import (
	"fmt"
	"testing"
	"time"

	"github.com/mochi-mqtt/server/v2/packets"
)

// TestB31_ConnectRateV5: above 3000 CONNECTs a second of the account, one a
// second of a client id, or the account's connections: CONNACK 0x97 and the end
// (Q02-Q04). MQTT 3.1.1 is closed without a word (B32), which is counted.
func TestB31_ConnectRateV5(t *testing.T) { connectRate(t, 5) }

func TestB32_ConnectRateV3(t *testing.T) { connectRate(t, 4) }

func connectRate(t *testing.T, version byte) {
	for _, tt := range []struct {
		quota, reason, id string
		account           func(*AccountQuotas)
	}{
		{"Q02", "connect-rate", "third", func(q *AccountQuotas) { q.ConnectsPerSecond = 2 }},
		{"Q03", "client-connect-rate", "first", nil},
		{"Q04", "account-connection-count", "third", func(q *AccountQuotas) { q.Connections = 2 }},
	} {
		t.Run(tt.quota, func(t *testing.T) {
			h, clock := openPaced(t, tt.account, paced(profileAWS))
			h.join(version, "first")
			second := h.join(version, "second")
			d := dial(t, h.addr(), version)
			d.send(hello(version, tt.id))
			if version == 5 {
				if code := d.expect(packets.Connack).ReasonCode; code != 0x97 {
					t.Errorf("CONNACK %#x", code)
				}
			}
			d.expectEnd()
			if why := receive(t, "the refusal", h.no); why != tt.reason {
				t.Errorf("refused for %s", why)
			}
			eventually(t, "it is counted", func() bool {
				got := h.Status().SilentCloses
				return version == 5 && len(got) == 0 || version == 4 && len(got) == 1 && got[0].Reason == tt.reason && got[0].Said() == "CONNACK 0x97"
			})
			if tt.quota != "Q04" {
				if got := h.count(tt.quota); got.Enforced != 1 {
					t.Errorf("%+v", got)
				}
				clock.advance(time.Second)
			} else {
				h.leave(second, "second")
			}
			h.join(version, tt.id)
		})
	}
}

// TestEdgeTakesConnectsAboveTheRate, which AWS would have refused.
func TestEdgeTakesConnectsAboveTheRate(t *testing.T) {
	h, _ := openPaced(t, func(q *AccountQuotas) { q.ConnectsPerSecond = 2 }, paced(profileAWSEdge))
	for range 2 {
		h.join(5, "again")
	}
	for i := range 3 {
		h.join(4, fmt.Sprint("d", i))
	}
	if rate, own := h.count("Q02"), h.count("Q03"); rate.Warned != 3 || own.Warned != 1 {
		t.Errorf("%+v, %+v", rate, own)
	}
}

// TestStrangersUseUpNothing: a CONNECT that the policy denies takes nothing
// from the client id's quota, or anybody could keep a device out.
func TestStrangersUseUpNothing(t *testing.T) {
	h, _ := openPaced(t, nil, paced(profileAWS))
	h.rules.deny("iot:Connect d")
	for range 3 {
		stranger := dial(t, h.addr(), 5)
		if code := stranger.connect("d").ReasonCode; code != 0x87 {
			t.Fatalf("CONNACK %#x", code)
		}
	}
	h.rules.deny()
	h.join(5, "d")
}

// TestB139_SubscribeRate: filters above the account's rate are refused in the
// SUBACK (Q18); aws-edge grants them.
func TestB139_SubscribeRate(t *testing.T) {
	each(t, func(t *testing.T, version byte) {
		edge := paced(profileAWSEdge)
		edge.Name = "edge"
		h, clock := openPaced(t, func(q *AccountQuotas) { q.SubscribesPerSecond = 3 }, paced(profileAWS), edge)
		d := h.join(version, "d")
		refused := byte(0x80)
		if version == 5 {
			refused = 0x97
		}
		if codes := d.subscribe(1, "a", "b", "c", "d", "e"); string(codes) != string([]byte{1, 1, 1, refused, refused}) {
			t.Errorf("SUBACK %x", codes)
		}
		other := dial(t, h.listeners[1].addr().String(), version)
		other.connect("other")
		if codes := other.subscribe(1, "a"); codes[0] != 1 {
			t.Errorf("aws-edge: SUBACK %x", codes)
		}
		if got := h.count("Q18"); got.Enforced != 2 || got.Warned != 1 {
			t.Errorf("%+v", got)
		}
		clock.advance(time.Second)
		if codes := d.subscribe(1, "d"); codes[0] != 1 {
			t.Errorf("a second later: SUBACK %x", codes)
		}
	})
}

// TestSubscriptionsOfTheAccount: what is above Q19 is refused in the SUBACK,
// also in aws-edge: it is no quota of pace. Replacing is no more.
func TestSubscriptionsOfTheAccount(t *testing.T) {
	h, _ := openPaced(t, func(q *AccountQuotas) { q.Subscriptions = 3 }, paced(profileAWSEdge))
	one, two := h.join(5, "one"), h.join(4, "two")
	if codes := one.subscribe(1, "a", "b"); string(codes) != "\x01\x01" {
		t.Fatalf("SUBACK %x", codes)
	}
	if codes := two.subscribe(1, "a", "b"); string(codes) != "\x01\x80" {
		t.Errorf("SUBACK %x", codes)
	}
	if codes := one.subscribe(0, "a"); codes[0] != 0 {
		t.Errorf("the same filter again: SUBACK %x", codes)
	}
	one.unsubscribe("a")
	if codes := two.subscribe(1, "b"); codes[0] != 1 {
		t.Errorf("after an UNSUBSCRIBE: SUBACK %x", codes)
	}
	h.leave(two, "two")
	if codes := one.subscribe(1, "c", "d"); string(codes) != "\x01\x01" {
		t.Errorf("after a session has ended: SUBACK %x", codes)
	}
}

// TestB183_ShareGroups: the 101st group and the 101st member are refused in
// the SUBACK (Q32, Q33), and what is above 100 SUBSCRIBEs and UNSUBSCRIBEs a
// second of one group (Q34).
func TestB183_ShareGroups(t *testing.T) {
	each(t, func(t *testing.T, version byte) {
		h, clock := openPaced(t, func(q *AccountQuotas) { q.ShareGroups, q.ShareGroupMembers, q.ShareGroupChanges = 2, 2, 3 }, paced(profileAWS))
		refused := byte(0x80)
		if version == 5 {
			refused = 0x97
		}
		one, two, three := h.join(version, "one"), h.join(version, "two"), h.join(version, "three")
		if codes := one.subscribe(1, "$share/g/a", "$share/g/b", "$share/h/a", "a"); string(codes) != string([]byte{1, 1, refused, 1}) {
			t.Errorf("groups: SUBACK %x", codes)
		}
		if codes := two.subscribe(1, "$share/g/a"); codes[0] != 1 {
			t.Errorf("the second member: SUBACK %x", codes)
		}
		if codes := three.subscribe(1, "$share/g/a"); codes[0] != refused {
			t.Errorf("the third member: SUBACK %x", codes)
		}
		if code := two.unsubscribe("$share/g/a"); version == 5 && code != 0x80 {
			t.Errorf("the fourth change: UNSUBACK %#x", code)
		}
		if got := h.count("Q34"); got.Enforced != 1 {
			t.Errorf("%+v", got)
		}
		clock.advance(time.Second)
		two.unsubscribe("$share/g/a")
		if codes := three.subscribe(1, "$share/g/a"); codes[0] != 1 {
			t.Errorf("in the place of the second: SUBACK %x", codes)
		}
	})
}

// unsubscribe unsubscribes and returns the code, 0 in MQTT 3.1.1.
func (d *device) unsubscribe(filter string) byte {
	d.tb.Helper()
	d.send(packets.Packet{FixedHeader: packets.FixedHeader{Type: packets.Unsubscribe}, PacketID: 9, Filters: packets.Subscriptions{{Filter: filter}}})
	if codes := d.expect(packets.Unsuback).ReasonCodes; len(codes) > 0 {
		return codes[0]
	}
	return 0
}
