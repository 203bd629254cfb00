package bridge_test

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"

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

// Dead letters are told of after a restart too, until there are none.
func TestDeadLettersOfAnEarlierRunAreTold(t *testing.T) {
	t.Parallel()
	s, h := openSpool(t), new(bridge.Health)
	dead := bridge.DeadQueue(normal)
	put(t, s, dead, "d", "m")
	c := &cloud{window: 10}
	told := func() bool { return warned(h, "dead-letters-cloud") }
	forward(t, s, c, new(noMeter), h, told)
	if i := slices.IndexFunc(h.Warnings(), func(w bridge.Warning) bool {
		return strings.Contains(w.Text, "1 messages") && strings.Contains(w.Text, "spool ls "+dead)
	}); i < 0 {
		t.Errorf("%v", h.Warnings())
	}
	var b bridge.Batch
	b.ReleaseAs(stored(t, s, dead, 1)[0], bridge.Dropped)
	commit(t, s, &b)
	forward(t, s, c, new(noMeter), h, func() bool { return !told() })
}

// A receiver that ends the connection with a word about the message (its topic, its
// size, its payload) needs no others to compare it with.
func TestRefusedByTheEndOfTheConnection(t *testing.T) {
	t.Parallel()
	s := openSpool(t)
	for _, p := range []string{"poison0", "poison1", "after"} {
		put(t, s, normal, "d", p)
	}
	c := &cloud{window: 10, hangUp: isPoison, how: bridge.ErrRefused}
	forward(t, s, c, new(noMeter), new(bridge.Health), empty(s, normal))
	if got := content(t, s, bridge.DeadQueue(normal)); !slices.Equal(got, []string{"poison0", "poison1"}) {
		t.Errorf("dead letters %q", got)
	}
	if got := c.payloads(); !slices.Equal(got, []string{"after"}) {
		t.Errorf("arrived %q", got)
	}
}

// A receiver that refuses everything for good does not empty a backlog into the dead
// letters: after the first few its route waits.
func TestRefusingEverythingForGoodPauses(t *testing.T) {
	t.Parallel()
	s, h := openSpool(t), new(bridge.Health)
	const sent, most = 60, 20
	putMany(t, s, normal, sent, func(i int) string { return fmt.Sprint("d", i) })
	c := &cloud{window: 1, answer: func(*bridge.Delivery) bridge.Outcome {
		return bridge.Outcome{Result: bridge.ResultRefused, Code: 0x90, Reason: "no such topic"}
	}}
	forward(t, s, c, new(noMeter), h, func() bool { return warned(h, "route-paused-"+normal) })
	if dead := s.Ledger(normal).Moved; dead != most || s.Depth(normal).Records != sent-most {
		t.Errorf("%d dead letters, %d wait", dead, s.Depth(normal).Records)
	}
}
