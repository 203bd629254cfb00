package bridge_test

import (
	"fmt"
	"testing"

	"github.com/ebbgate/ebbgate/bridge"
)

// A thing that has its own connection, loses it and has it again, all while the cloud
// is away, keeps its order: what is left of the first time goes with the queues of
// all, and what comes now after both, also when it is asked anew after a start.
func TestAThingThatMovesToAndFroKeepsItsOrder(t *testing.T) {
	t.Parallel()
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
	inherited := func() bridge.Place {
		t.Helper()
		all, err := bridge.Inherited(s, []string{ownQueue, "up/cloud/new@pump"})
		if err != nil || len(all) != 1 {
			t.Fatalf("%v, %v", all, err)
		}
		return all[ownQueue]
	}
	last := inherited()
	if last != 40 {
		t.Fatalf("up to %d of the thing's queue is old", last)
	}
	say(ownQueue, 40)
	if again := inherited(); again != last {
		t.Fatalf("asked anew it is %d", again)
	}
	var sent sentBy
	shared, own := sent.cloud(), sent.cloud()
	gate := bridge.NewSuccession(s, []bridge.Successor{{Queue: ownQueue, Priority: 4, Inherited: last}}, []bridge.Predecessor{{Queue: normal, Priority: 4}}, nil)
	defer forwarder(t, s, own, gate, bridge.QueueRef{Name: ownQueue, Priority: 4})()
	defer forwarder(t, s, shared, nil, bridge.QueueRef{Name: normal, Priority: 4}, bridge.QueueRef{Name: ownQueue, Priority: 4, Until: last})()
	reach(t, "all is sent", empty(s, normal, ownQueue))
	sent.expect(t, want)
	if v, err := s.Get("own-old", ownQueue); err != nil || v != nil {
		t.Errorf("it is remembered for no use: %q, %v", v, err)
	}
	if err := bridge.ForgetSuccessions(s, func(string) bool { return false }); err != nil {
		t.Fatal(err)
	}
	if last := inherited(); last != bridge.Place(s.Ledger(ownQueue).Accepted) {
		t.Errorf("when it has moved back and again, up to %d is old", last)
	}
}
