package bridge_test

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ebbgate/ebbgate/bridge"
)

const (
	normal = "up/cloud/normal"
	alarms = "up/cloud/alarms"
)

// cloud is a scripted receiver: answer says what becomes of each delivery.
type cloud struct {
	window int
	answer func(d *bridge.Delivery) bridge.Outcome // nil answers Acked
	hangUp func(d *bridge.Delivery) bool
	how    error         // of hanging up; nil: bridge.ErrClosedByPeer
	flying *atomic.Int64 // how many are not reported yet; nil: they are not counted
	after  time.Duration // until it answers
	upTo   time.Duration // and as much more, at random

	mu      sync.Mutex
	arrived []*bridge.Delivery
	link    *cloudLink
}

func (c *cloud) Connect(ctx context.Context) (bridge.Link, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	l := &cloudLink{cloud: c, done: make(chan struct{})}
	c.mu.Lock()
	c.link = l
	c.mu.Unlock()
	return l, nil
}

func (c *cloud) payloads() (out []string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, d := range c.arrived {
		out = append(out, string(d.Payload))
	}
	return out
}

type cloudLink struct {
	*cloud
	once sync.Once
	done chan struct{}
	err  error
}

func (l *cloudLink) Window() int           { return l.window }
func (l *cloudLink) Done() <-chan struct{} { return l.done }
func (l *cloudLink) Err() error            { return l.err }
func (l *cloudLink) Close() error          { l.end(errors.New("closed by us")); return nil }
func (l *cloudLink) end(err error)         { l.once.Do(func() { l.err = err; close(l.done) }) }

func (l *cloudLink) Flush() {}

func (l *cloudLink) Send(_ context.Context, d *bridge.Delivery, report func(bridge.Outcome)) error {
	select {
	case <-l.done:
		return l.err
	default:
	}
	if l.hangUp != nil && l.hangUp(d) {
		l.end(fmt.Errorf("reset: %w", cmp.Or(l.how, bridge.ErrClosedByPeer)))
		if d.Receiver.QoS == 0 { // written, and that is all that is known
			go report(bridge.Outcome{Result: bridge.ResultAcked})
		} else {
			go report(bridge.Outcome{Result: bridge.ResultLost})
		}
		return nil
	}
	o := bridge.Outcome{Result: bridge.ResultAcked}
	if l.answer != nil {
		o = l.answer(d)
	}
	l.mu.Lock()
	l.arrived = append(l.arrived, d)
	l.mu.Unlock()
	if l.flying != nil {
		l.flying.Add(1)
	}
	go func() {
		if l.after+l.upTo > 0 {
			select {
			case <-time.After(l.after + rand.N(l.upTo+1)):
			case <-l.done:
				o = bridge.Outcome{Result: bridge.ResultLost}
			}
		}
		if l.flying != nil {
			l.flying.Add(-1)
		}
		report(o)
	}()
	return nil
}

// noMeter counts calls only.
type noMeter struct{ delivered, uncertain int }

func (m *noMeter) Delivered(*bridge.Batch, string, *bridge.Stored, bridge.Outcome) { m.delivered++ }
func (m *noMeter) Uncertain(*bridge.Batch, string, *bridge.Stored, bridge.Outcome) { m.uncertain++ }
func (m *noMeter) Received(*bridge.Batch, string, *bridge.Message, int)            {}

// forward runs a forwarder until the condition holds.
func forward(t *testing.T, s bridge.Spool, c *cloud, m bridge.Meter, h *bridge.Health, until func() bool) {
	t.Helper()
	queues := []bridge.QueueRef{{Name: normal, Priority: 4}, {Name: alarms, Priority: 9}}
	forwardFrom(t, queues, s, c, m, new(bridge.DropLog), h, until)
}

// forwardFrom is forward, with other queues.
func forwardFrom(t *testing.T, queues []bridge.QueueRef, s bridge.Spool, c *cloud, m bridge.Meter, drops *bridge.DropLog, h *bridge.Health, until func() bool) {
	t.Helper()
	f := bridge.NewForwarder(bridge.ForwarderConfig{Upstream: "cloud", Queues: queues}, s, []bridge.Sender{c}, m, drops, h, slog.New(slog.DiscardHandler))
	runForwarder(t, f, s, c, until)
}

