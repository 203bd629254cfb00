package bridge_test

import (
	"fmt"
	"log/slog"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ebbgate/ebbgate/bridge"
	"github.com/ebbgate/ebbgate/internal/peers"
)

// door is a gate that a test opens; it lets priority 9 through.
type door struct {
	open      atomic.Bool
	accounted atomic.Int64
}

func (d *door) Open(priority int) bool { return priority >= 9 || d.open.Load() }

func (d *door) Account(b *bridge.Batch) {
	if !b.Empty() {
		d.accounted.Add(1)
		b.Add("door", "asked", 1)
	}
}

// While the gate is closed only what overrides it goes; when it opens the rest
// goes by itself. What the gate accounts for is in the commits of the releases.
func TestForwarderKeepsToItsGate(t *testing.T) {
	s := openSpool(t)
	for range 50 {
		put(t, s, normal, "d", "reading")
	}
	put(t, s, alarms, "d", "fire")
	c, d := &cloud{window: 10}, new(door)
	cfg := bridge.ForwarderConfig{Upstream: "cloud", Queues: []bridge.QueueRef{{Name: normal, Priority: 4}, {Name: alarms, Priority: 9}}, Gate: d}
	f := bridge.NewForwarder(cfg, s, []bridge.Sender{c}, new(noMeter), new(bridge.DropLog), new(bridge.Health), slog.New(slog.DiscardHandler))
	stop := peers.Run(t, f.Run)
	reach(t, "the alarm has gone", empty(s, alarms))
	put(t, s, alarms, "d", "smoke")
	reach(t, "another has", empty(s, alarms))
	if got := len(c.payloads()); got != 2 || s.Depth(normal).Records != 50 {
		t.Errorf("%d have gone through a closed gate", got)
	}
	d.open.Store(true)
	reach(t, "the rest has gone", empty(s, normal))
	stop()
	if n, err := s.Count("door", "asked"); err != nil || n == 0 || n != d.accounted.Load() {
		t.Errorf("%d of %d are durable, %v", n, d.accounted.Load(), err)
	}
}

// gatedCloud is a cloud by a link that a door may close.
type gatedCloud struct {
	*cloud
	door
}

// While one connection is by a metered link that is closed, its devices go by the others,
// alarms too; when there is no other only alarms go, and all when it opens.
func TestDevicesLeaveAClosedLink(t *testing.T) { inNoTime(testDevicesLeaveAClosedLink)(t) }

func testDevicesLeaveAClosedLink(t *testing.T) {
	s := openUnsynced(t)
	free, metered := &cloud{window: 5, after: 100 * time.Millisecond}, &gatedCloud{cloud: &cloud{window: 5, after: 100 * time.Millisecond}}
	metered.open.Store(true)
	cfg := bridge.ForwarderConfig{Upstream: "cloud", Queues: []bridge.QueueRef{{Name: normal, Priority: 4}, {Name: alarms, Priority: 9}}}
	both := atomic.Int64{}
	both.Store(2)
	cfg.Connections = func() int { return int(both.Load()) }
	f, end := startWith(t, cfg, s, []bridge.Sender{metered, free}, new(bridge.Health))
	state := func() string { return fmt.Sprintf("%+v, %+v", f.Stats(), s.Ledger(normal)) }
	device := func(i int) string { return fmt.Sprint("d", i%40) }
	putMany(t, s, normal, 1000, device)
	await(t, state, func() bool { return len(metered.payloads()) > 20 && len(free.payloads()) > 20 })
	metered.door.open.Store(false)
	<-time.After(time.Second) // what is in flight lands
	by := len(metered.payloads())
	await(t, state, empty(s, normal))
	putMany(t, s, alarms, 40, device)
	await(t, state, empty(s, alarms))
	if n := len(metered.payloads()); n != by {
		t.Errorf("%d more went by a closed link", n-by)
	}
	both.Store(1) // the free one goes
	<-time.After(5 * time.Second)
	putMany(t, s, normal, 40, device)
	putMany(t, s, alarms, 40, device)
	await(t, state, empty(s, alarms))
	<-time.After(time.Minute)
	if n := len(metered.payloads()); n != by+40 || s.Depth(normal).Records != 40 {
		t.Errorf("%d went by the closed link alone, want 40 alarms", n-by)
	}
	both.Store(2)
	await(t, state, empty(s, normal))
	both.Store(1)
	<-time.After(5 * time.Second)
	putMany(t, s, normal, 40, device)
	<-time.After(time.Minute)
	metered.door.open.Store(true)
	await(t, state, empty(s, normal))
	if n := len(metered.payloads()); n != by+80 {
		t.Errorf("%d went by the link when it was open again", n-by-40)
	}
	end()
}

// blink is a gate that is closed for one look.
type blink struct {
	asked atomic.Int64
	at    int64
}

func (b *blink) Open(int) bool         { return b.asked.Add(1) != b.at }
func (b *blink) Account(*bridge.Batch) {}

// Whenever a gate is closed for a moment, whoever has looked just then looks again.
func TestAGateThatBlinksStopsNothing(t *testing.T) {
	t.Parallel()
	for _, window := range []int{1, 3} {
		t.Run(fmt.Sprint("window ", window), inNoTime(func(t *testing.T) {
			for at := range int64(50) {
				s := openUnsynced(t)
				putMany(t, s, normal, 20, func(i int) string { return fmt.Sprint("d", i%3) })
				f, end := startWith(t, bridge.ForwarderConfig{Upstream: "cloud", Queues: []bridge.QueueRef{{Name: normal}}, Gate: &blink{at: at}}, s, []bridge.Sender{&cloud{window: window, after: 10 * time.Millisecond}}, new(bridge.Health))
				await(t, func() string { return fmt.Sprintf("closed at look %d: %+v", at, f.Stats()) }, empty(s, normal))
				end()
			}
		}))
	}
}
