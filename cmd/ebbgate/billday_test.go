package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/big"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ebbgate/ebbgate/bridge"
	"github.com/ebbgate/ebbgate/rules"
	"github.com/ebbgate/ebbgate/rules/shape"
	"github.com/ebbgate/ebbgate/spool"
	"github.com/ebbgate/ebbgate/upstream/billing"
)

// taker is a cloud that acknowledges everything at once.
type taker struct {
	done  chan struct{}
	once  sync.Once
	taken atomic.Int64
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
	c.taken.Add(1)
	return nil
}

// G08: 40 sensors, a message a second each, for 30 days.
const (
	daySensors   = 40
	monthSeconds = 30 * 86_400
	monthOfG08   = daySensors * monthSeconds
)

// daySeconds is how much of the day is simulated: forty batches of 21 messages of
// each sensor, and all of it with EBBGATE_SOAK=1.
func daySeconds() int {
	if os.Getenv("EBBGATE_SOAK") == "1" {
		return 86_400
	}
	return 840
}

// simulated is a spool whose clock a test sets.
type simulated struct {
	*spool.Spool
	mu   sync.Mutex
	age  time.Duration
	wall time.Time
}

func (s *simulated) Age() time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.age
}

// now is the meter's clock.
func (s *simulated) now() bridge.Instant {
	s.mu.Lock()
	defer s.mu.Unlock()
	return bridge.Instant{Wall: s.wall, Mono: s.age, Age: s.age, Synced: true}
}

func (s *simulated) set(age time.Duration, wall time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.age, s.wall = age, wall
}

// day is G08's fleet on its way through ingest, steps, spool, forwarder and meter.
type day struct {
	t      *testing.T
	spool  *simulated
	table  *rules.Table
	ingest *bridge.Ingest
	meter  *billing.Meter
	ledger *billing.Ledger
	cloud  *taker
	start  time.Time
	end    func() // of the forwarder
	taken  sync.WaitGroup
}