func runForwarder(t *testing.T, f *bridge.Forwarder, s bridge.Spool, c *cloud, until func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 15*time.Minute)
	defer cancel()
	ended := make(chan error, 1)
	go func() { ended <- f.Run(ctx) }()
	for ctx.Err() == nil && !until() {
		time.Sleep(5 * time.Millisecond) // polls a condition: the test fails by the context, not by time
	}
	if ctx.Err() != nil {
		t.Errorf("not reached: arrived %d, depth %+v", len(c.payloads()), s.Depth(normal))
	}
	cancel()
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
}

func empty(s bridge.Spool, queues ...string) func() bool {
	return func() bool {
		for _, q := range queues {
			if s.Depth(q).Records > 0 {
				return false
			}
		}
		return true
	}
}

func TestForwarderSendsInOrderAndReleases(t *testing.T) {
	t.Parallel()
	s := openSpool(t)
	var want []string
	for i := range 2000 {
		want = append(want, fmt.Sprint(i))
		put(t, s, normal, fmt.Sprint("d", i%5), want[i])
	}
	put(t, s, alarms, "d0", "fire")
	c := &cloud{window: 100}
	m := new(noMeter)
	forward(t, s, c, m, new(bridge.Health), empty(s, normal, alarms))
	if got := c.payloads(); got[0] != "fire" || !slices.Equal(got[1:], want) {
		t.Fatalf("arrived out of order, or not all: %d, first %q", len(got), got[0])
	}
	if m.delivered != 2001 {
		t.Fatalf("%d metered", m.delivered)
	}
}

// A refusal holds its device only, and the device's order is kept.
func TestForwarderHoldsOneDevice(t *testing.T) {
	t.Parallel()
	s := openSpool(t)
	for i := range 300 {
		put(t, s, normal, fmt.Sprint("d", i%3), fmt.Sprint(i))
	}
	var mu sync.Mutex
	refused := false
	c := &cloud{window: 20, answer: func(d *bridge.Delivery) bridge.Outcome {
		mu.Lock()
		defer mu.Unlock()
		if string(d.Payload) == "30" && !refused {
			refused = true
			return bridge.Outcome{Result: bridge.ResultRetry, Code: 0x97}
		}
		return bridge.Outcome{Result: bridge.ResultAcked}
	}}
	forward(t, s, c, new(noMeter), new(bridge.Health), empty(s, normal))
	first := map[string]int{}
	for i, p := range c.payloads() {
		if _, ok := first[p]; !ok {
			first[p] = i
		}
	}
	if len(first) != 300 {
		t.Fatalf("%d of 300 arrived", len(first))
	}
	for i := range 297 { // per device, first transmissions are in order
		if first[fmt.Sprint(i)] > first[fmt.Sprint(i+3)] {
			t.Fatalf("%d was first sent after %d", i, i+3)
		}
	}
	if last := c.payloads()[len(c.payloads())-1]; last == "299" {
		t.Fatal("the other devices did not go on while one was held")
	}
}

func TestForwarderDeadLetters(t *testing.T) {
	s := openSpool(t)
	for i := range 10 {
		put(t, s, normal, "d", fmt.Sprint(i))
	}
	h := new(bridge.Health)
	c := &cloud{window: 10, answer: func(d *bridge.Delivery) bridge.Outcome {
		if string(d.Payload) == "4" {
			return bridge.Outcome{Result: bridge.ResultRefused, Code: 0x90}
		}
		return bridge.Outcome{Result: bridge.ResultAcked}
	}}
	forward(t, s, c, new(noMeter), h, empty(s, normal))
	r := stored(t, s, "dead/up/cloud/normal", 1)[0]
	if string(r.Payload) != "4" {
		t.Fatalf("dead letter %+v", r)
	}
	if why, _ := s.Get("dead", r.ID.String()); len(why) == 0 {
		t.Error("the dead letter has no reason")
	}
	if ws := h.Warnings(); len(ws) != 1 {
		t.Errorf("warnings %+v", ws)
	}
}

