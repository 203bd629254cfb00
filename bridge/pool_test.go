package bridge_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ebbgate/ebbgate/bridge"
	"github.com/ebbgate/ebbgate/internal/peers"
)

// fleet is a receiver with several connections. It answers after a random while,
// cuts and refuses at random, and watches over the order of each device.
type fleet struct {
	t      *testing.T
	window int
	faults bool
	whole  bool // what is watched is the order of all devices together
	step   int  // of a device's numbers, when what is live may overtake; else 0

	mu    sync.Mutex
	rnd   *rand.Rand
	out   map[string]map[int]int // device → connection → not answered yet
	last  map[string]int         // device → the highest number that came
	first map[string]int         // device and payload → how often it came
	used  map[int]int            // connection → messages
	sent  int
	over  int // numbers that have overtaken others: they are live
	links map[int]*fleetLink
}

func newReceiver(t *testing.T, window int) *fleet {
	return &fleet{
		t: t, window: window, rnd: rand.New(rand.NewPCG(3, 4)), out: map[string]map[int]int{},
		last: map[string]int{}, first: map[string]int{}, used: map[int]int{}, links: map[int]*fleetLink{},
	}
}

// senders are n connections to it.
func (r *fleet) senders(n int) (out []bridge.Sender) {
	for i := range n {
		out = append(out, fleetSender{r, i})
	}
	return out
}

type fleetSender struct {
	*fleet
	n int
}

func (s fleetSender) Connect(ctx context.Context) (bridge.Link, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	l := &fleetLink{fleet: s.fleet, n: s.n, done: make(chan struct{})}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.links[s.n] = l
	return l, nil
}

type fleetLink struct {
	*fleet
	n    int
	once sync.Once
	done chan struct{}
}

func (l *fleetLink) Window() int           { return l.window }
func (l *fleetLink) Done() <-chan struct{} { return l.done }
func (l *fleetLink) Flush()                {}
func (l *fleetLink) Close() error          { l.once.Do(func() { close(l.done) }); return nil }
func (l *fleetLink) Err() error {
	select {
	case <-l.done:
		return errCut
	default:
		return nil
	}
}

var errCut = errors.New("cut")

func (l *fleetLink) Send(_ context.Context, d *bridge.Delivery, report func(bridge.Outcome)) error {
	if err := l.Err(); err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	who := d.Device
	if l.whole {
		who = "all"
	}
	var n int
	if _, err := fmt.Sscan(string(d.Payload), &n); err != nil {
		l.t.Error(err)
	}
	for other, open := range l.out[who] {
		if other != l.n && open > 0 {
			l.t.Errorf("%s is sent on connection %d while %d of it are on their way on %d", who, l.n, open, other)
		}
	}
	if last, came := l.last[who]; l.first[who+string(d.Payload)] == 0 && came && n < last && !(l.step > 0 && n == l.lowest(who)) {
		l.t.Errorf("%s: %d is first sent after %d", who, n, last)
	}
	if l.step > 0 && l.first[who+string(d.Payload)] == 0 && n != l.lowest(who) {
		l.over++
	}
	l.last[who] = max(l.last[who], n)
	if l.out[who] == nil {
		l.out[who] = map[int]int{}
	}
	l.out[who][l.n]++
	l.first[who+string(d.Payload)]++
	l.used[l.n]++
	l.sent++
	result := bridge.ResultAcked
	if l.faults {
		switch p := l.rnd.Float64(); {
		case p < 0.002:
			result = bridge.ResultLost
			_ = l.Close()
		case p < 0.004:
			result = bridge.ResultRetry
		}
	}
	time.AfterFunc(time.Duration(l.rnd.IntN(2000))*time.Microsecond, func() {
		o := bridge.Outcome{Result: result}
		if l.Err() != nil {
			o.Result = bridge.ResultLost
		}
		l.mu.Lock()
		l.out[who][l.n]--
		l.mu.Unlock()
		report(o)
	})
	return nil
}

// start runs a forwarder over senders until the returned function is called.
func start(t *testing.T, cfg bridge.ForwarderConfig, s bridge.Spool, senders []bridge.Sender) (f *bridge.Forwarder, end func()) {
	t.Helper()
	return startWith(t, cfg, s, senders, new(bridge.Health))
}

func startWith(t *testing.T, cfg bridge.ForwarderConfig, s bridge.Spool, senders []bridge.Sender, h *bridge.Health) (f *bridge.Forwarder, end func()) {
	t.Helper()
	f = bridge.NewForwarder(cfg, s, senders, new(noMeter), new(bridge.DropLog), h, slog.New(slog.DiscardHandler))
	return f, peers.Run(t, f.Run)
}

// await polls a condition; a test that never gets there fails by the clock: when what
// there is to say has not changed for a minute, or after ten. A machine that is busy,
// or was stopped meanwhile, is only slow.
func await(t *testing.T, what func() string, reached func() bool) {
	t.Helper()
	const minutes = 10
	minute := time.NewTicker(time.Minute)
	defer minute.Stop()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	last := ""
	for passed := 0; !reached(); {
		select {
		case <-minute.C:
			now := what()
			if passed++; now == last || passed == minutes {
				t.Fatalf("not reached: %s", now)
			}
			last = now
		case <-tick.C:
		}
	}
}

// putMany puts n messages of one device each, numbered from the first on.
func putMany(t *testing.T, s bridge.Spool, queue string, n int, device func(i int) string) {
	t.Helper()
	putFrom(t, s, queue, 0, n, device)
}

