package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/ebbgate/ebbgate/bridge"
	"github.com/ebbgate/ebbgate/rules"
	"github.com/ebbgate/ebbgate/spool"
	"github.com/ebbgate/ebbgate/upstream/billing"
)

// taker is a cloud that acknowledges everything at once.
type taker struct {
	done chan struct{}
	once sync.Once
}

func (c *taker) Connect(ctx context.Context) (bridge.Link, error) { return c, ctx.Err() }
func (c *taker) Window() int                                      { return 100 }
func (c *taker) Flush()                                           {}
func (c *taker) Done() <-chan struct{}                            { return c.done }

func (c *taker) Err() error {
	select {
	case <-c.done:
		return errors.New("closed")
	default:
		return nil
	}
}

func (c *taker) Close() error {
	c.once.Do(func() { close(c.done) })
	return nil
}

func (c *taker) Send(_ context.Context, _ *bridge.Delivery, report func(bridge.Outcome)) error {
	report(bridge.Outcome{Result: bridge.ResultAcked, Wire: 290})
	return nil
}

// U4: a simulated day of G08's 40 sensors through ingest, spool, forwarder and
// meter, times 30, costs what billing alone says of the month, with G10's rule
// and action; and its recorded sizes, batched and by Basic Ingest, what G09 and
// G10 say. A hundredth of the day by default, all of it with EBBGATE_SOAK=1.
func TestADayThroughThePipelineIsTheMonthByBilling(t *testing.T) {
	seconds := 864
	if os.Getenv("EBBGATE_SOAK") == "1" {
		seconds = 86_400
	}
	const sensors, month = 40, 40 * 86_400 * 30
	o := spool.DefaultOptions()
	o.Dir, o.Durability = t.TempDir(), "memory" // no power is cut here
	log := slog.New(slog.DiscardHandler)
	s, err := spool.Open(o, spool.Deps{Log: log, Health: new(bridge.Health)})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	ro := rules.DefaultOptions()
	r := rules.DefaultUpRoute()
	r.Name, r.Upstream, r.From, r.Origin = "telemetry", "aws", "dt/#", "none"
	ro.Up = append(ro.Up, r)
	table, err := rules.Compile(ro)
	if err != nil {
		t.Fatal(err)
	}
	bo := billing.DefaultOptions()
	bo.Region = "us-east-1"
	bo.DeclaredRules = []billing.DeclaredRule{{Topic: "dt/#", Rules: 1, Actions: 1, QoS: "0"}}
	bills := map[string]billing.Options{"aws": bo}

	day := time.Date(2026, 11, 20, 0, 0, 0, 0, time.UTC)
	var mu sync.Mutex
	at := bridge.Instant{Wall: day, Synced: true}
	now := func() bridge.Instant {
		mu.Lock()
		defer mu.Unlock()
		return at
	}
	meter, err := billing.NewMeter(s, bills, now)
	if err != nil {
		t.Fatal(err)
	}
	ingest := bridge.NewIngest(s, rules.NewRouter(table), bridge.NewClock(s.Age, nil), meter, new(bridge.DropLog))
	f := bridge.NewForwarder(bridge.ForwarderConfig{Upstream: "aws", Queues: []bridge.QueueRef{{Name: bridge.QueueName("up", "aws", "telemetry")}}},
		s, []bridge.Sender{&taker{done: make(chan struct{})}}, meter, new(bridge.DropLog), new(bridge.Health), log)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- f.Run(ctx) }()

	payload := make([]byte, 240)
	var taken sync.WaitGroup
	for second := range seconds {
		mu.Lock()
		at.Wall = day.Add(time.Duration(second) * 24 * time.Hour / time.Duration(seconds))
		at.Mono = time.Duration(second) * 24 * time.Hour / time.Duration(seconds)
		mu.Unlock()
		for n := range sensors {
			topic := fmt.Sprintf("dt/plant-7/line-4/temperature/%02d", n) // 32 bytes
			taken.Add(1)
			ingest.Authorized(&bridge.Principal{ClientID: fmt.Sprintf("sensor-%02d", n)}, &bridge.Message{Topic: topic, Payload: payload, QoS: 1}, nil,
				func(err error) {
					if err != nil {
						t.Errorf("%v", err)
					}
					taken.Done()
				})
		}
		if second%8 == 7 {
			taken.Wait()
		}
	}
	taken.Wait()
	ledger, err := billing.NewLedger(s, bills)
	if err != nil {
		t.Fatal(err)
	}
	messages := int64(sensors * seconds)
	total := func() billing.Total {
		b, err := ledger.Bill(billing.Today(day))
		if err != nil {
			t.Fatal(err)
		}
		return b.Totals[0]
	}
	patience := time.NewTimer(time.Minute)
	defer patience.Stop()
	poll := time.NewTicker(20 * time.Millisecond)
	defer poll.Stop()
	for total().Units < messages {
		select {
		case <-poll.C:
		case <-patience.C:
			t.Fatalf("%d units of %d messages", total().Units, messages)
		}
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	stopped, stop := context.WithCancel(t.Context())
	stop()
	if err := meter.Run(stopped); err != nil { // writes the sizes
		t.Error(err)
	}

	days := int64(30 * 86_400 / seconds) // of this length in a month
	got := total()
	priced := func(u billing.Usage) string {
		a, _ := billing.BuiltIn().Cost("us-east-1", u, false)
		return a.String()
	}
	if have, want := priced(billing.Usage{Messages: got.Units * days}), priced(billing.Usage{Messages: month}); have != want || want != "103.680000" {
		t.Errorf("G08: a day through the pipeline makes $%s a month, billing alone $%s", have, want)
	}
	all := billing.Usage{Messages: got.Units * days, Rules: got.EstimatedUsage.Rules * days, Actions: got.EstimatedUsage.Actions * days}
	if have := priced(all); have != "134.784000" || got.Uncertain != 0 {
		t.Errorf("G10: $%s a month, %d uncertain", have, got.Uncertain)
	}
	fleet, err := ledger.Fleet("aws", day, day.AddDate(0, 0, 1), day.AddDate(0, 0, 1))
	if err != nil {
		t.Fatal(err)
	}
	batch := billing.Batch{Limit: 5120}
	for _, c := range []struct {
		id   string
		how  billing.Treatment
		want string // to the cent
	}{
		{"G09 and G10 batched", billing.Treatment{Batch: batch}, "6.42"},
		{"G10 Basic Ingest", billing.Treatment{BasicIngest: true}, "31.10"},
		{"G10 batched and Basic Ingest", billing.Treatment{Batch: batch, BasicIngest: true}, "1.48"},
	} {
		u := fleet.Traffic[0].Usage(c.how, 5120, fleet.Rules[0])
		a, _ := billing.BuiltIn().Cost("us-east-1", billing.Usage{Messages: u.Messages * days, Rules: u.Rules * days, Actions: u.Actions * days}, false)
		if have := a.Rat().FloatString(2); have != c.want || len(fleet.Traffic) != 1 {
			t.Errorf("%s: $%s a month, want $%s", c.id, have, c.want)
		}
	}
}
