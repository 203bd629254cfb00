package bridge_test

import (
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ebbgate/ebbgate/bridge"
)

// supply keeps other devices publishing, the next message when the one before it has
// arrived, ten a second at most.
type supply struct {
	t    *testing.T
	s    bridge.Spool
	c    *cloud
	n    int
	last time.Time
}

func (p *supply) next(queue string) {
	if len(p.c.payloads()) >= p.n && time.Since(p.last) >= 100*time.Millisecond {
		p.last = time.Now()
		put(p.t, p.s, queue, fmt.Sprint("d", p.n%7), fmt.Sprint("good", p.n))
		p.n++
	}
}

func warned(h *bridge.Health, code string) bool {
	return slices.ContainsFunc(h.Warnings(), func(w bridge.Warning) bool { return w.Code == code })
}

// A device that may not publish, and is hung up on for each message, rests after the
// first few: its backlog is not emptied into the dead letters, and the others go on.
// What has rested goes in order when it may.
func TestADeviceThatIsAlwaysHungUpOnRests(t *testing.T) {
	inNoTime(testADeviceThatIsAlwaysHungUpOnRests)(t)
}

func testADeviceThatIsAlwaysHungUpOnRests(t *testing.T) {
	s, h := openSpool(t), new(bridge.Health)
	var allowed atomic.Bool
	var hangs atomic.Int64
	c := &cloud{window: 10, hangUp: func(d *bridge.Delivery) bool {
		if d.Device != "buggy" || allowed.Load() {
			return false
		}
		hangs.Add(1)
		return true
	}}
	const sent = 20
	for i := range sent {
		put(t, s, normal, "buggy", fmt.Sprint("buggy", i))
	}
	f, end := startWith(t, bridge.ForwarderConfig{Upstream: "cloud", Queues: []bridge.QueueRef{{Name: normal}}}, s, []bridge.Sender{c}, h)
	p := &supply{t: t, s: s, c: c}
	state := func() string { return fmt.Sprintf("%+v, %+v, %d hang-ups", f.Stats(), s.Depth(normal), hangs.Load()) }
	await(t, state, func() bool { p.next(normal); return warned(h, "rests-cloud") })
	tried, more := hangs.Load(), len(c.payloads())+20
	await(t, state, func() bool { p.next(normal); return len(c.payloads()) >= more })
	dead := int(s.Depth(bridge.DeadQueue(normal)).Records)
	if dead > sent/2 || dead < 5 || hangs.Load() != tried {
		t.Errorf("%d dead letters; hung up on %d times, and then %d", dead, tried, hangs.Load()-tried)
	}
	allowed.Store(true)
	f.Retry()
	await(t, state, func() bool { return empty(s, normal)() && !warned(h, "rests-cloud") })
	end()
	var arrived, want []string
	for _, m := range c.payloads() {
		if strings.HasPrefix(m, "buggy") {
			arrived = append(arrived, m)
		}
	}
	for i := dead; i < sent; i++ {
		want = append(want, fmt.Sprint("buggy", i))
	}
	if !slices.Equal(arrived, want) {
		t.Errorf("arrived %q", arrived)
	}
}

// A receiver that ends the connection because its policy denies a topic (B85) bars the
// device, as one that answers so: nothing becomes a dead letter, the others go on.
func TestDeniedByTheEndOfTheConnection(t *testing.T) { inNoTime(testDeniedByTheEndOfTheConnection)(t) }

func testDeniedByTheEndOfTheConnection(t *testing.T) {
	s, h := openSpool(t), new(bridge.Health)
	var hangs atomic.Int64
	c := &cloud{window: 10, how: bridge.ErrDenied, hangUp: func(d *bridge.Delivery) bool {
		if d.Device != "denied" {
			return false
		}
		hangs.Add(1)
		return true
	}}
	for i := range 20 {
		put(t, s, normal, "denied", fmt.Sprint("denied", i))
	}
	queues := []bridge.QueueRef{{Name: normal}, {Name: alarms}}
	f, end := startWith(t, bridge.ForwarderConfig{Upstream: "cloud", Queues: queues}, s, []bridge.Sender{c}, h)
	p := &supply{t: t, s: s, c: c}
	state := func() string { return fmt.Sprintf("%+v, %+v, %d hang-ups", f.Stats(), s.Depth(normal), hangs.Load()) }
	await(t, state, func() bool { p.next(normal); return warned(h, "denied-"+normal) })
	tried, more := hangs.Load(), p.n+50
	await(t, state, func() bool { p.next(normal); return p.n >= more })
	await(t, state, func() bool { return s.Depth(normal).Records == 20 })
	end()
	if n := s.Depth(normal).Records; n != 20 || hangs.Load() != tried || tried > 6 {
		t.Errorf("%d wait, hung up on %d times, and then %d", n, tried, hangs.Load()-tried)
	}
	to := &cloud{window: 10}
	forward(t, s, to, new(noMeter), h, empty(s, normal))
	arrived := slices.DeleteFunc(to.payloads(), func(m string) bool { return strings.HasPrefix(m, "good") })
	for i, m := range arrived {
		if m != fmt.Sprint("denied", i) {
			t.Fatalf("arrived %q", arrived)
		}
	}
}

