package bridge_test

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ebbgate/ebbgate/bridge"
	"github.com/ebbgate/ebbgate/internal/peers"
)

// slowLink acknowledges when it is told to.
type slowLink struct {
	*cloudLink
	acks chan struct{}
}

type slowCloud struct {
	*cloud
	acks chan struct{}
}

func (c slowCloud) Connect(ctx context.Context) (bridge.Link, error) {
	l, err := c.cloud.Connect(ctx)
	if err != nil {
		return nil, err
	}
	return &slowLink{l.(*cloudLink), c.acks}, nil
}

func (l *slowLink) Send(ctx context.Context, d *bridge.Delivery, report func(bridge.Outcome)) error {
	return l.cloudLink.Send(ctx, d, func(o bridge.Outcome) {
		select {
		case <-l.acks:
			report(o)
		case <-l.done:
			report(bridge.Outcome{Result: bridge.ResultLost})
		}
	})
}

// What an operator gives up while it waits on a connection to be sent is not sent.
func TestWhatIsGivenUpWhileItWaitsIsNotSent(t *testing.T) {
	t.Parallel()
	s, drops := openSpool(t), new(bridge.DropLog)
	c := slowCloud{&cloud{window: 1}, make(chan struct{})}
	f := bridge.NewForwarder(bridge.ForwarderConfig{Upstream: "cloud", Queues: []bridge.QueueRef{{Name: normal}}}, s, []bridge.Sender{c}, new(noMeter), drops, new(bridge.Health), slog.New(slog.DiscardHandler))
	end := peers.Run(t, f.Run)
	putMany(t, s, normal, 10, func(int) string { return "d" })
	state := func() string { return fmt.Sprintf("%+v, %+v", f.Stats(), s.Ledger(normal)) }
	await(t, state, func() bool { return len(c.payloads()) == 1 })
	for _, r := range stored(t, s, normal, 10)[5:8] {
		var b bridge.Batch
		b.ReleaseAs(r, bridge.Dropped)
		commit(t, s, &b)
		drops.Committed("an operator", normal, r.Place)
	}
	for i := range 7 { // two rounds of the forwarder, at least, before what was given up
		c.acks <- struct{}{}
		await(t, state, func() bool { return s.Ledger(normal).Delivered == int64(i+1) })
	}
	await(t, state, empty(s, normal))
	end()
	if got, want := strings.Join(c.payloads(), " "), "0 1 2 3 4 8 9"; got != want {
		t.Errorf("arrived %s, want %s", got, want)
	}
}

// The same of what was read for a connection that has no room for it.
func TestWhatIsGivenUpWhenItWasReadIsNotSent(t *testing.T) {
	t.Parallel()
	for dropped := 31; dropped < 36; dropped++ { // one is on its way, and 32 wait
		t.Run(fmt.Sprint(dropped), inNoTime(func(t *testing.T) {
			s, drops := openUnsynced(t), new(bridge.DropLog)
			c := &cloud{window: 1, after: 10 * time.Second}
			f := bridge.NewForwarder(bridge.ForwarderConfig{Upstream: "cloud", Queues: []bridge.QueueRef{{Name: normal}}}, s, []bridge.Sender{c}, new(noMeter), drops, new(bridge.Health), slog.New(slog.DiscardHandler))
			end := peers.Run(t, f.Run)
			putMany(t, s, normal, 40, func(int) string { return "d" })
			<-time.After(5 * time.Second)
			var b bridge.Batch
			b.ReleaseAs(stored(t, s, normal, 40)[dropped], bridge.Dropped)
			commit(t, s, &b)
			drops.Committed("an operator", normal, bridge.Place(dropped+1))
			await(t, func() string { return fmt.Sprintf("%+v, %+v", f.Stats(), s.Ledger(normal)) }, empty(s, normal))
			end()
			if got := c.payloads(); len(got) != 39 || slices.Contains(got, fmt.Sprint(dropped)) {
				t.Errorf("arrived %v", got)
			}
		}))
	}
}

// Dead letters of an earlier run are told, until there are none; of those of this run
// it is told why.
func TestDeadLettersOfAnEarlierRunAreTold(t *testing.T) {
	inNoTime(testDeadLettersOfAnEarlierRunAreTold)(t)
}

