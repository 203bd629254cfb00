package upstreamtest

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/ebbgate/ebbgate/bridge"
	"github.com/ebbgate/ebbgate/upstream"
)

// Peer is a sender with its receiver.
type Peer struct {
	Sender bridge.Sender

	// Arrived lists the payloads that the receiver has, as they came,
	// duplicates included.
	Arrived func() []string
	// Hold makes the receiver answer nothing, until Release.
	Hold func()
	// Release ends Hold; what was held is answered.
	Release func()
	// Cut breaks every connection. New ones are taken.
	Cut func()
}

// Setup makes a fresh peer for one test of the suite. The sender keeps to
// limits, connects again within a second after a cut, and is patient with a
// receiver that holds for as long as the test takes.
type Setup func(t *testing.T, limits upstream.Limits) Peer

// patience is how long the suite waits for what must come.
const patience = 20 * time.Second

// reports counts the outcomes of sends.
type reports struct {
	mu     sync.Mutex
	counts map[string]int // per payload
	all    []bridge.Outcome
	change chan struct{}
}

func newReports() *reports {
	return &reports{counts: map[string]int{}, change: make(chan struct{}, 1)}
}

// of makes the report function of one payload.
func (r *reports) of(payload string) func(bridge.Outcome) {
	return func(o bridge.Outcome) {
		r.mu.Lock()
		r.counts[payload]++
		r.all = append(r.all, o)
		r.mu.Unlock()
		select {
		case r.change <- struct{}{}:
		default:
		}
	}
}

func (r *reports) len() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.all)
}

// await waits for n outcomes and demands that each send has one, and that all
// have the result.
func (r *reports) await(t *testing.T, n int, want bridge.Result) {
	t.Helper()
	deadline := time.After(patience)
	for r.len() < n {
		select {
		case <-r.change:
		case <-deadline:
			t.Fatalf("%d of %d outcomes after %v", r.len(), n, patience)
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for payload, count := range r.counts {
		if count != 1 {
			t.Errorf("%s was reported %d times", payload, count)
		}
	}
	for _, o := range r.all {
		if o.Result != want {
			t.Fatalf("an outcome is %+v, want result %d", o, want)
		}
	}
}

// payload is the i-th message's.
func payload(i int) string { return fmt.Sprintf("message-%05d", i) }

// delivery is the i-th message on its first way.
func delivery(i int) *bridge.Delivery {
	r := &bridge.Record{
		Message:   bridge.Message{Topic: "dt/device-1/conformance", Payload: []byte(payload(i)), QoS: 1},
		Origin:    bridge.Origin{Device: "device-1", ID: bridge.MessageID{15: byte(i), 14: byte(i >> 8)}},
		Receivers: []bridge.Receiver{{Queue: "up/test/conformance", Topic: "dt/device-1/conformance", QoS: 1}},
	}
	s := &bridge.Stored{Seq: bridge.Seq(i + 1), Place: bridge.Place(i + 1), Record: r, Receiver: &r.Receivers[0]}
	return &bridge.Delivery{Stored: s, Attempt: 1}
}

// firsts are the first arrivals.
func firsts(arrived []string) []string {
	seen := map[string]bool{}
	var out []string
	for _, p := range arrived {
		if !seen[p] {
			seen[p] = true
			out = append(out, p)
		}
	}
	return out
}

// await polls until ok, since a receiver's arrivals cannot be waited for.
func await(t *testing.T, what string, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(patience)
	for !ok() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("%s: not after %v", what, patience)
		}
	}
}
