package bridge_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ebbgate/ebbgate/bridge"
)

// sinceUp is a cloud that knows since when its link is up.
type sinceUp struct {
	*cloud
	up atomic.Pointer[time.Time]
}

func (c *sinceUp) Connect(ctx context.Context) (bridge.Link, error) {
	now := time.Now()
	c.up.Store(&now)
	return c.cloud.Connect(ctx)
}

// What follows a poison of a device goes alone, and after what others have: never beside
// another, and not as soon as the link is up. So fewer hang-ups tell what it is. When
// one is taken the others of the device go with all.
func TestWhatFollowsAPoisonGoesAlone(t *testing.T) { inNoTime(testWhatFollowsAPoisonGoesAlone)(t) }

func testWhatFollowsAPoisonGoesAlone(t *testing.T) {
	s := openUnsynced(t)
	const poisons, good = 3, 30
	for i := range poisons {
		put(t, s, normal, "buggy", fmt.Sprint("poison", i))
	}
	putMany(t, s, normal, good, func(int) string { return "buggy" })
	var mu sync.Mutex
	hangs, came := map[string]int{}, map[string]time.Time{}
	c := &sinceUp{cloud: &cloud{window: 50, after: 300 * time.Millisecond, flying: new(atomic.Int64)}}
	c.hangUp = func(d *bridge.Delivery) bool {
		if d.Device != "buggy" {
			return false
		}
		mu.Lock()
		defer mu.Unlock()
		p := string(d.Payload)
		if (p > "poison0" || p == "0") && hangs[p] == 0 {
			if n, up := c.flying.Load(), time.Since(*c.up.Load()); n > 0 || up < 2*time.Second {
				t.Errorf("%s goes beside %d others, the link is up for %v", p, n, up)
			}
		}
		if came[p] = time.Now(); isPoison(d) {
			hangs[p]++
			return true
		}
		return false
	}
	f, end := start(t, bridge.ForwarderConfig{Upstream: "cloud", Queues: []bridge.QueueRef{{Name: normal}}}, s, []bridge.Sender{c})
	p := &supply{t: t, s: s, c: c.cloud}
	await(t, func() string { return fmt.Sprintf("%+v, %+v", f.Stats(), s.Depth(normal)) }, func() bool {
		p.next(normal)
		mu.Lock()
		defer mu.Unlock()
		return s.Ledger(normal).Moved == poisons && len(came) == poisons+good
	})
	end()
	if first, second := hangs["poison0"], hangs["poison1"]; second >= first {
		t.Errorf("%d hang-ups for the first, and %d for the second", first, second)
	}
	if d := came[fmt.Sprint(good-1)].Sub(came["0"]); d > time.Second {
		t.Errorf("%d messages took %v after the first of them was taken", good, d)
	}
}

// Who rests does so to the end, though the link is cut meanwhile.
func TestACutEndsNoRest(t *testing.T) { inNoTime(testACutEndsNoRest)(t) }

func testACutEndsNoRest(t *testing.T) {
	s, h := openUnsynced(t), new(bridge.Health)
	var hangs atomic.Int64
	c := &cloud{window: 10, hangUp: func(d *bridge.Delivery) bool {
		if d.Device == "buggy" {
			hangs.Add(1)
		}
		return d.Device == "buggy"
	}}
	putMany(t, s, normal, 10, func(int) string { return "buggy" })
	f, end := startWith(t, bridge.ForwarderConfig{Upstream: "cloud", Queues: []bridge.QueueRef{{Name: normal}}}, s, []bridge.Sender{c}, h)
	p := &supply{t: t, s: s, c: c}
	state := func() string { return fmt.Sprintf("%+v, %+v, %d hang-ups", f.Stats(), s.Depth(normal), hangs.Load()) }
	await(t, state, func() bool { p.next(normal); return warned(h, "rests-cloud") })
	p.last = time.Now().Add(time.Hour) // the others have said all
	tried, begun := hangs.Load(), time.Now()
	c.mu.Lock()
	c.link.end(errors.New("cut"))
	c.mu.Unlock()
	await(t, state, func() bool { p.next(normal); return hangs.Load() > tried })
	if d := time.Since(begun); d < 29*time.Second { // of 30: it was looked at a moment later
		t.Errorf("it rests %v", d)
	}
	end()
}

// Others are read past who rests as far as they may be, and then some of it makes way,
// its oldest, and not all.
func TestWhoRestsMakesWay(t *testing.T) { inNoTime(testWhoRestsMakesWay)(t) }

func testWhoRestsMakesWay(t *testing.T) {
	s := openUnsynced(t)
	const all, every = 12_000, 10
	putMany(t, s, normal, all, func(i int) string {
		if i%every == 0 {
			return "buggy"
		}
		return fmt.Sprint("d", i%7)
	})
	c := &cloud{window: 100, hangUp: func(d *bridge.Delivery) bool { return d.Device == "buggy" }}
	f, end := start(t, bridge.ForwarderConfig{Upstream: "cloud", Queues: []bridge.QueueRef{{Name: normal}}}, s, []bridge.Sender{c})
	await(t, func() string { return fmt.Sprintf("%+v, %+v", f.Stats(), s.Ledger(normal)) }, func() bool {
		return s.Ledger(normal).Delivered == all-all/every
	})
	end()
	dead := content(t, s, bridge.DeadQueue(normal))
	if least := (all - 10_000) / every; len(dead) < least || len(dead) > 2*least || s.Depth(normal).Records != int64(all/every-len(dead)) {
		t.Errorf("%d dead letters, %+v", len(dead), s.Ledger(normal))
	}
	for i, p := range dead {
		if p != fmt.Sprint(every*i) {
			t.Fatalf("dead letter %d is message %s", i, p)
		}
	}
}

// A receiver that hangs up when too many are on their way at once gets them one by one
// when that is found out, and nothing becomes a dead letter.
func TestTooManyAtOnce(t *testing.T) {
	t.Parallel()
	for _, how := range []error{bridge.ErrClosedByPeer, bridge.ErrPushedBack} {
		t.Run(how.Error(), inNoTime(func(t *testing.T) {
			s := openUnsynced(t)
			const all, bears = 300, 3
			putMany(t, s, normal, all, func(i int) string { return fmt.Sprint("d", i%7) })
			var flying, hangs atomic.Int64
			c := &cloud{window: 30, after: 50 * time.Millisecond, how: how, flying: &flying}
			c.hangUp = func(*bridge.Delivery) bool {
				if flying.Load() < bears {
					return false
				}
				hangs.Add(1)
				return true
			}
			f, end := start(t, bridge.ForwarderConfig{Upstream: "cloud", Queues: []bridge.QueueRef{{Name: normal}}}, s, []bridge.Sender{c})
			await(t, func() string { return fmt.Sprintf("%+v, %+v, %d hang-ups", f.Stats(), s.Ledger(normal), hangs.Load()) }, empty(s, normal))
			end()
			if l := s.Ledger(normal); l.Delivered != all || l.Moved != 0 {
				t.Errorf("%+v after %d hang-ups", l, hangs.Load())
			}
			t.Logf("%d hang-ups", hangs.Load())
		}))
	}
}
