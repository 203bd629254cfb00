package bridge_test

import (
	"fmt"
	"runtime"
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
	if all, err := bridge.Inherited(s, []string{ownQueue}); err != nil || len(all) > 0 {
		t.Errorf("what is over is inherited: %v, %v", all, err)
	}
	if err := bridge.ForgetSuccessions(s, func(string) bool { return false }); err != nil {
		t.Fatal(err)
	}
	if last := inherited(); last != bridge.Place(s.Ledger(ownQueue).Accepted) {
		t.Errorf("when it has moved back and again, up to %d is old", last)
	}
}

// The connection that ends at a reload may find only then that it need not wait any
// more, and write it down when that is forgotten already, and the next one is asked
// for. It says nothing of the next one, which has to wait.
func TestASuccessionThatComesLateSaysNothingOfTheNext(t *testing.T) {
	t.Parallel()
	s := openSpool(t)
	first := succession(t, s)
	put(t, s, ownQueue, "pump", "1")
	if err := bridge.ForgetSuccessions(s, func(string) bool { return false }); err != nil {
		t.Fatal(err)
	}
	put(t, s, normal, "pump", "2")
	releaseAll(t, s, normal, 1)
	next := succession(t, s)
	opens(t, first)
	put(t, s, normal, "pump", "3")
	put(t, s, ownQueue, "pump", "4")
	stays(t, next, "3 waits in the queue of all")
	stays(t, succession(t, s), "and after one more reload, too")
	releaseAll(t, s, normal, 1)
	releaseAll(t, s, ownQueue, 1)
	opens(t, next)
}

// A panic on the way ends with its connection, and holds nobody up.
func TestSettleAfterAPanic(t *testing.T) {
	t.Parallel()
	s := openSpool(t)
	in := bridge.NewIngest(s, &routing{}, bridge.NewClock(s.Age, nil), new(noMeter), new(bridge.DropLog))
	func() {
		defer func() {
			if recover() == nil {
				t.Error("no panic")
			}
		}()
		in.Authorized(&bridge.Principal{}, &bridge.Message{Topic: "t"}, nil, func(error) {})
	}()
	in.Settle()
}

// routing is a router on whose way to a queue a message can be stopped.
type routing struct{ entered, goOn chan struct{} }

func (r *routing) Up(*bridge.Principal, *bridge.Message) ([]bridge.Receiver, []bridge.Turned, error) {
	close(r.entered)
	<-r.goOn
	return []bridge.Receiver{{Queue: normal}}, nil, nil
}

func (r *routing) Down(string, *bridge.Message) ([]bridge.Receiver, error) { return nil, nil }

// Who settles an ingest finds in its queue what was being routed before.
func TestSettleAwaitsWhatIsBeingRouted(t *testing.T) {
	t.Parallel()
	s := openSpool(t)
	r := &routing{make(chan struct{}), make(chan struct{})}
	in := bridge.NewIngest(s, r, bridge.NewClock(s.Age, nil), new(noMeter), new(bridge.DropLog))
	done := make(chan error, 1)
	go in.Authorized(&bridge.Principal{}, &bridge.Message{Topic: "t"}, nil, func(err error) { done <- err })
	<-r.entered
	var there [2]chan int64
	for i := range there { // a second that comes meanwhile waits for the same
		there[i] = make(chan int64, 1)
		go func() {
			in.Settle()
			there[i] <- s.Ledger(normal).Accepted
		}()
	}
	for range 100 {
		runtime.Gosched()
	}
	close(r.goOn)
	for i := range there {
		if n := <-there[i]; n != 1 {
			t.Errorf("settled with %d messages in the queue", n)
		}
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
}
