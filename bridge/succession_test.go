package bridge_test

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ebbgate/ebbgate/bridge"
)

const ownQueue = normal + "@pump"

func succession(t *testing.T, s bridge.Spool) *bridge.Succession {
	t.Helper()
	old, err := bridge.Inherited(s, []string{ownQueue})
	if err != nil {
		t.Fatal(err)
	}
	return bridge.NewSuccession(s,
		[]bridge.Successor{{Queue: ownQueue, Priority: 4, Inherited: old[ownQueue]}},
		[]bridge.Predecessor{{Queue: normal, Priority: 4}, {Queue: bridge.RawQueue(normal), Raw: true, Priority: 4}, {Queue: alarms, Priority: 9}}, nil)
}

// running runs a part of the walk until stop.
func running(t *testing.T, run func(context.Context) error) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := run(ctx); err != nil {
			t.Error(err)
		}
	})
	return func() { cancel(); wg.Wait() }
}

// forwarder runs a forwarder to a cloud until stop.
func forwarder(t *testing.T, s bridge.Spool, to *cloud, gate bridge.Gate, queues ...bridge.QueueRef) (stop func()) {
	t.Helper()
	f := bridge.NewForwarder(bridge.ForwarderConfig{Upstream: "cloud", Queues: queues, Gate: gate},
		s, []bridge.Sender{to}, new(noMeter), new(bridge.DropLog), new(bridge.Health), slog.New(slog.DiscardHandler))
	return running(t, f.Run)
}

// sentBy is what several clouds take, in the one order in which they take it.
type sentBy struct {
	mu    sync.Mutex
	order []string
}

func (b *sentBy) cloud() *cloud {
	return &cloud{window: 10, answer: func(d *bridge.Delivery) bridge.Outcome {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.order = append(b.order, string(d.Payload))
		return bridge.Outcome{Result: bridge.ResultAcked}
	}}
}

func (b *sentBy) expect(t *testing.T, want []string) {
	t.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	if !slices.Equal(b.order, want) {
		t.Errorf("sent %s", strings.Join(b.order, " "))
	}
}

// opens asks until the gate opens.
func opens(t *testing.T, g bridge.Gate) {
	t.Helper()
	reach(t, "the gate opens", func() bool { return g.Open(4) })
}

// stays asks for longer than the gate thinks anew.
func stays(t *testing.T, g bridge.Gate, why string) {
	t.Helper()
	end := time.After(300 * time.Millisecond)
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		if g.Open(4) {
			t.Fatalf("open: %s", why)
		}
		select {
		case <-end:
			return
		case <-tick.C:
		}
	}
}

func releaseAll(t *testing.T, s bridge.Spool, queue string, most int) {
	t.Helper()
	c := s.Cursor(queue)
	defer c.Close()
	b := new(bridge.Batch)
	for range most {
		r, err := c.Next()
		if err != nil {
			t.Fatal(err)
		}
		if r == nil {
			break
		}
		b.Release(r)
	}
	commit(t, s, b)
}

// What a thing has sent before it got a connection of its own goes first, also
// what waits for the steps of its route; what others send after that is not waited
// for, and neither is it after a restart.
func TestAThingWaitsForWhatItSentBefore(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := openAt(t, dir)
	put(t, s, normal, "pump", "1")
	put(t, s, bridge.RawQueue(normal), "pump", "2")
	put(t, s, alarms, "pump", "of another priority")
	g := succession(t, s)
	if !g.Open(9) || !g.Open(0) {
		t.Error("priorities in which nothing has moved are closed")
	}
	stays(t, g, "nothing has come on the new way, so nobody knows yet what is before it")
	put(t, s, ownQueue, "pump", "4")
	stays(t, g, "two messages wait in the others")
	releaseAll(t, s, bridge.RawQueue(normal), 1)
	put(t, s, normal, "pump", "3") // what the steps have made of 2
	put(t, s, bridge.RawQueue(normal), "other", "5")
	stays(t, g, "what was shaped is waited for as well")
	put(t, s, normal, "other", "6")
	releaseAll(t, s, normal, 1)
	stays(t, g, "one is left")
	releaseAll(t, s, normal, 1)
	opens(t, g)
	put(t, s, normal, "other", "7")
	if again := succession(t, s); !again.Open(4) {
		t.Error("it is waited for once more after a restart")
	}
	if err := bridge.ForgetSuccessions(s, func(q string) bool { return q == ownQueue }); err != nil {
		t.Fatal(err)
	}
	if again := succession(t, s); !again.Open(4) {
		t.Error("what is kept was forgotten")
	}
	if err := bridge.ForgetSuccessions(s, func(string) bool { return false }); err != nil {
		t.Fatal(err)
	}
	stays(t, succession(t, s), "the thing has moved back in between, so it waits again")
}

// A forwarder with that gate sends nothing of the thing before the forwarder of
// all has sent what is older; and both together keep the order.
func TestAMovedDeviceKeepsItsOrder(t *testing.T) {
	t.Parallel()
	s := openSpool(t)
	for i := range 300 {
		put(t, s, normal, "pump", fmt.Sprint(i))
	}
	gate := succession(t, s)
	for i := range 50 {
		put(t, s, ownQueue, "pump", fmt.Sprint(300+i))
	}
	var sent sentBy
	shared, own := sent.cloud(), sent.cloud()
	defer forwarder(t, s, own, gate, bridge.QueueRef{Name: ownQueue, Priority: 4})()
	forward(t, s, shared, new(noMeter), new(bridge.Health), empty(s, normal, ownQueue))
	var want []string
	for i := range 350 {
		want = append(want, fmt.Sprint(i))
	}
	sent.expect(t, want)
}

// What a thing has left behind, when it has no connection of its own any more, is
// shaped at once and before the rest of its route.
func TestWhatIsLeftOfAThingIsShapedFirst(t *testing.T) {
	s := openSpool(t)
	left := normal + "@pump"
	for i := range 4 { // the fourth would wait an hour for two more
		putOf(t, s, bridge.RawQueue(left), "pump", fmt.Sprint(i))
	}
	for i := range 3 {
		putOf(t, s, bridge.RawQueue(normal), "pump", fmt.Sprint("new", i))
	}
	kin := bridge.NewKin()
	kin.Add(left, false)
	for _, c := range []bridge.ShaperConfig{
		{Queue: left, Line: func() bridge.Line { return new(threes) }, Last: true, Kin: kin},
		{Queue: normal, Line: func() bridge.Line { return new(threes) }, Kin: kin},
	} {
		sh := bridge.NewShaper(c, s, new(bridge.DropLog), new(bridge.Health), slog.New(slog.DiscardHandler))
		stop := running(t, sh.Run)
		defer stop()
	}
	reach(t, "all is shaped", depth(s, normal, 3))
	if got := strings.Join(content(t, s, normal), " "); got != "0+1+2 3 new0+new1+new2" {
		t.Errorf("made: %s", got)
	}
}
