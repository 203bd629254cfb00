package localbroker

import (
	"strings"
	"testing"
	"time"

	"github.com/mochi-mqtt/server/v2/packets"
)

// TestB155_RetainedRate: PUBLISHes with RETAIN above 500 a second of the
// account or one a second of a topic are discarded (Q28, Q29); aws-edge keeps
// them.
func TestB155_RetainedRate(t *testing.T) {
	for _, tt := range []struct {
		quota, second string
		account       func(*AccountQuotas)
	}{
		{"Q28", "b", func(q *AccountQuotas) { q.RetainedPerSecond = 1 }},
		{"Q29", "a", nil},
	} {
		t.Run(tt.quota, func(t *testing.T) {
			edge := paced(profileAWSEdge)
			edge.Name = "edge"
			h, clock := openPaced(t, tt.account, paced(profileAWS), edge)
			d := h.join(5, "d")
			send := func(d *device, topic string) byte {
				d.send(publish(1, topic, "x", retain))
				return d.acks(1)[0]
			}
			if code := send(d, "a"); code != 0 {
				t.Fatalf("the first: %#x", code)
			}
			if code := send(d, tt.second); code != 0x97 {
				t.Errorf("above the quota: %#x", code)
			}
			old := h.join(4, "old")
			old.send(publish(1, tt.second, "y", retain))
			old.expectNothing()
			other := dial(t, h.listeners[1].addr().String(), 5)
			other.connect("other")
			if code := send(other, tt.second); code != 0 {
				t.Errorf("aws-edge: %#x", code)
			}
			if got := h.count(tt.quota); got.Enforced != 2 || got.Warned != 1 {
				t.Errorf("%+v", got)
			}
			clock.advance(time.Second)
			if code := send(d, tt.second); code != 0 {
				t.Errorf("a second later: %#x", code)
			}
		})
	}
}

// TestRetainedQuota: AWS's number of retained messages holds beside our own
// bound (B154, Q27), unless all listeners are plain MQTT.
func TestRetainedQuota(t *testing.T) {
	for profile, want := range map[string]byte{profileAWS: 0x97, profileAWSEdge: 0x97, profileMQTT: 0} {
		t.Run(profile, func(t *testing.T) {
			h, _ := openPaced(t, func(q *AccountQuotas) { q.RetainedMessages = 1 }, paced(profile))
			d := h.join(5, "d")
			d.send(publish(1, "a", "x", retain))
			if code := d.acks(1)[0]; code != 0 {
				t.Errorf("the first: PUBACK %#x", code)
			}
			d.send(publish(2, "b", "x", retain))
			if code := d.acks(1)[0]; code != want {
				t.Errorf("the second: PUBACK %#x, want %#x", code, want)
			}
		})
	}
}

// TestQueuedRate: what is stored for absent sessions counts against Q23 and
// what it would be above is not stored in profile aws; aws-edge stores it.
func TestQueuedRate(t *testing.T) {
	for profile, arrive := range map[string]int{profileAWS: 2, profileAWSEdge: 5} {
		t.Run(profile, func(t *testing.T) {
			h, clock := openPaced(t, func(q *AccountQuotas) { q.QueuedPerSecond = 2 }, paced(profile))
			away := h.join(5, "away", persistent(600))
			away.subscribe(1, "t")
			h.leave(away, "away")
			d := h.join(5, "d")
			for id := uint16(1); id <= 5; id++ {
				d.send(publish(id, "t", "x"))
				d.acks(1)
			}
			var got QuotaCount
			eventually(t, "three are above it", func() bool { // fanned out after their PUBACK
				got = h.count("Q23")
				return got.Enforced+got.Warned == 3
			})
			if (got.Enforced > 0) != (profile == profileAWS) {
				t.Errorf("%+v", got)
			}
			if n := h.dropped("queued-rate"); n != got.Enforced {
				t.Errorf("%d are counted as dropped", n)
			}
			clock.advance(time.Second)
			away = h.join(5, "away", persistent(600))
			for range arrive {
				away.take()
				clock.advance(time.Second) // replayed at a pace of its own (Q25)
			}
			away.expectNothing()
		})
	}
}

