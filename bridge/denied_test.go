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

// denying is a cloud whose policy denies what of says, until allowed is set.
func denying(of func(*bridge.Delivery) bool, allowed *atomic.Bool) *cloud {
	return &cloud{window: 10, answer: func(d *bridge.Delivery) bridge.Outcome {
		if of(d) && !allowed.Load() {
			return bridge.Outcome{Result: bridge.ResultDenied, Code: 0x87}
		}
		return bridge.Outcome{Result: bridge.ResultAcked}
	}}
}

func ofDenied(d *bridge.Delivery) bool { return strings.HasPrefix(d.Device, "denied") }

// A topic that the cloud's policy denies bars its device from that route: others go on
// in it, and the device does in other routes. Its oldest is tried alone after half a
// minute, a minute and so on. Once it may, all of it goes in order, and nobody is warned
// any more.
func TestADeniedDeviceIsBarred(t *testing.T) { inNoTime(testADeniedDeviceIsBarred)(t) }

func testADeniedDeviceIsBarred(t *testing.T) {
	s, h := openUnsynced(t), new(bridge.Health)
	putMany(t, s, normal, 600, func(i int) string { return []string{"denied", "good"}[i%2] })
	var allowed atomic.Bool
	c := denying(func(d *bridge.Delivery) bool { return ofDenied(d) && d.Receiver.Queue == normal }, &allowed)
	queues := []bridge.QueueRef{{Name: normal}, {Name: alarms, Priority: 9}}
	f, end := startWith(t, bridge.ForwarderConfig{Upstream: "cloud", Queues: queues}, s, []bridge.Sender{c}, h)
	state := func() string { return fmt.Sprintf("%+v, %+v", f.Stats(), s.Depth(normal)) }
	await(t, state, func() bool { return s.Ledger(normal).Delivered == 300 })
	if !warned(h, "denied-"+normal) || warned(h, "route-paused-"+normal) {
		t.Errorf("warnings %v", h.Warnings())
	}
	put(t, s, alarms, "denied", "alarm")
	await(t, state, empty(s, alarms))
	first := len(c.payloads())
	if n := first - 301; n > 10 {
		t.Errorf("%d of the device were tried at once", n)
	}
	<-time.After(8 * time.Minute)
	if got := c.payloads()[first:]; !slices.Equal(got, []string{"0", "0", "0", "0"}) {
		t.Errorf("tried with %q", got)
	}
	allowed.Store(true)
	put(t, s, normal, "good", "later")
	f.Retry()
	await(t, state, func() bool { return empty(s, normal)() && !warned(h, "denied-"+normal) })
	end()
	var want []string
	for i := 0; i < 600; i += 2 {
		want = append(want, fmt.Sprint(i))
	}
	got := slices.DeleteFunc(c.payloads()[first+4:], func(p string) bool { return p == "later" })
	if !slices.Equal(got, want) {
		t.Errorf("arrived %q", got)
	}
}

// When one device after the other is denied, and nothing is taken, it is the route:
// it is tried with one device after the other, slowly. With few devices each is tried for
// itself.
func TestAllAreDenied(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		devices, first, tried int // deliveries at once, and in the eight minutes after
		warning               string
	}{
		{3, 20, 3 * 4, "denied-"},
		{30, 21 + 10, 30, "route-paused-"}, // each is barred in the end
		{1000, 21 + 10, 8 * 60, "route-paused-"},
	} {
		t.Run(fmt.Sprint(c.devices, " devices"), inNoTime(func(t *testing.T) {
			s, h := openUnsynced(t), new(bridge.Health)
			putMany(t, s, normal, 2000, func(i int) string { return fmt.Sprint("denied", i%c.devices) })
			var allowed atomic.Bool
			to := denying(ofDenied, &allowed)
			f, end := startWith(t, bridge.ForwarderConfig{Upstream: "cloud", Queues: []bridge.QueueRef{{Name: normal}}}, s, []bridge.Sender{to}, h)
			state := func() string { return fmt.Sprintf("%+v, %+v", f.Stats(), s.Depth(normal)) }
			await(t, state, func() bool { return warned(h, c.warning+normal) })
			<-time.After(8 * time.Minute)
			if n := len(to.payloads()); n > c.first+c.tried {
				t.Errorf("%d were tried", n)
			}
			before := len(to.payloads())
			allowed.Store(true)
			await(t, state, func() bool { return empty(s, normal)() && len(h.Warnings()) == 0 })
			end()
			latest := map[string]string{}
			for i, d := range to.arrived[before:] {
				if was := latest[d.Device]; len(was) > len(d.Payload) || len(was) == len(d.Payload) && was >= string(d.Payload) {
					t.Fatalf("%d: %s of %s came after %s", i, d.Payload, d.Device, was)
				}
				latest[d.Device] = string(d.Payload)
			}
			if l := s.Ledger(normal); l.Delivered != 2000 {
				t.Errorf("%+v", l)
			}
		}))
	}
}

