package localbroker

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/mochi-mqtt/server/v2/packets"
)

// stopped is a clock that stands still until the test moves it.
type stopped struct {
	mu sync.Mutex
	at time.Time
}

func (s *stopped) now() time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.at
}

func (s *stopped) advance(d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.at = s.at.Add(d)
}

// enforcing is a house of profile aws whose quotas of pace bite, the one of
// CONNECTs aside, on a clock of the test's.
func enforcing(t *testing.T) (*house, *stopped) {
	s := &stopped{at: time.Now()}
	h := openWith(t, people{}, func(d *Deps) { d.Now = s.now }, paced(profileAWS))
	h.quotas.clients.rate = 1000
	return h, s
}

// TestReplayPace: what was stored while the device was away comes at 10 a
// second, and what comes now beside it at once (B65, Q25).
func TestReplayPace(t *testing.T) {
	each(t, func(t *testing.T, version byte) {
		h, clock := enforcing(t)
		d := h.join(version, "d", persistent(600))
		d.subscribe(1, "t")
		h.leave(d, "d")
		pub := h.join(4, "pub")
		const stored = 30
		for i := range stored {
			pub.send(publish(uint16(i+1), "t", fmt.Sprint(i)))
			pub.expect(packets.Puback)
		}
		clock.advance(time.Second) // the buckets of PUBLISHes are full again
		d = h.join(version, "d", persistent(600))
		next := 0
		replayed := func(d *device) {
			t.Helper()
			if got := string(d.take().Payload); got != fmt.Sprint(next) {
				t.Fatalf("stored message %d is %q", next, got)
			}
			next++
		}
		replayed(d)
		d.expectNothing()
		pub.send(publish(100, "t", "live"))
		if got := string(d.take().Payload); got != "live" {
			t.Fatalf("got %q beside the stored ones", got)
		}
		for range 5 {
			clock.advance(100 * time.Millisecond)
			replayed(d)
			d.expectNothing()
		}
		// What was stored before stays so over one more absence.
		h.leave(d, "d")
		d = h.join(version, "d", persistent(600))
		for next < stored {
			clock.advance(100 * time.Millisecond)
			replayed(d)
		}
		d.expectNothing()
	})
}

// TestNoPace: the other profiles replay in order, as fast as the device takes
// it, before what comes now; aws-edge counts what AWS would have delayed.
func TestNoPace(t *testing.T) {
	for _, profile := range []string{profileAWSEdge, profileMQTT} {
		h := open(t, people{}, paced(profile))
		d := h.join(4, "d", persistent(0))
		d.subscribe(1, "t")
		h.leave(d, "d")
		pub := h.join(4, "pub")
		const stored = 1000
		send := func(i int) {
			pub.send(publish(uint16(i+1), "t", fmt.Sprint(i)))
			pub.expect(packets.Puback)
		}
		for i := range stored {
			send(i)
		}
		d = h.join(4, "d", persistent(0))
		send(stored)
		for i := range stored + 1 {
			if got := string(d.take().Payload); got != fmt.Sprint(i) {
				t.Fatalf("%s: message %d is %q", profile, i, got)
			}
		}
		warned := h.quotas.counts[quotaReplay].warned.Load()
		if profile == profileAWSEdge && warned < stored*9/10 || profile == profileMQTT && warned != 0 {
			t.Errorf("%s: %d counted", profile, warned)
		}
	}
}
