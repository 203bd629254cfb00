package main

import (
	"context"
	"fmt"
	"log/slog"
	"math/big"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ebbgate/ebbgate/bridge"
	"github.com/ebbgate/ebbgate/rules"
	"github.com/ebbgate/ebbgate/spool"
	"github.com/ebbgate/ebbgate/upstream/billing"
)

// noting is a cloud that takes one message at a time and notes it, the first when it
// is told to.
type noting struct {
	taker
	began, going chan struct{}
	mu           sync.Mutex
	sent         []string // topic and payload
}

func (c *noting) Connect(ctx context.Context) (bridge.Link, error) { return c, ctx.Err() }
func (c *noting) Window() int                                      { return 1 }

func (c *noting) Send(_ context.Context, d *bridge.Delivery, report func(bridge.Outcome)) error {
	if len(c.all()) == 0 {
		close(c.began)
		<-c.going
	}
	c.mu.Lock()
	c.sent = append(c.sent, d.Message.Topic+" "+string(d.Message.Payload))
	c.mu.Unlock()
	report(bridge.Outcome{Result: bridge.ResultAcked, Wire: 40})
	return nil
}

func (c *noting) all() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.sent)
}

// A budget is used up just when a backlog begins to be sent, on routes with live_first:
// what had been accepted before is sent all the same, what comes after is dropped where its priority
// is low and goes before the backlog where it is high, each device in order within the
// live and within the backlog, and delivered and dropped are what was accepted.
func TestBudgetsDropBesideWhatIsLive(t *testing.T) {
	so := spool.DefaultOptions()
	so.Dir, so.Durability = t.TempDir(), "memory" // no power is cut here
	log := slog.New(slog.DiscardHandler)
	opened, err := spool.Open(so, spool.Deps{Log: log, Health: new(bridge.Health)})
	if err != nil {
		t.Fatal(err)
	}
	defer opened.Close()
	start := time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)
	s := &simulated{Spool: opened, wall: start, age: time.Hour}

	o := rules.DefaultOptions()
	for _, r := range []struct {
		name     string
		priority int
	}{{"telemetry", 2}, {"alarms", 7}} {
		u := rules.DefaultUpRoute()
		u.Name, u.Upstream, u.From, u.Priority, u.LiveFirst, u.Origin = r.name, "aws", r.name+"/#", r.priority, true, "none"
		o.Up = append(o.Up, u)
	}
	table, err := rules.Compile(o)
	if err != nil {
		t.Fatal(err)
	}
	drops, err := bridge.OpenDropLog(s, s.now, bridge.DefaultDropLimits())
	if err != nil {
		t.Fatal(err)
	}
	meter, err := billing.NewMeter(s, map[string]billing.Options{"aws": billing.DefaultOptions()}, s.now)
	if err != nil {
		t.Fatal(err)
	}
	spent := billing.Totals{USDMonth: new(big.Rat)}
	b := &budgets{
		Router: rules.NewRouter(table), spool: s, health: new(bridge.Health), now: s.now,
		totals: func(time.Time) (map[string]billing.Totals, error) {
			return map[string]billing.Totals{"aws": spent}, nil
		},
		of: map[string]billing.Options{"aws": {Budgets: []billing.Budget{monthly}}},
	}
	if err := b.open(); err != nil {
		t.Fatal(err)
	}
	ingest := bridge.NewIngest(s, b, bridge.NewClock(s.Age, nil), meter, drops)
	accept := func(when string, n int) {
		for i := range n {
			for _, route := range []string{"telemetry", "alarms"} {
				done := make(chan error, 1)
				ingest.Authorized(&bridge.Principal{ClientID: "pump"}, &bridge.Message{Topic: route + "/pump", Payload: fmt.Appendf(nil, "%s %03d", when, i), QoS: 1}, nil, func(err error) { done <- err })
				if err := <-done; err != nil {
					t.Fatalf("%s %s %d: %v", when, route, i, err)
				}
			}
		}
	}
	const before, after = 300, 200
	accept("before", before)
	cloud := &noting{taker: taker{done: make(chan struct{})}, began: make(chan struct{}), going: make(chan struct{})}
	var queues []bridge.QueueRef
	for _, q := range table.Queues() {
		queues = append(queues, bridge.QueueRef{Name: q.Name, Priority: q.Priority, LiveFirst: q.LiveFirst})
	}
	d, held := &day{t: t}, func() (n int64) {
		for _, q := range queues {
			n += s.Depth(q.Name).Records
		}
		return n
	}
	// In memory a message is acknowledged before it stands in its queue.
	d.await("the backlog is not there", func() bool { return held() == 2*before })
	f := bridge.NewForwarder(bridge.ForwarderConfig{Upstream: "aws", Queues: queues, Weight: 2}, s, []bridge.Sender{cloud}, meter, drops, new(bridge.Health), log)
	end := d.run(f.Run)
	<-cloud.began
	s.set(time.Hour+10*time.Minute, start.Add(10*time.Minute))
	spent.USDMonth = big.NewRat(10, 1)
	b.judge()
	accept("after", after)
	d.await("what is live is not there", func() bool { return held() == 2*before+after })
	close(cloud.going)
	const want = 2*before + after
	d.await("not all of it is sent", func() bool { return len(cloud.all()) >= want })
	d.await("not all of it is released", func() bool { return held() == 0 })
	end()

	sent := cloud.all()
	if len(sent) != want {
		t.Errorf("%d sent, want %d", len(sent), want)
	}
	part := func(prefix string) (out []string) {
		for _, m := range sent {
			if strings.HasPrefix(m, prefix) {
				out = append(out, m)
			}
		}
		return out
	}
	for prefix, n := range map[string]int{"alarms/pump before": before, "alarms/pump after": after, "telemetry/pump before": before, "telemetry/pump after": 0} {
		if got := part(prefix); len(got) != n || !slices.IsSorted(got) {
			t.Errorf("%s: %d, want %d in order: %v", prefix, len(got), n, got)
		}
	}
	last := slices.Index(sent, fmt.Sprintf("alarms/pump after %03d", after-1))
	ahead := 0
	for _, m := range sent[:max(last, 0)] {
		if strings.HasPrefix(m, "alarms/pump before") {
			ahead++
		}
	}
	// Nine live ones go for one of the backlog; some of that were given to the
	// connection before.
	if ahead < after/9-2 || ahead > before/2 {
		t.Errorf("%d of %d alarms of the backlog went before the last live one", ahead, before)
	}
	dropped := int64(0)
	if err := drops.Hours(func(h bridge.DropHour) bool {
		if h.Reason == overBudget {
			dropped += h.Count
		}
		return true
	}); err != nil {
		t.Fatal(err)
	}
	if dropped != after || int64(len(sent))+dropped != 2*(before+after) {
		t.Errorf("%d sent and %d dropped of %d", len(sent), dropped, 2*(before+after))
	}
}
