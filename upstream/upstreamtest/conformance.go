package upstreamtest

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/ebbgate/ebbgate/bridge"
	"github.com/ebbgate/ebbgate/upstream"
)

// fast lifts what the limits do not test.
func fast() upstream.Limits { return upstream.Limits{Burst: 1, InFlight: 16} }

// Conformance holds a sender to the contract of [bridge.Sender] and
// [bridge.Link].
func Conformance(t *testing.T, setup Setup) {
	for _, c := range []struct {
		name string
		test func(*testing.T, Setup)
	}{
		{"transmits in order and reports each send once", inOrder},
		{"keeps to its window", window},
		{"close reports what is outstanding as lost", closeReportsLost},
		{"a cut reports what is outstanding as lost, and it connects again", cutReportsLost},
		{"a link may be closed from a report", closeFromReport},
		{"connecting closes the previous link", connectTwice},
		{"send ends with its context", sendEndsWithContext},
		{"connect ends with its context", connectEndsWithContext},
		{"keeps to its rate", rate},
	} {
		t.Run(c.name, func(t *testing.T) { c.test(t, setup) })
	}
}

// connect makes a link that the test closes.
func connect(t *testing.T, p Peer) bridge.Link {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	l, err := p.Sender.Connect(ctx)
	if err != nil {
		t.Fatalf("connect: %v", err)
	}
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
		down(t, l)
	})
	return l
}

// down waits until a link is down.
func down(t *testing.T, l bridge.Link) {
	t.Helper()
	select {
	case <-l.Done():
	case <-time.After(patience):
		t.Fatal("the link does not go down")
	}
	if l.Err() == nil {
		t.Error("the link is down without a reason")
	}
}

// sendAll sends the messages from first to before end, in the window.
func sendAll(t *testing.T, l bridge.Link, r *reports, first, end int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	slots := make(chan struct{}, l.Window())
	for i := first; i < end; i++ {
		select {
		case slots <- struct{}{}:
		default:
			l.Flush()
			slots <- struct{}{}
		}
		report := r.of(payload(i))
		if err := l.Send(ctx, delivery(i), func(o bridge.Outcome) { report(o); <-slots }); err != nil {
			t.Fatalf("send %s: %v", payload(i), err)
		}
	}
	l.Flush()
}

func inOrder(t *testing.T, setup Setup) {
	const n = 2000
	p := setup(t, fast())
	l, r := connect(t, p), newReports()
	sendAll(t, l, r, 0, n)
	r.await(t, n, bridge.ResultAcked)
	await(t, "everything arrives", func() bool { return len(p.Arrived()) >= n })
	for i, got := range p.Arrived() {
		if got != payload(i) {
			t.Fatalf("arrival %d is %s, want %s", i, got, payload(i))
		}
	}
	for _, o := range r.all {
		if o.Wire <= len(payload(0)) {
			t.Fatalf("an outcome counts %d bytes on the wire, less than the payload", o.Wire)
		}
	}
}

func window(t *testing.T, setup Setup) {
	p := setup(t, fast())
	l, r := connect(t, p), newReports()
	if w := l.Window(); w < 1 || w > fast().InFlight {
		t.Fatalf("a window of %d with in_flight %d", w, fast().InFlight)
	}
	p.Hold()
	sendAll(t, l, r, 0, l.Window())
	if n := r.len(); n != 0 {
		t.Fatalf("%d outcomes from a receiver that holds", n)
	}
	p.Release()
	r.await(t, l.Window(), bridge.ResultAcked)
	sendAll(t, l, r, l.Window(), 2*l.Window())
	r.await(t, 2*l.Window(), bridge.ResultAcked)
}