func putFrom(t *testing.T, s bridge.Spool, queue string, first, n int, device func(i int) string) {
	t.Helper()
	b := new(bridge.Batch)
	for i := range n {
		d := device(i)
		b.Append(&bridge.Record{
			Message:   bridge.Message{Topic: "dt/" + d, Payload: []byte(fmt.Sprint(first + i)), QoS: 1},
			Origin:    bridge.Origin{Device: d, Instant: bridge.Instant{Age: s.Age()}},
			Receivers: []bridge.Receiver{{Queue: queue, Topic: "dt/" + d, QoS: 1}},
		})
		if len(b.Appends) == 500 || i == n-1 {
			commit(t, s, b)
			b = new(bridge.Batch)
		}
	}
}

// Each device stays in order, on one connection at a time, while the pool grows
// and shrinks, its connections die and messages are refused.
func TestPoolKeepsOrder(t *testing.T) {
	t.Parallel()
	s := openSpool(t)
	const n = 3000
	r := newReceiver(t, 20)
	r.faults = true
	var want atomic.Int64
	want.Store(1)
	cfg := bridge.ForwarderConfig{Upstream: "cloud", Queues: []bridge.QueueRef{{Name: normal}}, Connections: func() int { return int(want.Load()) }}
	f, end := start(t, cfg, s, r.senders(4))
	part := 0
	for _, connections := range []int{1, 4, 2, 3, 1, 4} { // it is asked once a second
		want.Store(int64(connections))
		for more := true; more; part++ {
			putMany(t, s, normal, n, func(i int) string { return fmt.Sprintf("p%d-d%d", part, i%37) })
			await(t, func() string { return fmt.Sprint(f.Stats()) }, func() bool { return s.Depth(normal).Records < n/2 })
			for _, l := range r.cuttable() {
				_ = l.Close()
			}
			r.mu.Lock()
			more = len(r.used) < connections
			r.mu.Unlock()
		}
	}
	await(t, func() string { return fmt.Sprint(f.Stats(), s.Depth(normal)) }, empty(s, normal))
	end()
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.used) != 4 {
		t.Errorf("the connections took %v", r.used)
	}
}

// cuttable are the links that are there now.
func (r *fleet) cuttable() (out []*fleetLink) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for n, l := range r.links {
		if n%2 == 1 {
			out = append(out, l)
		}
	}
	return out
}

// A connection that takes nothing, because its rate is used up or its receiver
// stalls, keeps the devices of the others waiting no longer than it takes to
// read past its own: however many there are of these.
func TestPoolPassesOverAFullConnection(t *testing.T) {
	t.Parallel()
	s := openSpool(t)
	r := newReceiver(t, 20)
	gate := make(chan struct{})
	senders := r.senders(3)
	for i := range senders {
		senders[i] = gated{senders[i], gate, "hot"}
	}
	putMany(t, s, normal, 6000, func(i int) string { return []string{"hot", fmt.Sprint("cold", i)}[max(0, i%10-8)] })
	cfg := bridge.ForwarderConfig{Upstream: "cloud", Queues: []bridge.QueueRef{{Name: normal}}}
	f, end := start(t, cfg, s, senders)
	// A third of the cold devices are on the hot one's connection.
	await(t, func() string { return fmt.Sprint(f.Stats(), s.Depth(normal)) }, func() bool { return f.Stats().Acked >= 300 })
	r.mu.Lock()
	if _, came := r.last["hot"]; came {
		t.Error("the hot device was to be held up")
	}
	r.mu.Unlock()
	close(gate)
	await(t, func() string { return fmt.Sprint(f.Stats(), s.Depth(normal)) }, empty(s, normal))
	end()
	if r.sent != 6000 {
		t.Errorf("%d sent", r.sent)
	}
}

// gated holds one device up until its gate opens, or all.
type gated struct {
	bridge.Sender
	gate   chan struct{}
	device string // empty: all
}

func (g gated) Connect(ctx context.Context) (bridge.Link, error) {
	l, err := g.Sender.Connect(ctx)
	return gatedLink{l, g}, err
}

type gatedLink struct {
	bridge.Link
	gated gated
}

func (l gatedLink) Send(ctx context.Context, d *bridge.Delivery, report func(bridge.Outcome)) error {
	if l.gated.device == "" || l.gated.device == d.Device {
		select {
		case <-l.gated.gate:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return l.Link.Send(ctx, d, report)
}

// A connection with nothing to do takes devices over from one that is held up,
// but those of which something is on its way there.
func TestPoolLendsDevices(t *testing.T) {
	t.Parallel()
	const devices, each = 200, 20
	s := openSpool(t)
	r := newReceiver(t, 20)
	gate := make(chan struct{})
	senders := r.senders(2)
	senders[1] = gated{senders[1], gate, ""}
	putMany(t, s, normal, devices*each, func(i int) string { return fmt.Sprint("d", i%devices) })
	f, end := start(t, bridge.ForwarderConfig{Upstream: "cloud", Queues: []bridge.QueueRef{{Name: normal}}}, s, senders)
	// Of the half that is on the second connection at most the 33 that it has
	// read are stuck; some devices more, for the halves are not equal.
	await(t, func() string { return fmt.Sprint(f.Stats(), s.Depth(normal)) }, func() bool { return f.Stats().Acked >= (devices-50)*each })
	close(gate)
	await(t, func() string { return fmt.Sprint(f.Stats(), s.Depth(normal)) }, empty(s, normal))
	end()
	if r.sent != devices*each {
		t.Errorf("%d sent", r.sent)
	}
}