func testDeadLettersOfAnEarlierRunAreTold(t *testing.T) {
	s, h := openUnsynced(t), new(bridge.Health)
	dead := bridge.DeadQueue(normal)
	putMany(t, s, dead, 1, func(int) string { return "d" })
	c := &cloud{window: 10, answer: func(*bridge.Delivery) bridge.Outcome {
		return bridge.Outcome{Result: bridge.ResultRefused, Code: 0x90}
	}}
	f, end := startWith(t, bridge.ForwarderConfig{Upstream: "cloud", Queues: []bridge.QueueRef{{Name: alarms}, {Name: normal}}}, s, []bridge.Sender{c}, h)
	state := func() string { return fmt.Sprintf("%+v, %v", f.Stats(), h.Warnings()) }
	told := func(what string) bool {
		return slices.ContainsFunc(h.Warnings(), func(w bridge.Warning) bool {
			return w.Code == "dead-letters-cloud" && strings.Contains(w.Text, what) && strings.Contains(w.Text, "spool ls "+dead)
		})
	}
	for n := 1; n <= 2; n++ {
		await(t, state, func() bool { return told(fmt.Sprint(n, " messages")) })
		var b bridge.Batch
		for _, r := range stored(t, s, dead, n) {
			b.ReleaseAs(r, bridge.Dropped)
		}
		commit(t, s, &b)
		await(t, state, func() bool { return len(h.Warnings()) == 0 })
		putMany(t, s, dead, n+1, func(int) string { return "d" })
	}
	put(t, s, normal, "d", "bad")
	await(t, state, func() bool { return told("refused with 0x90") })
	<-time.After(3 * time.Second)
	if !told("refused with 0x90") {
		t.Errorf("%v", h.Warnings())
	}
	end()
}

// A route that is paused is tried with its oldest message after half a minute, a minute
// and so on. What was denied for the whole grace, that of an earlier run with it, is a
// dead letter.
func TestWhatIsDeniedForTheGrace(t *testing.T) { inNoTime(testWhatIsDeniedForTheGrace)(t) }

func testWhatIsDeniedForTheGrace(t *testing.T) {
	s, h := openUnsynced(t), new(bridge.Health)
	put(t, s, normal, "d", "denied")
	put(t, s, normal, "d", "after")
	var gaps []time.Duration
	latest := time.Now()
	c := &cloud{window: 1, answer: func(d *bridge.Delivery) bridge.Outcome {
		if string(d.Payload) != "denied" {
			return bridge.Outcome{Result: bridge.ResultAcked}
		}
		gaps, latest = append(gaps, time.Since(latest).Round(time.Second)), time.Now()
		return bridge.Outcome{Result: bridge.ResultDenied, Code: 0x87}
	}}
	cfg := bridge.ForwarderConfig{Upstream: "cloud", Queues: []bridge.QueueRef{{Name: normal}}, RefusalGrace: 20 * time.Minute}
	_, end := startWith(t, cfg, s, []bridge.Sender{c}, h)
	<-time.After(12 * time.Minute)
	end()
	if got := fmt.Sprint(gaps); got != "[0s 30s 1m0s 2m0s 4m0s]" {
		t.Errorf("tried after %s", got)
	}
	_, end = startWith(t, cfg, s, []bridge.Sender{c}, h)
	<-time.After(18 * time.Minute) // in all more than the grace, and than a pause
	if l := s.Ledger(normal); l.Moved != 1 {
		t.Errorf("%+v, %v", l, h.Warnings())
	}
	<-time.After(10 * time.Minute) // the route is tried with the next
	end()
	if l := s.Ledger(normal); l.Delivered != 1 || warned(h, "route-paused-"+normal) {
		t.Errorf("%+v, %v", l, h.Warnings())
	}
}

// A receiver that ends the connection with a word about the message (its topic, its
// size, its payload) needs no others to compare it with: it is the one that goes alone,
// and none that was on its way beside it.
func TestRefusedByTheEndOfTheConnection(t *testing.T) {
	t.Parallel()
	for _, others := range []int{0, 50} {
		t.Run(fmt.Sprint(others, " others"), inNoTime(func(t *testing.T) {
			s := openUnsynced(t)
			putMany(t, s, normal, others, func(i int) string { return fmt.Sprint("d", i%5) })
			for _, p := range []string{"poison0", "poison1", "after"} {
				put(t, s, normal, "d", p)
			}
			putMany(t, s, normal, others, func(i int) string { return fmt.Sprint("d", i%5) })
			c := &cloud{window: 10, after: 100 * time.Millisecond, hangUp: isPoison, how: bridge.ErrRefused}
			forward(t, s, c, new(noMeter), new(bridge.Health), empty(s, normal))
			if got := content(t, s, bridge.DeadQueue(normal)); !slices.Equal(got, []string{"poison0", "poison1"}) {
				t.Errorf("dead letters %q", got)
			}
			if l := s.Ledger(normal); l.Delivered != int64(2*others+1) {
				t.Errorf("%+v", l)
			}
		}))
	}
}

