package devices

import (
	"context"
	"fmt"
	"math"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ebbgate/ebbgate/internal/tally"
)

// Fleet is a number of simulated devices. Its methods are safe for concurrent
// use.
type Fleet struct {
	devices []*device
	acked   tally.Set
	counts  counts
	left    atomic.Int64 // devices that still have something to send
	done    chan struct{}

	mu      sync.Mutex
	pace    pace
	changed chan struct{} // closed when pace changes
}

// pace is how fast a device sends new messages, and up to which number.
type pace struct {
	interval time.Duration
	limit    uint64
}

// counts are the fleet's own figures.
type counts struct {
	connected, sent, resent, refused, reconnects atomic.Int64
}

// Stats is what a fleet has done so far.
type Stats struct {
	Connected  int   // devices now
	Sent       int64 // distinct messages, alarms included
	Resent     int64 // further transmissions of the same
	Acked      int64 // distinct messages with a PUBACK
	Refused    int64 // messages answered with an error
	Reconnects int64
}

// Refusal is how a broker answered a publish that the policy does not allow.
type Refusal struct {
	Device string
	Topic  string
	Code   byte   // MQTT reason code; 0 when the connection was closed instead
	Reason string // reason string, or how the connection ended
}

// New makes a fleet; Run starts it.
func New(o Options) (*Fleet, error) {
	if err := o.prepare(); err != nil {
		return nil, err
	}
	f := &Fleet{done: make(chan struct{}), changed: make(chan struct{}), pace: pace{o.Interval, math.MaxUint64}}
	if o.Messages > 0 {
		f.pace.limit = uint64(o.Messages)
	}
	f.left.Store(int64(o.Count))
	for i := range o.Count {
		f.devices = append(f.devices, newDevice(f, fmt.Sprintf("%s%02d", o.Prefix, i+1), &o))
	}
	return f, nil
}

// Run drives every device until ctx ends.
func (f *Fleet) Run(ctx context.Context) error {
	var wg sync.WaitGroup
	for _, d := range f.devices {
		wg.Go(func() { d.run(ctx) })
	}
	wg.Wait()
	return nil
}

// Done is closed when every device has had all of its Messages acknowledged.
func (f *Fleet) Done() <-chan struct{} { return f.done }

// Acked is the set of what was acknowledged with success. It grows.
func (f *Fleet) Acked() *tally.Set { return &f.acked }

// Names are the client ids.
func (f *Fleet) Names() []string {
	out := make([]string, len(f.devices))
	for i, d := range f.devices {
		out[i] = d.name
	}
	return out
}

// Stats reads the figures.
func (f *Fleet) Stats() Stats {
	c := &f.counts
	return Stats{
		Connected: int(c.connected.Load()), Sent: c.sent.Load(), Resent: c.resent.Load(),
		Acked: f.acked.Len(), Refused: c.refused.Load(), Reconnects: c.reconnects.Load(),
	}
}

// Pace changes how fast each device sends, and how many messages it may send
// in all before it waits for the next Pace; what is above Options.Messages is
// never sent.
func (f *Fleet) Pace(interval time.Duration, upTo int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.pace = pace{interval, uint64(max(0, upTo))}
	close(f.changed)
	f.changed = make(chan struct{})
}

func (f *Fleet) currentPace() (pace, <-chan struct{}) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.pace, f.changed
}

// Alarm lets device i publish an alarm, as soon as it is connected.
func (f *Fleet) Alarm(ctx context.Context, i int) error {
	_, err := f.devices[i%len(f.devices)].ask(ctx, wishAlarm)
	return err
}

// Break lets device i publish where it may not, and returns the answer.
func (f *Fleet) Break(ctx context.Context, i int) (Refusal, error) {
	return f.devices[i%len(f.devices)].ask(ctx, wishBreak)
}

func (f *Fleet) finished() {
	if f.left.Add(-1) == 0 {
		close(f.done)
	}
}

func (d *device) ask(ctx context.Context, w wish) (Refusal, error) {
	r := request{wish: w, answer: make(chan Refusal, 1)}
	select {
	case d.requests <- r:
	case <-ctx.Done():
		return Refusal{}, fmt.Errorf("devices: %s is not connected: %w", d.name, context.Cause(ctx))
	}
	select {
	case a := <-r.answer:
		return a, nil
	case <-ctx.Done():
		return Refusal{}, fmt.Errorf("devices: no answer to %s: %w", d.name, context.Cause(ctx))
	}
}

// jitter is a random share of d, at least half.
func jitter(d time.Duration, random float64) time.Duration {
	return d/2 + time.Duration(random*float64(d/2))
}