func TestForwarderPausesADeniedRoute(t *testing.T) {
	s := openSpool(t)
	put(t, s, normal, "d", "denied")
	put(t, s, alarms, "d", "allowed")
	h := new(bridge.Health)
	c := &cloud{window: 10, answer: func(d *bridge.Delivery) bridge.Outcome {
		if string(d.Payload) == "denied" {
			return bridge.Outcome{Result: bridge.ResultDenied, Code: 0x87}
		}
		return bridge.Outcome{Result: bridge.ResultAcked}
	}}
	forward(t, s, c, new(noMeter), h, func() bool {
		return empty(s, alarms)() && slices.Contains(c.payloads(), "denied")
	})
	put(t, s, normal, "d", "after")
	if d := s.Depth(normal); d.Records != 2 {
		t.Fatalf("the denied route holds %d, want 2", d.Records)
	}
	c.answer = nil // the cloud's policy is mended; a new session tries at once
	forward(t, s, c, new(noMeter), h, empty(s, normal))
}

// One message that makes the receiver hang up does not stop the others.
func TestForwarderFindsThePoison(t *testing.T) { inNoTime(testForwarderFindsThePoison)(t) }

func testForwarderFindsThePoison(t *testing.T) {
	s := openSpool(t)
	for i := range 50 {
		put(t, s, normal, "d", fmt.Sprint(i))
	}
	c := &cloud{window: 10, hangUp: func(d *bridge.Delivery) bool { return string(d.Payload) == "20" }}
	m := new(noMeter)
	forward(t, s, c, m, new(bridge.Health), empty(s, normal))
	if d := s.Depth("dead/up/cloud/normal"); d.Records != 1 {
		t.Fatalf("%d dead letters", d.Records)
	}
	if m.uncertain == 0 {
		t.Error("what was lost with the link is not metered as uncertain")
	}
}

// Whatever the receiver answers, nothing is lost and nothing reordered.
func TestForwarderUnderRandomFaults(t *testing.T) {
	t.Parallel()
	s := openSpool(t)
	const n = 600
	for i := range n {
		put(t, s, normal, fmt.Sprint("d", i%4), fmt.Sprint(i))
	}
	rnd := rand.New(rand.NewPCG(1, 2))
	var mu sync.Mutex
	roll := func(p float64) bool {
		mu.Lock()
		defer mu.Unlock()
		return rnd.Float64() < p
	}
	c := &cloud{window: 16}
	c.answer = func(*bridge.Delivery) bridge.Outcome {
		if roll(0.003) {
			c.link.end(errors.New("cut"))
			return bridge.Outcome{Result: bridge.ResultLost}
		}
		return bridge.Outcome{Result: bridge.ResultAcked}
	}
	forward(t, s, c, new(noMeter), new(bridge.Health), empty(s, normal))
	first := map[string]int{}
	for i, p := range c.payloads() {
		if _, ok := first[p]; !ok {
			first[p] = i
		}
	}
	for i := range n - 4 {
		a, ok := first[fmt.Sprint(i)]
		if !ok || a > first[fmt.Sprint(i+4)] {
			t.Fatalf("message %d is missing or out of order", i)
		}
	}
}

// What nobody was there to take goes as soon as somebody may be. By its own
// back-off the eighth attempt would come after two minutes.
func TestForwarderRetriesWhenTold(t *testing.T) {
	s := openSpool(t)
	put(t, s, normal, "d", "command")
	attempts := 0
	c := &cloud{window: 10, answer: func(*bridge.Delivery) bridge.Outcome {
		if attempts++; attempts < 8 {
			return bridge.Outcome{Result: bridge.ResultAbsent}
		}
		return bridge.Outcome{Result: bridge.ResultAcked}
	}}
	f := bridge.NewForwarder(bridge.ForwarderConfig{Upstream: "cloud", Queues: []bridge.QueueRef{{Name: normal}}},
		s, []bridge.Sender{c}, new(noMeter), new(bridge.DropLog), new(bridge.Health), slog.New(slog.DiscardHandler))
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	ended := make(chan error, 1)
	go func() { ended <- f.Run(ctx) }()
	for ctx.Err() == nil && s.Depth(normal).Records > 0 {
		f.Retry()
		time.Sleep(time.Millisecond) // polls a condition: the test fails by the context
	}
	if ctx.Err() != nil {
		t.Errorf("not taken after %d attempts", len(c.payloads()))
	}
	cancel()
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
}