// A request that ends the connection because it is denied stops no others.
func TestARequestThatIsDeniedByTheEnd(t *testing.T) { inNoTime(testARequestThatIsDeniedByTheEnd)(t) }

func testARequestThatIsDeniedByTheEnd(t *testing.T) {
	s, h := openUnsynced(t), new(bridge.Health)
	put(t, s, normal, "a", "poison")
	putMany(t, s, normal, 20, func(i int) string { return fmt.Sprint("d", i%5) })
	c := &cloud{window: 10, hangUp: isPoison, how: bridge.ErrDenied}
	queues := []bridge.QueueRef{{Name: normal, Requests: true}}
	forwardFrom(t, queues, s, c, new(noMeter), new(bridge.DropLog), h, empty(s, normal))
	if got := content(t, s, bridge.DeadQueue(normal)); !slices.Equal(got, []string{"poison"}) || warned(h, "route-paused-"+normal) {
		t.Errorf("dead letters %q, %v", got, h.Warnings())
	}
}

// A receiver that refuses everything for good does not empty a backlog into the dead
// letters: after the first few its route waits. What it takes in between shows that it
// is the messages, but not what is only written; and of requests each stands for itself.
func TestRefusingEverythingForGoodPauses(t *testing.T) {
	t.Parallel()
	const sent, most = 60, 20
	for _, c := range []struct {
		name     string
		qos      byte // of every fifteenth, which is taken
		taken    bool
		requests bool
		dead     int64
	}{
		{name: "everything", qos: 1, dead: most},
		{name: "others are taken", qos: 1, taken: true, dead: sent - sent/15},
		{name: "others are written", qos: 0, taken: true, dead: most},
		{name: "requests", qos: 1, requests: true, dead: sent},
	} {
		t.Run(c.name, inNoTime(func(t *testing.T) {
			s, h := openSpool(t), new(bridge.Health)
			var b bridge.Batch
			for i := range sent {
				r := &bridge.Record{
					Message:   bridge.Message{Topic: "dt", Payload: []byte(fmt.Sprint(i)), QoS: 1},
					Origin:    bridge.Origin{Device: fmt.Sprint("d", i), Instant: bridge.Instant{Age: s.Age()}},
					Receivers: []bridge.Receiver{{Queue: normal, Topic: "dt", QoS: 1}},
				}
				if i%15 == 14 {
					r.Device, r.Receivers[0].QoS = "good", c.qos
				}
				b.Append(r)
			}
			commit(t, s, &b)
			var mended atomic.Bool
			to := &cloud{window: 1, answer: func(d *bridge.Delivery) bridge.Outcome {
				if mended.Load() || c.taken && d.Device == "good" {
					return bridge.Outcome{Result: bridge.ResultAcked}
				}
				return bridge.Outcome{Result: bridge.ResultRefused, Code: 0x90, Reason: "no such topic"}
			}}
			queues := []bridge.QueueRef{{Name: normal, Requests: c.requests}}
			f, end := startWith(t, bridge.ForwarderConfig{Upstream: "cloud", Queues: queues}, s, []bridge.Sender{to}, h)
			state := func() string { return fmt.Sprintf("%+v, %+v", f.Stats(), s.Ledger(normal)) }
			paused := func() bool { return warned(h, "route-paused-"+normal) }
			await(t, state, func() bool { return paused() || empty(s, normal)() })
			if dead := s.Ledger(normal).Moved; dead != c.dead || paused() != (c.dead == most) {
				t.Errorf("%d dead letters, want %d; paused %v", dead, c.dead, paused())
			}
			mended.Store(true) // the next that the route is tried with is taken
			await(t, state, func() bool { return empty(s, normal)() && !paused() })
			end()
		}))
	}
}
