package bridge_test

import (
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/ebbgate/ebbgate/bridge"
)

// A thing that has its own connection, loses it and has it again, all while the cloud
// is away, keeps its order: what is left of the first time goes with the queues of
// all, and what comes now after both, also when it is asked anew after a start.
func TestAThingThatMovesToAndFroKeepsItsOrder(t *testing.T) {
	s := openSpool(t)
	var want []string
	n := 0
	say := func(queue string, times int) {
		for range times {
			put(t, s, queue, "pump", fmt.Sprint(n))
			want = append(want, fmt.Sprint(n))
			n++
		}
	}
	say(ownQueue, 40)
	say(normal, 40)
	last, err := bridge.Inherited(s, ownQueue)
	if err != nil || last != 40 {
		t.Fatalf("up to %d of the thing's queue is old: %v", last, err)
	}
	say(ownQueue, 40)
	if again, err := bridge.Inherited(s, ownQueue); err != nil || again != last {
		t.Fatalf("asked anew it is %d: %v", again, err)
	}
	shared, own := &cloud{window: 10}, &cloud{window: 10}
	var mu sync.Mutex
	var order []string
	answer := func(d *bridge.Delivery) bridge.Outcome {
		mu.Lock()
		defer mu.Unlock()
		order = append(order, string(d.Payload))
		return bridge.Outcome{Result: bridge.ResultAcked}
	}
	shared.answer, own.answer = answer, answer
	gate := bridge.NewSuccession(s, []bridge.Successor{{Queue: ownQueue, Priority: 4, Inherited: last}}, []bridge.Predecessor{{Queue: normal, Priority: 4}}, nil)
	forwarder := func(to *cloud, gate bridge.Gate, queues ...bridge.QueueRef) (stop func()) {
		f := bridge.NewForwarder(bridge.ForwarderConfig{Upstream: "cloud", Queues: queues, Gate: gate},
			s, []bridge.Sender{to}, new(noMeter), new(bridge.DropLog), new(bridge.Health), slog.New(slog.DiscardHandler))
		return running(t, f.Run)
	}
	defer forwarder(own, gate, bridge.QueueRef{Name: ownQueue, Priority: 4})()
	defer forwarder(shared, nil, bridge.QueueRef{Name: normal, Priority: 4}, bridge.QueueRef{Name: ownQueue, Priority: 4, Until: last})()
	reach(t, "all is sent", empty(s, normal, ownQueue))
	mu.Lock()
	defer mu.Unlock()
	if !slices.Equal(order, want) {
		t.Errorf("sent %s", strings.Join(order, " "))
	}
	if v, err := s.Get("own-old", ownQueue); err != nil || v != nil {
		t.Errorf("it is remembered for no use: %q, %v", v, err)
	}
	if err := bridge.ForgetSuccessions(s, func(string) bool { return false }); err != nil {
		t.Fatal(err)
	}
	if last, err = bridge.Inherited(s, ownQueue); err != nil || last != bridge.Place(s.Ledger(ownQueue).Accepted) {
		t.Errorf("when it has moved back and again, up to %d is old: %v", last, err)
	}
}
