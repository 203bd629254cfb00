package scenario

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/ebbgate/ebbgate/internal/tally"
)

// trouble is what a recorder does to the gateway.
type trouble struct {
	kind string
	rate int // messages a second of one connection that are taken
}

// The kinds of trouble.
const (
	none      = ""
	linkDown  = "down"
	blackHole = "black hole"
	farAway   = "far away, and lossy"
	refusing  = "refuses"
	ackless   = "hangs before PUBACK"
	throttles = "throttles with 0x97"
	discards  = "discards in silence"
	closes    = "hangs up on bursts"
)

// make makes the trouble. Connections that are open end when the link is down.
func (r *recorder) make(x trouble) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.healed != nil {
		close(r.healed)
		r.healed = nil
	}
	if r.trouble = x; x.kind == blackHole {
		r.healed = make(chan struct{})
	}
	if x.kind == linkDown {
		for c := range r.conns {
			_ = c.Close()
		}
	}
}

// swallowed waits while nothing crosses, and reports whether the recorder ended
// meanwhile.
func (c *crossing) swallowed() bool {
	c.recorder.mu.Lock()
	healed := c.healed
	c.recorder.mu.Unlock()
	if healed == nil {
		return false
	}
	select {
	case <-healed:
		return false
	case <-c.ended:
		return true
	}
}

// holdBack is how long a packet takes: 600 ms and now and then the time of a
// segment that is sent again, when the cloud is far away.
func (c *crossing) holdBack() time.Duration {
	c.recorder.mu.Lock()
	defer c.recorder.mu.Unlock()
	if c.trouble.kind != farAway {
		return rand.N(c.delay + 1)
	}
	if rand.IntN(50) == 0 {
		return 1500 * time.Millisecond
	}
	return 600 * time.Millisecond
}

// admits answers a CONNECT when the cloud refuses: 0x88, server unavailable.
func (c *crossing) admits() bool {
	if c.trouble.kind != refusing {
		return true
	}
	_, _ = c.in.Write([]byte{0x20, 3, 0, 0x88, 0})
	_ = c.in.Close()
	return false
}

// takes reports whether a PUBLISH is passed on, and answers one that is not.
func (c *crossing) takes(id uint16, now time.Time) bool {
	if c.trouble.rate == 0 {
		return true
	}
	for len(c.second) > 0 && now.Sub(c.second[0]) >= time.Second {
		c.second = c.second[1:]
	}
	if len(c.second) < c.trouble.rate {
		c.second = append(c.second, now)
		return true
	}
	switch c.trouble.kind {
	case throttles:
		c.mu.Lock()
		_, _ = c.in.Write([]byte{0x40, 4, byte(id >> 8), byte(id), 0x97, 0})
		c.mu.Unlock()
	case closes:
		_ = c.in.Close()
	}
	return false
}

// TestTroubledCloud is a week of bad luck, one kind at a time. While it lasts
// devices publish; nothing is lost, each device stays in order, and the CONNECTs
// are as few as the floor allows.
func TestTroubledCloud(t *testing.T) {
	const connections, floor = 3, time.Second
	for _, x := range []trouble{
		{kind: linkDown}, {kind: blackHole}, {kind: farAway}, {kind: refusing}, {kind: ackless},
		{throttles, 20}, {discards, 20}, {closes, 20},
	} {
		t.Run(x.kind, func(t *testing.T) {
			t.Parallel()
			r := record(t, sandboxed(t), 0, 0)
			g := newGateway(t, site{Endpoint: "mqtt://" + r.Addr, Set: []string{
				fmt.Sprintf("upstreams.cloud.connections=%d", connections),
				"upstreams.cloud.limits.messages_per_second=95",
				"upstreams.cloud.backoff.base=500ms", "upstreams.cloud.backoff.max=2s", "upstreams.cloud.backoff.floor=1s",
				"upstreams.cloud.ack_timeout=2s", "upstreams.cloud.keep_alive=4s", "upstreams.cloud.connect_timeout=2s",
			}})
			began := time.Now()
			g.start()
			f := &fleet{devices: 12, messages: scaled(2000, 100), window: 10, size: 100}
			f.start(t, g.Listen)
			lasts := scaled(10*time.Minute, 8*time.Second)
			if x.kind == linkDown { // it flaps: up 3 s, down 5 s
				for time.Since(began) < lasts {
					r.hold(x, 5*time.Second)
					r.hold(trouble{}, 3*time.Second)
				}
			} else {
				r.hold(x, lasts)
			}
			r.make(trouble{kind: none})
			if !f.wait(5 * time.Minute) {
				t.Errorf("only %d messages were taken", f.acked.Len())
			}
			if !until(5*time.Minute, func() bool { return tally.Compare(&f.acked, &r.arrived).Lost == 0 }) {
				t.Errorf("not all arrived: %+v", tally.Compare(&f.acked, &r.arrived))
			}
			elapsed := time.Since(began)
			if code := g.stop(); code != 0 {
				t.Errorf("exit code %d", code)
			}
			r.mu.Lock()
			defer r.mu.Unlock()
			t.Logf("%d messages in %v, %d transmissions; %d CONNECTs, %d in the busiest minute; answers %v",
				f.acked.Len(), elapsed.Round(time.Second), r.times, len(r.connects), busiest(r.connects, time.Minute), r.answers)
			if most := connections * (int(elapsed/floor) + 1); r.attempts > most {
				t.Errorf("%d connections were asked for, at most %d with a floor of %v", r.attempts, most, floor)
			}
			if r.late > 0 {
				t.Errorf("%d messages were sent for the first time after a later one of their device", r.late)
			}
		})
	}
}

// hold makes a trouble and lets it last.
func (r *recorder) hold(x trouble, lasts time.Duration) {
	r.make(x)
	timer := time.NewTimer(lasts)
	defer timer.Stop()
	<-timer.C
}