func closeReportsLost(t *testing.T, setup Setup) {
	p := setup(t, fast())
	l, r := connect(t, p), newReports()
	p.Hold()
	sendAll(t, l, r, 0, l.Window())
	if err := l.Close(); err != nil {
		t.Errorf("close: %v", err)
	}
	down(t, l)
	if n := r.len(); n != l.Window() {
		t.Errorf("%d outcomes when Done is closed, want all %d", n, l.Window())
	}
	r.await(t, l.Window(), bridge.ResultLost)
	if err := l.Close(); err != nil {
		t.Errorf("close again: %v", err)
	}
	if err := l.Send(t.Context(), delivery(99), func(bridge.Outcome) { t.Error("a send on a closed link was reported") }); err == nil {
		t.Error("a closed link sends")
	}
	p.Release()
}

func cutReportsLost(t *testing.T, setup Setup) {
	p := setup(t, fast())
	l, r := connect(t, p), newReports()
	sendAll(t, l, r, 0, 10)
	r.await(t, 10, bridge.ResultAcked)
	p.Hold()
	lost := newReports()
	sendAll(t, l, lost, 10, 10+l.Window())
	p.Cut()
	down(t, l)
	lost.await(t, l.Window(), bridge.ResultLost)
	p.Release()

	again, r2 := connect(t, p), newReports()
	sendAll(t, again, r2, 10, 200)
	r2.await(t, 190, bridge.ResultAcked)
	await(t, "everything arrives", func() bool { return len(firsts(p.Arrived())) >= 200 })
	got := firsts(p.Arrived())
	if !slices.IsSorted(got) {
		t.Errorf("first arrivals are out of order: %v", got)
	}
	if more := len(p.Arrived()) - len(got); more > l.Window() {
		t.Errorf("%d duplicates after one cut, more than the window of %d", more, l.Window())
	}
}

func closeFromReport(t *testing.T, setup Setup) {
	p := setup(t, fast())
	l := connect(t, p)
	if err := l.Send(t.Context(), delivery(0), func(bridge.Outcome) { _ = l.Close() }); err != nil {
		t.Fatal(err)
	}
	l.Flush()
	down(t, l)
}

func connectTwice(t *testing.T, setup Setup) {
	p := setup(t, fast())
	first := connect(t, p)
	second, r := connect(t, p), newReports()
	down(t, first)
	sendAll(t, second, r, 0, 10)
	r.await(t, 10, bridge.ResultAcked)
}

func sendEndsWithContext(t *testing.T, setup Setup) {
	p := setup(t, upstream.Limits{MessagesPerSecond: 0.1, Burst: 1, InFlight: 16})
	l, r := connect(t, p), newReports()
	sendAll(t, l, r, 0, 1)
	r.await(t, 1, bridge.ResultAcked)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if err := l.Send(ctx, delivery(1), func(bridge.Outcome) { t.Error("a send that failed was reported") }); err == nil {
		t.Error("a send waits longer than its context")
	}
	if got := p.Arrived(); len(got) > 1 {
		t.Errorf("a send that failed arrived: %v", got)
	}
}

func connectEndsWithContext(t *testing.T, setup Setup) {
	p := setup(t, fast())
	p.Hold()
	defer p.Release()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	start := time.Now()
	if l, err := p.Sender.Connect(ctx); err == nil {
		_ = l.Close()
		t.Skip("it connects without an answer")
	}
	if d := time.Since(start); d > patience/2 {
		t.Errorf("connect took %v after its context ended", d)
	}
}

func rate(t *testing.T, setup Setup) {
	const perSecond, n = 50, 76
	p := setup(t, upstream.Limits{MessagesPerSecond: perSecond, Burst: 1, InFlight: 16})
	l, r := connect(t, p), newReports()
	start := time.Now()
	sendAll(t, l, r, 0, n)
	r.await(t, n, bridge.ResultAcked)
	d := time.Since(start)
	if least := (n - 1) * time.Second / perSecond; d < least-time.Second/32-10*time.Millisecond { // what a late timer may catch up with
		t.Errorf("%d messages at %d/s took %v, want at least %v", n, perSecond, d, least)
	}
	if d > 10*time.Second {
		t.Errorf("%d messages at %d/s took %v", n, perSecond, d)
	}
}
