package main

import (
	"fmt"
	"log/slog"
	"testing"

	"github.com/ebbgate/ebbgate/bridge"
	"github.com/ebbgate/ebbgate/upstream"
)

// auto opens as many connections as the backlog needs, and of routes that keep to one
// connection each not more than one.
func TestAutoOpensWhatIsOfUse(t *testing.T) {
	t.Parallel()
	s := emptySpool(t)
	var b bridge.Batch
	for i := range 100 {
		for _, q := range []string{"mixed", "other", "plain"} {
			b.Append(&bridge.Record{Message: bridge.Message{Topic: "dt", Payload: []byte(fmt.Sprint(i)), QoS: 1}, Receivers: []bridge.Receiver{{Queue: q, Topic: "dt", QoS: 1}}})
		}
	}
	done := make(chan error, 1)
	s.Commit(&b, func(_ bridge.Seq, err error) { done <- err })
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	mixed, other := bridge.QueueRef{Name: "mixed", Together: "mixed"}, bridge.QueueRef{Name: "other", Together: "other"}
	plain, empty := bridge.QueueRef{Name: "plain"}, bridge.QueueRef{Name: "empty"}
	limits := upstream.Limits{MessagesPerSecond: 0.02} // 100 messages are for nine connections
	for _, c := range []struct {
		queues []bridge.QueueRef
		given  upstream.Connections
		want   int
	}{
		{[]bridge.QueueRef{plain}, upstream.Auto, 8},
		{[]bridge.QueueRef{mixed}, upstream.Auto, 1},
		{[]bridge.QueueRef{mixed, other}, upstream.Auto, 2},
		{[]bridge.QueueRef{mixed, empty}, upstream.Auto, 2},
		{[]bridge.QueueRef{mixed, plain}, upstream.Auto, 8},
		{[]bridge.QueueRef{mixed}, 4, 4},
	} {
		g := &gateway{spool: s, health: new(bridge.Health)}
		pool := upstream.PoolOptions{Connections: c.given, MaxConnections: 8}
		one := &cloud{name: "cloud", upQueues: c.queues, size: upstream.NewSizer(pool, limits)}
		if c.given == upstream.Auto {
			one.spread = upstream.NewSizer(pool, limits)
		}
		one.up = bridge.NewForwarder(bridge.ForwarderConfig{Upstream: "cloud"}, s, nil, unmetered{}, new(bridge.DropLog), g.health, slog.New(slog.DiscardHandler))
		if n := g.connections(one); n != c.want {
			t.Errorf("%+v of %v: %d connections, want %d", c.queues, c.given, n, c.want)
		}
	}
}
