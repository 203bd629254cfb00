package scenario

import (
	"encoding/json"
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
	expired   = "expires credentials"
	poisoned  = "hangs up on one message"
	ackless   = "hangs before PUBACK"
	throttles = "throttles with 0x97"
	discards  = "discards in silence"
	closes    = "hangs up on bursts"
)

// poisonous is the message, of the fleet's first device, that a poisoned cloud
// never takes.
const poisonous = 7

// make makes the trouble. Connections that are open end where the link is down,
// and where the cloud would not have let them in.
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
	if x.kind == linkDown || x.kind == refusing || x.kind == expired {
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

// admits answers a CONNECT when the cloud refuses: with 0x88, server unavailable,
// or with 0x87, not authorized.
func (c *crossing) admits() bool {
	code := byte(0)
	switch c.trouble.kind {
	case refusing:
		code = 0x88
	case expired:
		code = 0x87
	default:
		return true
	}
	_, _ = c.in.Write([]byte{0x20, 3, 0, code, 0})
	_ = c.in.Close()
	return false
}

// takes reports whether a PUBLISH is passed on, and answers one that is not.
func (c *crossing) takes(id uint16, m sentMessage, now time.Time) bool {
	if c.trouble.kind == poisoned && m.number == poisonous && m.device == "device-01" {
		_ = c.in.Close()
		return false
	}
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

// U3. TestTroubledCloud is a week of bad luck, one kind at a time. While it lasts
// devices publish. Nothing is lost, each device stays in order, and in no minute
// are there more attempts to connect than the floor of each client id allows.
func TestTroubledCloud(t *testing.T) {
	t.Parallel()
	for _, x := range []trouble{
		{kind: linkDown}, {kind: blackHole}, {kind: farAway}, {kind: refusing}, {kind: expired}, {kind: poisoned}, {kind: ackless},
		{throttles, 20}, {discards, 20}, {closes, 20},
	} {
		t.Run(x.kind, func(t *testing.T) {
			t.Parallel()
			outlast(t, x)
		})
	}
}

// outlast runs a gateway through one kind of trouble.
func outlast(t *testing.T, x trouble) {
	const connections, floor = 3, time.Second
	r := record(t, sandboxed(t), 0, 0)
	g := newGateway(t, site{Endpoint: "mqtt://" + r.Addr, Set: []string{
		fmt.Sprintf("upstreams.cloud.connections=%d", connections),
		"upstreams.cloud.limits.messages_per_second=95",
		"upstreams.cloud.backoff.base=500ms", "upstreams.cloud.backoff.max=2s", "upstreams.cloud.backoff.floor=1s",
		"upstreams.cloud.ack_timeout=2s", "upstreams.cloud.keep_alive=4s", "upstreams.cloud.connect_timeout=2s",
	}})
	began := time.Now()
	g.start()
	lasts := scaled(10*time.Minute, 8*time.Second)
	f := &fleet{devices: 12, messages: scaled(1500, 100), window: 10, size: 100, every: scaled(400*time.Millisecond, 0)}
	if x.rate > 0 { // there is a backlog all the while
		f.messages, f.every = scaled(4000, 100), 0
	}
	f.start(t, g.Listen)
	if x.kind == linkDown { // it flaps
		for time.Since(began) < lasts {
			r.hold(x, 5*time.Second)
			r.hold(trouble{}, 3*time.Second)
		}
	} else {
		r.hold(x, lasts)
	}
	if all := connections * x.rate * int(time.Since(began)/time.Second); all > 0 {
		share := 100 * float64(r.arrived.Len()) / float64(all)
		t.Logf("of what the cloud takes meanwhile %.0f %% are used", share)
		if x.kind == throttles && soak() && share < 80 {
			t.Errorf("%.0f %% of what the cloud takes are used", share)
		}
	}
	if x.kind != poisoned { // a poison stays one
		r.make(trouble{})
	}
	if !f.wait(scaled(20*time.Minute, 5*time.Minute)) {
		t.Errorf("only %d messages were taken", f.acked.Len())
	}
	dead := int64(0)
	if x.kind == poisoned {
		dead = 1
	}
	if !until(5*time.Minute, func() bool { return tally.Compare(&f.acked, &r.arrived).Lost == dead && g.dead(t) == dead }) {
		t.Errorf("not all arrived: %+v, and %d dead letters", tally.Compare(&f.acked, &r.arrived), g.dead(t))
	}
	elapsed := time.Since(began)
	if code := g.stop(); code != 0 {
		t.Errorf("exit code %d", code)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	most := busiest(r.attempts, time.Minute)
	t.Logf("%d messages in %v, %d transmissions; %d attempts to connect, %d in the busiest minute; answers %v",
		f.acked.Len(), elapsed.Round(time.Second), r.times, len(r.attempts), most, r.answers)
	if bound := connections * (int(min(elapsed, time.Minute)/floor) + 1); most > bound {
		t.Errorf("%d attempts to connect within a minute, at most %d with a floor of %v", most, bound, floor)
	}
	if r.late > 0 {
		t.Errorf("%d messages were sent for the first time after a later one of their device", r.late)
	}
}

// dead is how many dead letters the gateway says there are.
func (g *gateway) dead(t *testing.T) int64 {
	t.Helper()
	_, body, err := g.get("/api/v1/status")
	var s struct {
		Upstreams []struct {
			Dead int64 `json:"dead_letters"`
		} `json:"upstreams"`
	}
	if err == nil {
		err = json.Unmarshal([]byte(body), &s)
	}
	if err != nil || len(s.Upstreams) != 1 {
		t.Fatalf("the status %q: %v", body, err)
	}
	return s.Upstreams[0].Dead
}

// hold makes a trouble and lets it last.
func (r *recorder) hold(x trouble, lasts time.Duration) {
	r.make(x)
	timer := time.NewTimer(lasts)
	defer timer.Stop()
	<-timer.C
}
