package bridge_test

import (
	"log/slog"
	"sync/atomic"
	"testing"

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