// However fast the others come, a device that is denied makes way within the time that
// any refusal takes.
func TestADeniedDeviceMakesWaySoon(t *testing.T) { inNoTime(testADeniedDeviceMakesWaySoon)(t) }

func testADeniedDeviceMakesWaySoon(t *testing.T) {
	s, h := openUnsynced(t), new(bridge.Health)
	const good = 40_000
	put(t, s, normal, "denied", "first")
	put(t, s, normal, "denied", "second")
	for range good / 1000 {
		putMany(t, s, normal, 1000, func(i int) string { return fmt.Sprint("d", i%7) })
	}
	c := denying(ofDenied, new(atomic.Bool))
	c.window = 100
	f, end := startWith(t, bridge.ForwarderConfig{Upstream: "cloud", Queues: []bridge.QueueRef{{Name: normal}}}, s, []bridge.Sender{c}, h)
	<-time.After(45 * time.Second)
	if l := s.Ledger(normal); l.Delivered != good || l.Moved != 2 {
		t.Errorf("%+v, %+v, %v", f.Stats(), l, h.Warnings())
	}
	end()
}

// Many devices of one kind that are denied at once do not stop the others: whatever is
// taken shows that it is not the route.
func TestManyDevicesAreDenied(t *testing.T) {
	t.Parallel()
	for name, window := range map[string]int{"beside others": 100, "before others": 10} {
		t.Run(name, inNoTime(func(t *testing.T) {
			s, h := openUnsynced(t), new(bridge.Health)
			putMany(t, s, normal, 60, func(i int) string { return fmt.Sprint("denied", i) })
			putMany(t, s, normal, 1000, func(int) string { return "good" })
			c := denying(ofDenied, new(atomic.Bool))
			c.window = window
			f, end := startWith(t, bridge.ForwarderConfig{Upstream: "cloud", Queues: []bridge.QueueRef{{Name: normal}}}, s, []bridge.Sender{c}, h)
			<-time.After(2 * time.Minute)
			if l := s.Ledger(normal); l.Delivered != 1000 || l.Moved > 0 || warned(h, "route-paused-"+normal) {
				t.Errorf("%+v, %+v, %v", f.Stats(), l, h.Warnings())
			}
			end()
		}))
	}
}

// Where each denial ends the connection fewer devices make it the route.
func TestManyAreDeniedByTheEndOfTheConnection(t *testing.T) {
	inNoTime(testManyAreDeniedByTheEndOfTheConnection)(t)
}

func testManyAreDeniedByTheEndOfTheConnection(t *testing.T) {
	s, h := openUnsynced(t), new(bridge.Health)
	putMany(t, s, normal, 200, func(i int) string { return fmt.Sprint("d", i%20) })
	var hangs atomic.Int64
	c := &cloud{window: 10, how: bridge.ErrDenied, hangUp: func(*bridge.Delivery) bool { hangs.Add(1); return true }}
	f, end := startWith(t, bridge.ForwarderConfig{Upstream: "cloud", Queues: []bridge.QueueRef{{Name: normal}}}, s, []bridge.Sender{c}, h)
	state := func() string { return fmt.Sprintf("%+v, %+v, %v", f.Stats(), s.Depth(normal), h.Warnings()) }
	await(t, state, func() bool { return warned(h, "route-paused-"+normal) })
	found := hangs.Load()
	<-time.After(8 * time.Minute)
	end()
	if n := hangs.Load(); found > 30 || n > found+5 || s.Depth(normal).Records != 200 {
		t.Errorf("hung up on %d times until it was found, then %d; %+v", found, n-found, s.Depth(normal))
	}
}