func newDay(t *testing.T, change func(*rules.UpRoute)) *day {
	t.Helper()
	d := &day{t: t, start: time.Date(2026, 11, 20, 0, 0, 0, 0, time.UTC), cloud: &taker{done: make(chan struct{})}}
	o := spool.DefaultOptions()
	o.Dir, o.Durability = t.TempDir(), "memory" // no power is cut here
	log := slog.New(slog.DiscardHandler)
	s, err := spool.Open(o, spool.Deps{Log: log, Health: new(bridge.Health)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	d.spool = &simulated{Spool: s, wall: d.start}
	ro := rules.DefaultOptions()
	r := rules.DefaultUpRoute()
	r.Name, r.Upstream, r.From, r.Origin = "telemetry", "aws", "dt/#", "none"
	change(&r)
	ro.Up = append(ro.Up, r)
	if d.table, err = rules.Compile(ro); err != nil {
		t.Fatal(err)
	}
	bo := billing.DefaultOptions()
	bo.Region = "us-east-1"
	bo.DeclaredRules = []billing.DeclaredRule{{Topic: "dt/#", Rules: 1, Actions: 1, QoS: "0"}}
	bills := map[string]billing.Options{"aws": bo}
	if d.meter, err = billing.NewMeter(d.spool, bills, d.spool.now); err != nil {
		t.Fatal(err)
	}
	if d.ledger, err = billing.NewLedger(d.spool, bills); err != nil {
		t.Fatal(err)
	}
	d.ingest = bridge.NewIngest(d.spool, rules.NewRouter(d.table), bridge.NewClock(d.spool.Age, nil), d.meter, new(bridge.DropLog))
	f := bridge.NewForwarder(bridge.ForwarderConfig{Upstream: "aws", Queues: []bridge.QueueRef{{Name: bridge.QueueName("up", "aws", "telemetry")}}},
		d.spool, []bridge.Sender{d.cloud}, d.meter, new(bridge.DropLog), new(bridge.Health), log)
	d.end = d.run(f.Run)
	return d
}

// run runs something until it is ended.
func (d *day) run(what func(context.Context) error) (end func()) {
	ctx, cancel := context.WithCancel(d.t.Context())
	ended := make(chan error, 1)
	go func() { ended <- what(ctx) }()
	return func() {
		cancel()
		if err := <-ended; err != nil {
			d.t.Error(err)
		}
	}
}

// shaper runs the route's steps, when it has some.
func (d *day) shaper() (end func()) {
	for _, s := range d.table.Shaped() {
		cfg := bridge.ShaperConfig{Queue: s.Queue, Line: func() bridge.Line { return s.Line(shape.Terms{}) }}
		return d.run(bridge.NewShaper(cfg, d.spool, new(bridge.DropLog), new(bridge.Health), slog.New(slog.DiscardHandler)).Run)
	}
	return func() {}
}

// publish gives the gateway a second of the sensors.
func (d *day) publish(second int) {
	payload := []byte(`{"value":"` + strings.Repeat("1", 240-12) + `"}`)
	for n := range daySensors {
		topic := fmt.Sprintf("dt/plant-7/line-4/temperature/%02d", n) // 32 bytes
		d.taken.Add(1)
		d.ingest.Authorized(&bridge.Principal{ClientID: fmt.Sprintf("sensor-%02d", n)}, &bridge.Message{Topic: topic, Payload: payload, QoS: 1}, nil,
			func(err error) {
				if err != nil {
					d.t.Errorf("%v", err)
				}
				d.taken.Done()
			})
	}
	if second%8 == 7 {
		d.taken.Wait()
	}
}

// await waits for something that is under way.
func (d *day) await(what string, done func() bool) {
	d.t.Helper()
	patience := time.NewTimer(5 * time.Minute)
	defer patience.Stop()
	poll := time.NewTicker(5 * time.Millisecond)
	defer poll.Stop()
	for !done() {
		select {
		case <-poll.C:
		case <-patience.C:
			d.t.Fatal(what)
		}
	}
}

// bill is the day's.
func (d *day) bill() billing.Total {
	d.t.Helper()
	b, err := d.ledger.Bill(billing.Today(d.start))
	if err != nil {
		d.t.Fatal(err)
	}
	return b.Totals[0]
}

// total is the day's bill once all of it has gone, so many of the fleet's messages
// in one.
func (d *day) total(together int) billing.Total {
	d.t.Helper()
	seconds := daySeconds()
	end := d.shaper()
	for second := range seconds {
		at := time.Duration(second) * 24 * time.Hour / time.Duration(seconds)
		d.spool.set(at, d.start.Add(at))
		d.publish(second)
		if second%256 == 255 { // the disk need not hold a day
			d.await("the backlog grows", func() bool {
				return int64(daySensors*second)-d.cloud.taken.Load()*int64(together) < 50_000
			})
		}
	}
	d.taken.Wait()
	full, rest := int64(daySensors*seconds), int64(0)
	if together > 1 { // a batch that has room for a byte goes when the next message does not fit
		full, rest = int64(daySensors*((seconds-1)/together)), daySensors
	}
	d.await("what is full has not gone", func() bool { return d.cloud.taken.Load() >= full })
	// What waits in batches that are not full outlives the steps' end, and goes when
	// it is old enough.
	end()
	d.spool.set(49*time.Hour, d.start.Add(24*time.Hour-time.Second))
	end = d.shaper()
	d.await("the last batches are not billed", func() bool { return d.bill().Messages == full+rest })
	end()
	d.end()
	stopped, stop := context.WithCancel(d.t.Context())
	stop()
	if err := d.meter.Run(stopped); err != nil { // writes the sizes
		d.t.Error(err)
	}
	return d.bill()
}

// aMonth is 30 days of something that was in the simulated time.
func aMonth(n int64) int64 {
	r := new(big.Int).Mul(big.NewInt(n), big.NewInt(monthSeconds))
	rest := new(big.Int)
	if r.QuoRem(r, big.NewInt(int64(daySeconds())), rest); rest.Sign() > 0 {
		return r.Int64() + 1
	}
	return r.Int64()
}

// U4: a simulated day of G08's 40 sensors through ingest, steps, spool, forwarder
// and meter, times 30, costs what billing alone says of the whole month: plain as
// G08, batched as G09, with a rule and its action and by Basic Ingest as G10.
// Forty batches' worth of the day by default, all of it with EBBGATE_SOAK=1.
func TestADayThroughThePipelineIsTheMonthByBilling(t *testing.T) {
	const perBatch = (5120 - 32) / 240                            // 21
	const batches = int64((monthOfG08 + perBatch - 1) / perBatch) // 4,937,143
	// G10 has 1.48 with 21 in a batch of 5,072 B: readings and a topic of 32 B. What is
	// sent is an array of JSON: brackets and commas (22 B), the hops (9 B) and, over
	// MQTT 5, the content type (16 B) make it 5,119 B of G09's 5,120, and
	// "$aws/rules/store/" (17 B) 5,136. Basic Ingest bills no message (M16), but its rule
	// by 5 KB of the processed message (M19), and nobody says that the rule's name is no
	// part of it: were it one, 21 readings would be two units, 2.96. So 20 are sent.
	const perBasic = 20
	const basics = int64(monthOfG08 / perBasic)
	batch := func(r *rules.UpRoute) { r.Steps.Batch.Format, r.Steps.Batch.Age = "json", 24*time.Hour }
	basic := func(r *rules.UpRoute) { r.BasicIngest, r.Retain = "store", "clear" }
	for _, c := range []struct {
		id       string
		change   func(*rules.UpRoute)
		together int
		month    billing.Usage // by billing alone
		messages string        // to the cent
		all      string
	}{
		{"G08 plain", func(*rules.UpRoute) {}, 1, billing.Usage{Messages: monthOfG08, Rules: monthOfG08, Actions: monthOfG08}, "103.68", "134.78"},
		{"G09 batched", batch, perBatch, billing.Usage{Messages: batches, Rules: batches, Actions: batches}, "4.94", "6.42"},
		{"G10 Basic Ingest", basic, 1, billing.Usage{Rules: monthOfG08, Actions: monthOfG08}, "0.00", "31.10"},
		{"G10 batched and Basic Ingest", func(r *rules.UpRoute) { batch(r); basic(r) }, perBasic, billing.Usage{Rules: basics, Actions: basics}, "0.00", "1.56"},
	} {
		t.Run(c.id, func(t *testing.T) {
			cents := func(u billing.Usage) string {
				a, _ := billing.BuiltIn().Cost("us-east-1", u, false)
				return a.Rat().FloatString(2)
			}
			begun := time.Now()
			d := newDay(t, c.change)
			got := d.total(c.together)
			u := got.EstimatedUsage
			piped := billing.Usage{Messages: aMonth(got.Units), Rules: aMonth(u.Rules), Actions: aMonth(u.Actions)}
			t.Logf("%d units, %d rules and %d actions of %d messages in %v; a month of it is %d, %d and %d", got.Units, u.Rules, u.Actions,
				daySensors*daySeconds(), time.Since(begun).Round(time.Second), piped.Messages, piped.Rules, piped.Actions)
			if have, alone := cents(billing.Usage{Messages: piped.Messages}), cents(billing.Usage{Messages: c.month.Messages}); have != alone || alone != c.messages {
				t.Errorf("messages: through the pipeline $%s a month, by billing alone $%s, want $%s", have, alone, c.messages)
			}
			if have, alone := cents(piped), cents(c.month); have != alone || alone != c.all || got.Uncertain != 0 {
				t.Errorf("all: through the pipeline $%s a month, by billing alone $%s, want $%s; %d uncertain", have, alone, c.all, got.Uncertain)
			}
			if c.id == "G08 plain" {
				d.whatIf()
			}
		})
	}
}

// whatIf sends the recorded sizes of the plain day in other ways.
func (d *day) whatIf() {
	d.t.Helper()
	fleet, err := d.ledger.Fleet("aws", d.start, d.start.AddDate(0, 0, 1), d.start.AddDate(0, 0, 1))
	if err != nil {
		d.t.Fatal(err)
	}
	batch := billing.Batch{Limit: 5120}
	array, _ := billing.BatchFormat("json", 240)
	array.Limit = 5120
	for _, c := range []struct {
		id   string
		how  billing.Treatment
		want string // to the cent
	}{
		{"G09 and G10 batched", billing.Treatment{Batch: batch}, "6.42"},
		{"G10 Basic Ingest", billing.Treatment{BasicIngest: true}, "31.10"},
		{"G10 batched and Basic Ingest", billing.Treatment{Batch: batch, BasicIngest: true}, "1.48"},
		{"what the pipeline makes of G09", billing.Treatment{Batch: array}, "6.42"},
		{"what the pipeline makes of G10", billing.Treatment{Batch: array, BasicIngest: true, Prefix: billing.BasicIngestPrefix("store")}, "1.56"},
		{"over MQTT 3.1.1 it is G10", billing.Treatment{Batch: array, BasicIngest: true, Prefix: billing.BasicIngestPrefix("store"), Protocol: billing.ProtocolMQTT3}, "1.48"},
	} {
		u := fleet.Traffic[0].Usage(c.how, 5120, fleet.Rules[0])
		a, _ := billing.BuiltIn().Cost("us-east-1", billing.Usage{Messages: aMonth(u.Messages), Rules: aMonth(u.Rules), Actions: aMonth(u.Actions)}, false)
		if have := a.Rat().FloatString(2); have != c.want || len(fleet.Traffic) != 1 {
			d.t.Errorf("%s: $%s a month, want $%s", c.id, have, c.want)
		}
	}
}
