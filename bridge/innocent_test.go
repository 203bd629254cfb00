package bridge_test

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ebbgate/ebbgate/bridge"
)

// One device several of whose messages were on the way when the receiver hung up stands
// aside for all of them, so that the others go first, though they are doubted, too.
func TestADeviceOfManySuspectsStandsAside(t *testing.T) {
	inNoTime(func(t *testing.T) {
		s := openUnsynced(t)
		const devices, all = 20, 2000
		putMany(t, s, normal, all, func(i int) string { return fmt.Sprint("d", i%devices) })
		c := &cloud{window: 100, after: 50 * time.Millisecond}
		most := 0
		c.hangUp = func(d *bridge.Delivery) bool { // in a moment: more is on its way by then
			if d.Device == "d7" {
				most = max(most, d.Attempt)
				c.mu.Lock()
				defer c.mu.Unlock()
				l := c.link
				time.AfterFunc(20*time.Millisecond, func() { l.end(bridge.ErrClosedByPeer) })
			}
			return false
		}
		f, end := start(t, bridge.ForwarderConfig{Upstream: "cloud", Queues: []bridge.QueueRef{{Name: normal}}}, s, []bridge.Sender{c})
		begun := time.Now()
		await(t, func() string { return fmt.Sprintf("%+v, %+v", f.Stats(), s.Ledger(normal)) }, func() bool {
			return s.Ledger(normal).Delivered == all-all/devices
		})
		end()
		if took := time.Since(begun); took > time.Minute {
			t.Errorf("the others took %v", took)
		}
		if most < 3 { // the sender knows by that what is no throttling
			t.Errorf("the %dth transmission was the last of one", most)
		}
	})(t)
}

// A device whose messages are refused for good, one after the other, rests after
// twenty. The others go on, and no route is paused.
func TestADeviceThatIsAlwaysRefusedRests(t *testing.T) {
	inNoTime(func(t *testing.T) {
		s, h := openUnsynced(t), new(bridge.Health)
		const bad, devices = 60, 10
		putMany(t, s, normal, bad, func(int) string { return "buggy" })
		c := &cloud{window: 100, after: 30 * time.Millisecond, answer: func(d *bridge.Delivery) bridge.Outcome {
			if d.Device == "buggy" {
				return bridge.Outcome{Result: bridge.ResultRefused, Code: 0x99, Reason: "payload format invalid"}
			}
			return bridge.Outcome{Result: bridge.ResultAcked}
		}}
		f, end := startWith(t, bridge.ForwarderConfig{Upstream: "cloud", Queues: []bridge.QueueRef{{Name: normal}}}, s, []bridge.Sender{c}, h)
		state := func() string { return fmt.Sprintf("%+v, %+v", f.Stats(), s.Ledger(normal)) }
		await(t, state, func() bool { return warned(h, "rests-cloud") })
		begun := time.Now()
		putMany(t, s, normal, devices*10, func(i int) string { return fmt.Sprint("d", i%devices) })
		await(t, state, func() bool { return s.Ledger(normal).Delivered == devices*10 })
		if took := time.Since(begun); took > 5*time.Second {
			t.Errorf("the others took %v", took)
		}
		if l := s.Ledger(normal); l.Moved != 20 || warned(h, "route-paused-"+normal) {
			t.Errorf("%+v, %+v", l, h.Warnings())
		}
		await(t, state, func() bool { return s.Ledger(normal).Moved == 22 })
		if took := time.Since(begun); took < 85*time.Second { // 30 s and 1 min
			t.Errorf("two more were tried in %v", took)
		}
		end()
	})(t)
}

// A receiver that ends each link with a word about the message on it, whatever it is,
// makes a few dead letters and no more.
func TestRefusingEverythingByTheEndOfTheConnection(t *testing.T) {
	inNoTime(func(t *testing.T) {
		s := openUnsynced(t)
		const devices, all, most = 20, 400, 5
		putMany(t, s, normal, all, func(i int) string { return fmt.Sprint("d", i%devices) })
		var hangs atomic.Int64
		well := time.Now().Add(3 * time.Minute)
		c := &cloud{window: 50, how: bridge.ErrRefused, hangUp: func(*bridge.Delivery) bool {
			hangs.Add(1)
			return time.Now().Before(well)
		}}
		f, end := start(t, bridge.ForwarderConfig{Upstream: "cloud", Queues: []bridge.QueueRef{{Name: normal}}}, s, []bridge.Sender{c})
		await(t, func() string { return fmt.Sprintf("%+v, %+v", f.Stats(), s.Ledger(normal)) }, empty(s, normal))
		end()
		if l := s.Ledger(normal); l.Moved > most || hangs.Load() < 50 {
			t.Errorf("%+v after %d hang-ups", l, hangs.Load())
		}
	})(t)
}

// Links that end anyway are not held against what was on its way: a receiver that takes
// everything makes no dead letter, however short the links are.
func TestShortLinksMakeNoDeadLetters(t *testing.T) {
	for _, late := range []time.Duration{400 * time.Millisecond, 1200 * time.Millisecond} {
		t.Run(late.String(), inNoTime(func(t *testing.T) {
			s := openUnsynced(t)
			const devices, all, lives, flaps = 10, 1000, 300 * time.Millisecond, 150 * time.Second
			begun := time.Now()
			c := &cloud{window: 100, upTo: late}
			var first *cloudLink // from its first message on
			c.hangUp = func(*bridge.Delivery) bool {
				c.mu.Lock()
				defer c.mu.Unlock()
				if l := c.link; l != first && time.Since(begun) < flaps {
					first = l
					time.AfterFunc(lives, func() { l.end(bridge.ErrClosedByPeer) })
				}
				return false
			}
			f, end := start(t, bridge.ForwarderConfig{Upstream: "cloud", Queues: []bridge.QueueRef{{Name: normal}}}, s, []bridge.Sender{&slow{c}})
			n := 0
			await(t, func() string { return fmt.Sprintf("%+v, %+v", f.Stats(), s.Ledger(normal)) }, func() bool {
				for ; n < all && time.Since(begun) > time.Duration(n)*100*time.Millisecond; n++ {
					put(t, s, normal, fmt.Sprint("d", n%devices), fmt.Sprint(n))
				}
				return n == all && empty(s, normal)()
			})
			end()
			if l := s.Ledger(normal); l.Moved != 0 {
				t.Errorf("%+v", l)
			}
		}))
	}
}

// slow is a cloud to which a connection takes a while.
type slow struct{ *cloud }

func (c *slow) Connect(ctx context.Context) (bridge.Link, error) {
	select {
	case <-time.After(100 * time.Millisecond):
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	return c.cloud.Connect(ctx)
}