// Poisons of several devices, which are on their way together with what others send,
// become dead letters, and nothing else does; the others' messages go meanwhile. What
// is suspected goes alone.
func TestPoisonsOfSeveralDevices(t *testing.T) {
	t.Parallel()
	for _, lines := range []int{1, 4} {
		t.Run(fmt.Sprint(lines), inNoTime(func(t *testing.T) {
			s := openSpool(t)
			const devices, each = 20, 50
			poison := func(i int) bool { return i/devices == 10 && i%devices < 5 }
			var hangs atomic.Int64
			var flying atomic.Int64
			alone := map[string]int{} // how often a poison came when nothing else was on its way
			c := &cloud{window: 30, flying: &flying, hangUp: func(d *bridge.Delivery) bool {
				var i int
				if _, err := fmt.Sscan(string(d.Payload), &i); err != nil || !poison(i) {
					return false
				}
				hangs.Add(1)
				if lines == 1 && flying.Load() == 0 {
					alone[string(d.Payload)]++
				}
				return true
			}}
			f, end := start(t, bridge.ForwarderConfig{Upstream: "cloud", Queues: []bridge.QueueRef{{Name: normal}}}, s, slices.Repeat([]bridge.Sender{c}, lines))
			putMany(t, s, normal, devices*each, func(i int) string { return fmt.Sprint("d", i%devices) })
			p := &supply{t: t, s: s, c: c}
			await(t, func() string { return fmt.Sprintf("%+v, %+v, %d hang-ups", f.Stats(), s.Depth(normal), hangs.Load()) }, func() bool {
				p.next(normal)
				return s.Depth(bridge.DeadQueue(normal)).Records >= 5 && empty(s, normal)()
			})
			end()
			dead := content(t, s, bridge.DeadQueue(normal))
			for _, d := range dead {
				var i int
				if _, err := fmt.Sscan(d, &i); err != nil || !poison(i) {
					t.Errorf("%s is a dead letter", d)
				}
				if lines == 1 && alone[d] < 3 {
					t.Errorf("%s became one after it had been alone %d times", d, alone[d])
				}
			}
			if hangs.Load() > 80 {
				t.Errorf("%d hang-ups for %d poisons", hangs.Load(), len(dead))
			}
		}))
	}
}

// When most devices may not publish, and the receiver has no word for that, the others
// are found out and go.
func TestMostDevicesAreHungUpOn(t *testing.T) { inNoTime(testMostDevicesAreHungUpOn)(t) }

func testMostDevicesAreHungUpOn(t *testing.T) {
	s := openSpool(t)
	const devices, each = 30, 20
	var hangs atomic.Int64
	c := &cloud{window: 30, hangUp: func(d *bridge.Delivery) bool {
		var n int
		_, _ = fmt.Sscanf(d.Device, "d%d", &n)
		if n >= devices*5/6 {
			return false
		}
		hangs.Add(1)
		return true
	}}
	f, end := start(t, bridge.ForwarderConfig{Upstream: "cloud", Queues: []bridge.QueueRef{{Name: normal}}}, s, []bridge.Sender{c})
	putMany(t, s, normal, devices*each, func(i int) string { return fmt.Sprint("d", i%devices) })
	await(t, func() string { return fmt.Sprintf("%+v, %+v, %d hang-ups", f.Stats(), s.Depth(normal), hangs.Load()) }, func() bool {
		return len(c.payloads()) == devices/6*each
	})
	end()
	if most := int64(6 * devices); hangs.Load() > most {
		t.Errorf("%d hang-ups before all that may go had gone, want at most %d", hangs.Load(), most)
	}
}

// That a message of QoS 0 was written says nothing of the receiver: one that hangs up
// on everything for a while makes no dead letters because of them.
func TestWhatIsOnlyWrittenProvesNothing(t *testing.T) {
	inNoTime(testWhatIsOnlyWrittenProvesNothing)(t)
}

func testWhatIsOnlyWrittenProvesNothing(t *testing.T) {
	s := openSpool(t)
	var hangs atomic.Int64
	c := &cloud{window: 10, hangUp: func(*bridge.Delivery) bool { return hangs.Add(1) < 60 }}
	f, end := start(t, bridge.ForwarderConfig{Upstream: "cloud", Queues: []bridge.QueueRef{{Name: normal}, {Name: alarms}}}, s, []bridge.Sender{c})
	putMany(t, s, normal, 100, func(i int) string { return fmt.Sprint("d", i%5) })
	last := time.Now()
	await(t, func() string { return fmt.Sprintf("%+v, %+v, %d hang-ups", f.Stats(), s.Depth(normal), hangs.Load()) }, func() bool {
		if time.Since(last) > 100*time.Millisecond {
			last = time.Now()
			var b bridge.Batch
			b.Append(&bridge.Record{
				Message:   bridge.Message{Topic: "dt/x", Payload: []byte("once")},
				Origin:    bridge.Origin{Device: "once", Instant: bridge.Instant{Age: s.Age()}},
				Receivers: []bridge.Receiver{{Queue: alarms, Topic: "dt/x"}},
			})
			commit(t, s, &b)
		}
		return empty(s, normal)()
	})
	end()
	if n := s.Depth(bridge.DeadQueue(normal)).Records; n != 0 {
		t.Errorf("%d dead letters", n)
	}
}