// A message that is only written tells nothing of a device that is barred: the next of
// it is tried at once.
func TestWhatIsOnlyWrittenIsNoTrial(t *testing.T) { inNoTime(testWhatIsOnlyWrittenIsNoTrial)(t) }

func testWhatIsOnlyWrittenIsNoTrial(t *testing.T) {
	s, h := openUnsynced(t), new(bridge.Health)
	put(t, s, normal, "denied", "first")
	var b bridge.Batch
	for range 50 {
		b.Append(&bridge.Record{
			Message:   bridge.Message{Topic: "dt/denied", Payload: []byte("written")},
			Origin:    bridge.Origin{Device: "denied", Instant: bridge.Instant{Age: s.Age()}},
			Receivers: []bridge.Receiver{{Queue: normal, Topic: "dt/denied"}},
		})
	}
	commit(t, s, &b)
	put(t, s, normal, "denied", "last")
	var allowed atomic.Bool
	c := denying(func(d *bridge.Delivery) bool { return d.Receiver.QoS > 0 }, &allowed)
	c.window = 1
	f, end := startWith(t, bridge.ForwarderConfig{Upstream: "cloud", Queues: []bridge.QueueRef{{Name: normal}}, RefusalGrace: time.Minute}, s, []bridge.Sender{c}, h)
	state := func() string { return fmt.Sprintf("%+v, %+v", f.Stats(), s.Depth(normal)) }
	await(t, state, func() bool { return s.Ledger(normal).Delivered == 50 }) // "first" is a dead letter by then
	end()
	if got := content(t, s, bridge.DeadQueue(normal)); !slices.Equal(got, []string{"first"}) {
		t.Errorf("dead letters %q", got)
	}
}

// What a person drops bars nobody any more.
func TestABarEndsWithWhatIsBarred(t *testing.T) { inNoTime(testABarEndsWithWhatIsBarred)(t) }

func testABarEndsWithWhatIsBarred(t *testing.T) {
	s, h := openUnsynced(t), new(bridge.Health)
	put(t, s, normal, "denied", "dropped")
	var allowed atomic.Bool
	c := denying(ofDenied, &allowed)
	f, end := startWith(t, bridge.ForwarderConfig{Upstream: "cloud", Queues: []bridge.QueueRef{{Name: normal}}}, s, []bridge.Sender{c}, h)
	state := func() string { return fmt.Sprintf("%+v, %+v", f.Stats(), s.Depth(normal)) }
	await(t, state, func() bool { return warned(h, "denied-"+normal) })
	var b bridge.Batch
	b.ReleaseAs(stored(t, s, normal, 1)[0], bridge.Dropped)
	commit(t, s, &b)
	await(t, state, func() bool { return !warned(h, "denied-"+normal) })
	end()
}

// What has ended a connection because it is denied is tried alone the next time: that
// costs one connection each, however much others send.
func TestADenialThatEndsTheConnectionIsTriedAlone(t *testing.T) {
	inNoTime(testADenialThatEndsTheConnectionIsTriedAlone)(t)
}

func testADenialThatEndsTheConnectionIsTriedAlone(t *testing.T) {
	s, h := openUnsynced(t), new(bridge.Health)
	put(t, s, normal, "denied", "denied")
	for range 40 {
		putMany(t, s, normal, 1000, func(i int) string { return fmt.Sprint("d", i%7) })
	}
	var hangs atomic.Int64
	c := &cloud{window: 10, after: 50 * time.Millisecond, how: bridge.ErrDenied, hangUp: func(d *bridge.Delivery) bool {
		if ofDenied(d) {
			hangs.Add(1)
			return true
		}
		return false
	}}
	f, end := startWith(t, bridge.ForwarderConfig{Upstream: "cloud", Queues: []bridge.QueueRef{{Name: normal}}}, s, []bridge.Sender{c}, h)
	await(t, func() string { return fmt.Sprintf("%+v, %v", f.Stats(), h.Warnings()) }, func() bool { return warned(h, "denied-"+normal) })
	found := hangs.Load()
	<-time.After(170 * time.Second) // tries after 30 and 60 s
	end()
	if n := hangs.Load() - found; n != 2 {
		t.Errorf("hung up on %d times until it was found, then %d", found, n)
	}
}
