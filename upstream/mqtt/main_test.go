package mqtt

import (
	"context"
	"log/slog"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/eclipse/paho.golang/packets"
	"github.com/eclipse/paho.golang/paho"
	"go.uber.org/goleak"

	"github.com/ebbgate/ebbgate/bridge"
	"github.com/ebbgate/ebbgate/upstream"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience is how long tests wait for what must come.
const patience = 20 * time.Second

func discard() *slog.Logger { return slog.New(slog.DiscardHandler) }

// quick are options without limits and with short waits, to addr.
func quick(addr string) Options {
	o := DefaultOptions()
	o.Endpoint = "mqtt://" + addr
	o.Limits = upstream.Limits{Burst: 1, InFlight: 100}
	o.Backoff = upstream.BackoffOptions{Base: time.Millisecond, Max: 20 * time.Millisecond, Floor: time.Millisecond}
	return o
}

// delivery is a message with its route.
func delivery(topic string, payload []byte, change ...func(*bridge.Record)) *bridge.Delivery {
	r := &bridge.Record{
		Message:   bridge.Message{Topic: topic, Payload: payload, QoS: 1},
		Origin:    bridge.Origin{Device: "device-1"},
		Receivers: []bridge.Receiver{{Queue: "up/test/route", Topic: topic, QoS: 1}},
	}
	for _, f := range change {
		f(r)
	}
	return &bridge.Delivery{Stored: &bridge.Stored{Seq: 1, Place: 1, Record: r, Receiver: &r.Receivers[0]}, Attempt: 1}
}

// eager flushes after each Send, for tests that await what they have sent.
type eager struct{ bridge.Link }

func (l eager) Send(ctx context.Context, d *bridge.Delivery, report func(bridge.Outcome)) error {
	err := l.Link.Send(ctx, d, report)
	l.Flush()
	return err
}

// connect makes an uplink and its link, which the test closes.
func connect(t testing.TB, o Options, hooks upstream.Hooks) bridge.Link {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	l, err := NewUplink(o, "gateway", discard(), hooks).Connect(ctx)
	if err != nil {
		t.Fatalf("connect: %v", err)
	}
	t.Cleanup(func() {
		_ = l.Close()
		receive(t, l.Done(), "the link goes down")
	})
	return eager{l}
}

// receive waits for a channel.
func receive[T any](t testing.TB, from <-chan T, what string) T {
	t.Helper()
	select {
	case v := <-from:
		return v
	case <-time.After(patience):
		t.Fatalf("%s: not after %v", what, patience)
		panic("unreachable")
	}
}

// send sends one delivery and waits for its outcome.
func send(t testing.TB, l bridge.Link, d *bridge.Delivery) bridge.Outcome {
	t.Helper()
	outcome := make(chan bridge.Outcome, 2)
	if err := l.Send(t.Context(), d, func(o bridge.Outcome) { outcome <- o }); err != nil {
		t.Fatalf("send: %v", err)
	}
	return receive(t, outcome, "the outcome comes")
}

// subscriber is a client of another make that notes what it receives.
type subscriber struct {
	mu  sync.Mutex
	got []*packets.Publish
}

func subscribe(t testing.TB, addr, filter string) *subscriber {
	t.Helper()
	s := &subscriber{}
	nc, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	c := paho.NewClient(paho.ClientConfig{Conn: nc, OnPublishReceived: []func(paho.PublishReceived) (bool, error){
		func(r paho.PublishReceived) (bool, error) {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.got = append(s.got, r.Packet.Packet())
			return true, nil
		},
	}})
	if _, err := c.Connect(t.Context(), &paho.Connect{ClientID: "subscriber", KeepAlive: 60, CleanStart: true}); err != nil {
		t.Fatalf("connect the subscriber: %v", err)
	}
	t.Cleanup(func() { _ = c.Disconnect(&paho.Disconnect{}) })
	if _, err := c.Subscribe(t.Context(), &paho.Subscribe{Subscriptions: []paho.SubscribeOptions{{Topic: filter, QoS: 1}}}); err != nil {
		t.Fatalf("subscribe: %v", err)
	}
	return s
}

func (s *subscriber) arrived() []*packets.Publish {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]*packets.Publish(nil), s.got...)
}

func (s *subscriber) payloads() []string {
	var out []string
	for _, p := range s.arrived() {
		out = append(out, string(p.Payload))
	}
	return out
}

// await polls until ok, for what cannot be waited for.
func await(t testing.TB, what string, ok func() bool) {
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
