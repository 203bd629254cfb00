package localbroker

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/mochi-mqtt/server/v2/packets"

	"github.com/ebbgate/ebbgate/bridge"
)

// frozen is a clock that only the test moves: within it a second's quota is
// exactly that.
func frozen() *clock {
	c := &clock{}
	at := time.Now()
	c.still = &at
	return c
}

// openPaced starts a broker on a frozen clock.
func openPaced(t *testing.T, account func(*AccountQuotas), ls ...ListenerOptions) (*house, *clock) {
	t.Helper()
	c := frozen()
	h := openOptions(t, people{}, func(d *Deps) { d.Now, d.Health = c.now, &bridge.Health{} }, func(o *Options) {
		if account != nil {
			account(&o.Broker.Quotas)
		}
	}, ls...)
	return h, c
}

// count is what was above one quota.
func (h *house) count(id string) QuotaCount {
	for _, q := range h.Status().Quotas {
		if q.Quota == id {
			return q
		}
	}
	h.tb.Fatalf("no quota %s", id)
	panic("unreachable")
}

// warned waits for the warning of a quota and returns its text.
func (h *house) warned(id string) string {
	h.tb.Helper()
	text := ""
	eventually(h.tb, "a warning about "+id, func() bool {
		for _, w := range h.health.Warnings() {
			if w.Code == "aws-quota-"+id {
				text = w.Text
			}
		}
		return text != ""
	})
	return text
}

// acks reads n PUBACKs and returns their codes.
func (d *device) acks(n int) (codes []byte) {
	d.tb.Helper()
	for range n {
		codes = append(codes, d.expect(packets.Puback).ReasonCode)
	}
	return codes
}

// TestB90_AboveAHundredPublishesASecond: what is above is discarded; v5 QoS 1
// is told 0x97 (B91), 3.1.1 hears nothing; a second later there is room again
// (Q06).
func TestB90_AboveAHundredPublishesASecond(t *testing.T) {
	each(t, func(t *testing.T, version byte) {
		h, clock := openPaced(t, nil, paced(profileAWS))
		d := h.join(version, "d")
		for id := uint16(1); id <= 103; id++ {
			d.send(publish(id, "t", "x"))
			if id <= 100 && d.acks(1)[0] != 0 {
				t.Fatalf("PUBLISH %d is refused", id)
			}
		}
		if version == 5 {
			if codes := d.acks(3); string(codes) != "\x97\x97\x97" {
				t.Errorf("PUBACKs %x", codes)
			}
		}
		d.send(publish(0, "t", "x"))
		d.expectNothing()
		if got := h.count("Q06"); got.Enforced != 4 || got.Warned != 0 {
			t.Errorf("%+v", got)
		}
		if n := len(h.walk.topics()); n != 100 {
			t.Errorf("the walk took %d", n)
		}
		clock.advance(time.Second)
		d.send(publish(200, "t", "x"))
		if d.acks(1)[0] != 0 {
			t.Error("there is no room a second later")
		}
	})
}

// TestEdgeKeepsWhatAWSThrowsAway: in aws-edge all pass, with a count and a
// warning that says what AWS would have done, and where.
func TestEdgeKeepsWhatAWSThrowsAway(t *testing.T) {
	each(t, func(t *testing.T, version byte) {
		h, clock := openPaced(t, nil, paced(profileAWSEdge))
		d := h.join(version, "sensor")
		for id := uint16(1); id <= 150; id++ {
			d.send(publish(id, "t", "x"))
			if d.acks(1)[0] != 0 {
				t.Fatalf("PUBLISH %d is refused", id)
			}
		}
		if got := h.count("Q06"); got.Warned != 50 || got.Enforced != 0 {
			t.Errorf("%+v", got)
		}
		text := h.warned("Q06")
		for _, want := range []string{"would have discarded 50 PUBLISHes", "100 PUBLISHes a second of one connection", "Q06, listeners[].quotas.publishes_per_second", "client sensor on listener lan", "topic t"} {
			if !strings.Contains(text, want) {
				t.Errorf("%q lacks %q", text, want)
			}
		}
		clock.advance(quotaWarningFor + time.Minute)
		eventually(t, "the warning goes", func() bool { return len(h.health.Warnings()) == 0 })
	})
}

// TestPublishBucket: both directions share the quota, or have one each.
func TestPublishBucket(t *testing.T) {
	for bucket, above := range map[string]int64{bucketOne: 20, bucketTwo: 0} {
		t.Run(bucket, func(t *testing.T) {
			o := paced(profileAWSEdge)
			o.Quotas.PublishBucket = bucket
			h, _ := openPaced(t, nil, o)
			d := h.join(5, "d")
			d.subscribe(0, "t")
			for id := uint16(1); id <= 60; id++ { // sent, and received
				d.send(publish(id, "t", "x"))
				d.acks(1)
				d.expect(packets.Publish)
			}
			if got := h.count("Q06").Warned; got != above {
				t.Errorf("%d were above, want %d", got, above)
			}
		})
	}
}

// TestDeliveriesAboveTheQuota are discarded in profile aws (Q06 outbound, Q21).
func TestDeliveriesAboveTheQuota(t *testing.T) {
	for id, account := range map[string]func(*AccountQuotas){"Q06": nil, "Q21": func(q *AccountQuotas) { q.PublishesOutPerSecond = 100 }} {
		t.Run(id, func(t *testing.T) {
			o := paced(profileAWS)
			if id == "Q21" {
				o.Quotas.PublishesPerSecond = 1000
			}
			h, _ := openPaced(t, account, o)
			one, two, sub := h.join(4, "one"), h.join(4, "two"), h.join(5, "sub")
			sub.subscribe(0, "t")
			for i := range uint16(60) {
				for _, d := range []*device{one, two} {
					d.send(publish(i+1, "t", "x"))
					d.acks(1)
				}
			}
			for range 100 {
				sub.expect(packets.Publish)
			}
			eventually(t, "all are fanned out", func() bool { return h.count(id).Enforced == 20 })
			sub.expectNothing()
			if n := h.dropped("delivery-rate"); n != 20 {
				t.Errorf("%d are counted as dropped", n)
			}
		})
	}
}

// TestAccountPublishes: Q20 is over all connections of all listeners but those
// of profile mqtt.
func TestAccountPublishes(t *testing.T) {
	edge, plain := paced(profileAWSEdge), paced(profileMQTT)
	edge.Name, plain.Name = "edge", "mqtt"
	h, _ := openPaced(t, func(q *AccountQuotas) { q.PublishesInPerSecond = 3 }, paced(profileAWS), edge, plain)
	at := func(i int) *device {
		d := dial(t, h.listeners[i].addr().String(), 5)
		d.connect(fmt.Sprint("d", i))
		return d
	}
	aws, warns, free := at(0), at(1), at(2)
	send := func(d *device) byte {
		d.send(publish(1, "t", "x"))
		return d.acks(1)[0]
	}
	for i, d := range []*device{free, free, free, free, aws, warns, aws} {
		if code := send(d); code != 0 {
			t.Fatalf("PUBLISH %d: %#x", i, code)
		}
	}
	if code := send(aws); code != 0x97 {
		t.Errorf("profile aws above the account's quota: %#x", code)
	}
	if code := send(warns); code != 0 {
		t.Errorf("profile aws-edge above it: %#x", code)
	}
	if code := send(free); code != 0 {
		t.Errorf("profile mqtt: %#x", code)
	}
	if got := h.count("Q20"); got.Enforced != 1 || got.Warned != 1 {
		t.Errorf("%+v", got)
	}
}
