package localbroker

import (
	"bytes"
	"strings"
	"testing"

	"github.com/mochi-mqtt/server/v2/packets"

	"github.com/ebbgate/ebbgate/bridge"
)

// fileShop is a shop that takes larger packets than the profile does, at once.
type fileShop struct{ *shop }

func (*fileShop) LargestPacket(string) int { return 300 << 10 }

func (s *fileShop) Take(r FamilyRequest, done func(error)) { done(nil) }

// openOutside is a broker on a frozen clock with a service, and a device there.
func openOutside(t *testing.T, profile string, f Family) (*house, *device) {
	t.Helper()
	c := frozen()
	h := openOptions(t, people{}, func(d *Deps) { d.Now, d.Families = c.now, []Family{f} }, func(*Options) {}, paced(profile))
	return h, h.join(5, "a")
}

// above waits until what was above the quotas of a connection is this; of Q07 1 is
// anything.
func (h *house) above(q06, q07 int64) {
	h.tb.Helper()
	of := func(id string) int64 {
		q := h.count(id)
		return q.Warned + q.Enforced
	}
	eventually(h.tb, "what was above Q06 and Q07", func() bool { return of("Q06") == q06 && min(of("Q07"), 1) == q07 })
	if n := of("Q20") + of("Q21") + of("Q23"); n != 0 {
		h.tb.Errorf("%d are above the account's quotas", n)
	}
}

// TestOutsideTheQuotas: AWS has no topics of file transfer, and discards nothing of
// what its services answer. Neither is of the quotas of a connection (Q06, Q07), where
// they are enforced and where they warn; what else the same device sends and is sent
// is, a request to such a service too.
func TestOutsideTheQuotas(t *testing.T) {
	const count, size = 150, 8 << 10 // 1.2 MB
	body := strings.Repeat("x", size)
	for _, profile := range []string{profileAWSEdge, profileAWS} {
		sends := func(d *device, topic, body string) {
			t.Helper()
			for id := uint16(1); id <= count; id++ {
				d.send(publish(id, topic, body))
				d.acks(1)
			}
		}
		t.Run(profile+", sent as a file", func(t *testing.T) {
			h, d := openOutside(t, profile, &fileShop{&shop{}})
			sends(d, "$shop/x", body)
			h.above(0, 0)
			sends(d, "t", "x")
			h.above(count-100, 0)
		})
		t.Run(profile+", asked for", func(t *testing.T) {
			s := &shop{took: make(chan FamilyRequest, count)}
			h, d := openOutside(t, profile, s)
			sends(d, "$shop/x", "x")
			h.above(count-100, 0)
		})
		t.Run(profile+", answered", func(t *testing.T) {
			s := &shop{took: make(chan FamilyRequest, 1)}
			h, d := openOutside(t, profile, s)
			d.subscribe(1, "$shop/of/a")
			d.send(publish(1, "$shop/x", "x"))
			d.acks(1)
			asker := (<-s.took).From
			left := make(chan bridge.Result, 1)
			for range count {
				h.Hand(asker, &bridge.Message{Topic: "$shop/of/a", Payload: []byte(body), QoS: 1}, func(r bridge.Result) { left <- r })
				d.take()
				if r := <-left; r != bridge.ResultAcked {
					t.Fatalf("an answer: %v", r)
				}
			}
			h.above(0, 0)
		})
		for _, kept := range []bool{false, true} {
			name := ", told"
			if kept {
				name = ", told and kept"
			}
			t.Run(profile+name, func(t *testing.T) {
				h, d := openOutside(t, profile, &shop{})
				if kept {
					d = h.join(5, "k", func(pk *packets.Packet) {
						pk.Properties.SessionExpiryInterval, pk.Properties.SessionExpiryIntervalFlag = 3600, true
					})
				}
				d.subscribe(1, "mine") // a device may have its responses where it likes
				for range count {
					h.Tell(&bridge.Message{Topic: "mine", Payload: bytes.Repeat([]byte("x"), 10), QoS: 1})
					d.take()
				}
				h.above(0, 0)
			})
		}
		t.Run(profile+", others", func(t *testing.T) {
			h, d := openOutside(t, profileAWSEdge, &fileShop{&shop{}})
			sends(d, "t", body)
			h.above(count-100, 1)
		})
	}
}

// TestResponsesOutsideTheBytes: responses on topics of the service are free of the
// quota of bytes by those, sent again too; what leaves in the same write is not.
func TestResponsesOutsideTheBytes(t *testing.T) {
	h, d := openOutside(t, profileAWSEdge, &shop{})
	d.subscribe(0, "$shop/of/a", "t")
	part := &bridge.Message{Topic: "$shop/of/a", Payload: bytes.Repeat([]byte("x"), 100<<10)}
	for range 8 {
		h.Tell(part)
		d.expect(packets.Publish)
	}
	h.above(0, 0)
	for range 8 {
		h.Tell(part)
		h.Tell(&bridge.Message{Topic: "t", Payload: part.Payload})
		d.expect(packets.Publish)
		d.expect(packets.Publish)
	}
	h.above(0, 1)
}

// TestSilentQoS2CountsBytes: what MQTT 3.1.1 devices send at QoS 2, and AWS passes over
// in silence (B75), is of the quota of bytes.
func TestSilentQoS2CountsBytes(t *testing.T) {
	h, _ := openOutside(t, profileAWS, &shop{})
	d := h.join(4, "old")
	for id := uint16(1); id <= 8; id++ {
		pk := publish(id, "t", strings.Repeat("x", 100<<10))
		pk.FixedHeader.Qos = 2
		d.send(pk)
	}
	h.above(0, 1)
}