// TestReplayWait is what the replay of stored messages asks: how long the next
// one has to wait (Q25, Q26).
func TestReplayWait(t *testing.T) {
	for profile, wait := range map[string]time.Duration{profileAWS: 100 * time.Millisecond, profileAWSEdge: 0, profileMQTT: 0} {
		t.Run(profile, func(t *testing.T) {
			h, clock := openPaced(t, nil, paced(profile))
			h.join(5, "d")
			s := h.sessions.find("d")
			ask := func(group bool) time.Duration {
				s.mu.Lock()
				defer s.mu.Unlock()
				return s.replayWaitLocked(group)
			}
			if first, second := ask(false), ask(false); first != 0 || second != wait {
				t.Errorf("the first waits %v, the second %v", first, second)
			}
			if first, second := ask(true), ask(true); first != 0 || second != wait/2 {
				t.Errorf("of a group: the first waits %v, the second %v", first, second)
			}
			clock.advance(wait)
			if third := ask(false); third != 0 {
				t.Errorf("after that wait: %v", third)
			}
		})
	}
}

// TestResumingDoesNotFillTheBucket: who reconnects within a second has what is
// left of the quota.
func TestResumingDoesNotFillTheBucket(t *testing.T) {
	h, _ := openPaced(t, func(q *AccountQuotas) { q.ConnectsPerClientID = 10 }, paced(profileAWS))
	for round := range 2 {
		d := h.join(5, "d", persistent(600))
		for id := uint16(1); id <= 60; id++ {
			d.send(publish(id, "t", "x"))
		}
		codes := strings.Count(string(d.acks(60)), "\x97")
		if want := []int{0, 20}[round]; codes != want {
			t.Errorf("round %d: %d are refused, want %d", round, codes, want)
		}
		h.leave(d, "d")
	}
}

// TestB92_BytesASecond: what is above 512 KB/s waits (Q07). Nothing is lost, a
// PINGREQ behind it is answered, and what waited is counted; aws-edge only
// counts.
func TestB92_BytesASecond(t *testing.T) {
	for _, profile := range []string{profileAWS, profileAWSEdge} {
		t.Run(profile, func(t *testing.T) {
			o := paced(profile)
			o.Quotas.BytesPerSecond = 256 << 10
			h := open(t, people{}, o)
			d := h.join(5, "d")
			body := strings.Repeat("x", 60<<10)
			for id := uint16(1); id <= 6; id++ {
				d.send(publish(id, "t", body))
			}
			d.send(packets.Packet{FixedHeader: packets.FixedHeader{Type: packets.Pingreq}})
			if codes := d.acks(6); string(codes) != "\x00\x00\x00\x00\x00\x00" {
				t.Errorf("PUBACKs %x", codes)
			}
			d.expect(packets.Pingresp)
			got := h.count("Q07")
			if got.Enforced+got.Warned == 0 || (got.Enforced > 0) != (profile == profileAWS) {
				t.Errorf("%+v", got)
			}
		})
	}
}

// TestThrottle is its arithmetic: a second's bytes at once, then as many a
// second, in both directions together (Q07); our own bound holds in every
// profile.
func TestThrottle(t *testing.T) {
	now := time.Now()
	b := &Broker{quotas: newQuotas(DefaultAccountQuotas(), func() time.Time { return now }), now: func() time.Time { return now }}
	throttled := func(change func(*ListenerOptions), profile string) *throttle {
		o := paced(profile)
		change(&o)
		c := &client{broker: b, listener: &listener{name: "lan"}, profile: profileOf(o), settings: &settings{ListenerOptions: o}}
		th := newThrottle(c)
		return &th
	}
	aws := throttled(func(*ListenerOptions) {}, profileAWS)
	if got := aws.charge(512<<10, now); got != 0 {
		t.Errorf("512 KiB wait %v", got)
	}
	if got := aws.charge(16<<10, now); got != time.Second/32 {
		t.Errorf("16 KiB more wait %v", got)
	}
	if got := aws.charge(16<<10, now.Add(time.Second)); got != 0 {
		t.Errorf("a second later they wait %v", got)
	}
	if got := throttled(func(*ListenerOptions) {}, profileMQTT).charge(1<<30, now); got != 0 {
		t.Errorf("profile mqtt waits %v", got)
	}
	own := throttled(func(o *ListenerOptions) { o.Limits.BytesPerSec = 64 << 10 }, profileMQTT)
	done := make(chan struct{})
	close(done)
	if waited := own.read(64<<10, done); waited {
		t.Error("a second's bytes wait")
	}
	if waited := own.read(1<<10, done); !waited {
		t.Error("what is above limits.bytes_per_second does not wait")
	}
	if n := len(own.part(make([]byte, 1<<20))); n != throttlePart {
		t.Errorf("%d bytes are read at once", n)
	}
}
