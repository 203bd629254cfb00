package billing

import (
	"fmt"
	"testing"
	"time"

	"github.com/ebbgate/ebbgate/bridge"
)

func newMeter(t *testing.T, spool bridge.Spool, o Options, c *wallClock) *Meter {
	t.Helper()
	m, err := NewMeter(spool, map[string]Options{"aws": o}, c.now)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func frankfurt() Options {
	o := DefaultOptions()
	o.Region = "eu-central-1"
	return o
}

func TestMeterCountsWhatCrossed(t *testing.T) {
	spool, clock := newMemory(), &wallClock{}
	clock.set("2026-11-20 13:59")
	m := newMeter(t, spool, frankfurt(), clock)

	var b bridge.Batch
	for range 3 {
		m.Delivered(&b, "aws", stored("pump", "dt/line/a", 100), bridge.Outcome{Wire: 160})
	}
	m.Delivered(&b, "aws", stored("pump", "dt/line/b", 6000), bridge.Outcome{Wire: 6060})
	m.Uncertain(&b, "aws", stored("pump", "dt/line/b", 6000), bridge.Outcome{})
	if len(b.Adds) != 5 {
		t.Errorf("%d changes for one series, want its 5 counters", len(b.Adds))
	}
	clock.set("2026-11-20 14:00")
	m.Received(&b, "aws", &bridge.Message{Topic: "cmd/a", Payload: make([]byte, 5116), QoS: 1}, 5130)
	m.Received(&b, "aws", &bridge.Message{Topic: "cmd/a", Payload: make([]byte, 5115), QoS: 0}, 5120)
	spool.Commit(&b, nil)

	l := newLedger(t, spool, map[string]Options{"aws": frankfurt()})
	bill, err := l.Bill(Today(clock.Wall))
	if err != nil {
		t.Fatal(err)
	}
	want := []Line{
		{Upstream: "aws", Direction: Up, Device: "pump", Topic: "dt/line", Counts: Counts{Units: 5, Uncertain: 2, Messages: 4, Wire: 6540, Bytes: 6372}, USD: "0.000006000"},
		{Upstream: "aws", Direction: Down, Topic: "cmd/a", Counts: Counts{Units: 4, Messages: 2, Wire: 10250, Bytes: 10241, Acks: 1, Other: 1}, USD: "0.000004800"},
	}
	for i := range bill.Lines {
		bill.Lines[i].cost, bill.Lines[i].Hidden = nil, ""
	}
	if fmt.Sprint(bill.Lines) != fmt.Sprint(want) {
		t.Errorf("lines\n%+v, want\n%+v", bill.Lines, want)
	}
	tot := bill.Totals[0]
	if tot.Units != 9 || tot.Uncertain != 2 || tot.USD != "0.000011" || tot.USDUncertain != "0.000002" || tot.PriceStatus != "sourced" {
		t.Errorf("total %+v", tot)
	}
}

func TestMeterBillsWhatIsSentNotWhatCameIn(t *testing.T) {
	spool, clock := newMemory(), &wallClock{}
	clock.set("2026-11-20 13:00")
	m := newMeter(t, spool, frankfurt(), clock)
	s := stored("pump", "dt/line/a", 5000) // one unit as it came; 2 with its origin (G15)
	s.Receiver.Origin = bridge.OriginUserProperties
	var b bridge.Batch
	m.Delivered(&b, "aws", s, bridge.Outcome{})
	if got := b.Adds[0].Delta; got != 2 {
		t.Errorf("%d units, want 2", got)
	}
}

func TestLedgerBoundsNamesAcrossRestarts(t *testing.T) {
	spool, clock := newMemory(), &wallClock{}
	clock.set("2026-11-20 13:00")
	o := frankfurt()
	o.MaxDevices, o.MaxPrefixes = 3, 2
	for start := range 3 {
		m := newMeter(t, spool, o, clock)
		for d := range 10 {
			for p := range 10 {
				var b bridge.Batch
				m.Delivered(&b, "aws", stored(fmt.Sprintf("dev-%d-%d", start, d), fmt.Sprintf("dt/%d/x", p), 10), bridge.Outcome{})
				spool.Commit(&b, nil)
			}
		}
	}
	bill, err := newLedger(t, spool, map[string]Options{"aws": o}).Bill(Today(clock.Wall))
	if err != nil {
		t.Fatal(err)
	}
	if n := bill.Totals[0].Units; n != 300 {
		t.Errorf("%d units, want all 300", n)
	}
	if n, bound := len(bill.Lines), (o.MaxDevices+1)*(o.MaxPrefixes+1); n > bound {
		t.Errorf("%d series, want at most %d", n, bound)
	}
}

func TestHoursThatNoClockVouchesFor(t *testing.T) {
	spool, clock := newMemory(), &wallClock{}
	m := newMeter(t, spool, frankfurt(), clock)
	bill := func(at string, synced bool) *Bill {
		clock.set(at)
		clock.Synced = synced
		var b bridge.Batch
		m.Delivered(&b, "aws", stored("pump", "dt/a", 10), bridge.Outcome{})
		spool.Commit(&b, nil)
		bill, err := newLedger(t, spool, map[string]Options{"aws": frankfurt()}).Bill(Today(time.Date(2026, 11, 20, 1, 0, 0, 0, time.UTC)))
		if err != nil {
			t.Fatal(err)
		}
		return bill
	}
	if b := bill("1970-01-01 00:05", true); b.Unknown.Units != 1 || b.Totals[0].Units != 0 {
		t.Errorf("1970: unknown %+v, total %+v", b.Unknown, b.Totals[0])
	}
	if b := bill("2026-11-20 10:00", false); b.Totals[0].Units != 1 || b.Totals[0].Unsynchronised != 1 {
		t.Errorf("unsynchronised: %+v", b.Totals[0])
	}
	if b := bill("2026-11-20 10:00", true); b.Totals[0].Units != 2 || b.Totals[0].Unsynchronised != 1 {
		t.Errorf("synchronised: %+v", b.Totals[0])
	}
}

// A pace is told from whole minutes, and from none until ten have been seen: the
// first minutes of a start are reconnects and replay.
func TestPaceIsOfTheLastHour(t *testing.T) {
	clock := &wallClock{}
	clock.set("2026-11-20 10:00")
	clock.Mono = 30 * time.Second
	m := newMeter(t, newMemory(), frankfurt(), clock)
	deliver := func(n int) {
		var b bridge.Batch
		for range n {
			m.Delivered(&b, "aws", stored("pump", "dt/a", 10), bridge.Outcome{})
		}
	}
	deliver(5000) // the minute that was not seen from its beginning
	clock.Mono += 30 * time.Second
	for minute := range 90 { // one a second
		if got, want := m.Pace("aws"), min(minute, 60); got.Window != time.Duration(want)*time.Minute || got.Units != int64(60*want) || got.Low != got.Units || got.High != got.Units {
			t.Fatalf("after %s: %+v, want %d units in %d minutes", clock.Mono, got, 60*want, want)
		} else if why, ok := got.Enough(); ok != (minute >= 10) || ok != (why == "") {
			t.Fatalf("after %d minutes: enough is %v (%s)", minute, ok, why)
		}
		deliver(30)
		clock.Mono += 30 * time.Second
		deliver(30)
		clock.Mono += 30 * time.Second
	}
	clock.Mono += 20 * time.Minute // two sixths of an hour without anything
	if got := m.Pace("aws"); got.Units != 40*60 || got.Low != 0 || got.High != 3600 {
		t.Errorf("after a rest: %+v", got)
	}
	clock.Mono += 2 * time.Hour
	if got := m.Pace("aws"); got != (Pace{Window: time.Hour}) {
		t.Errorf("after two idle hours: %+v", got)
	}
}

func TestPaceCountsTheMinutesOfConnections(t *testing.T) {
	clock := &wallClock{}
	clock.set("2026-11-20 10:00")
	m := newMeter(t, newMemory(), frankfurt(), clock)
	m.Opened("aws", "plant7-1", Connection{})
	m.Opened("aws", "plant7-2", Connection{})
	for range 30 {
		clock.Mono += time.Minute
		m.countMinutes()
	}
	if got := m.Pace("aws"); got.Minutes != 60 || got.Window != 30*time.Minute || got.in(got.Minutes, monthOf) != 2*30*24*60 {
		t.Errorf("%+v, want 60 minutes of two connections", got)
	}
}

func BenchmarkDelivered(b *testing.B) {
	clock := &wallClock{}
	clock.set("2026-11-20 10:00")
	m, _ := NewMeter(newMemory(), map[string]Options{"aws": frankfurt()}, clock.now)
	s := stored("pump", "dt/line/a", 256)
	s.Receiver.Origin = bridge.OriginUserProperties
	for b.Loop() {
		var batch bridge.Batch
		m.Delivered(&batch, "aws", s, bridge.Outcome{Wire: 400})
	}
}
