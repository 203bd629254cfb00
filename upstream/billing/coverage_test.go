package billing

import (
	"testing"
	"time"

	"github.com/ebbgate/ebbgate/bridge"
	"github.com/ebbgate/ebbgate/upstream/billing/sizes"
)

// spent is a fleet of one day of mixed traffic, by whatever way, of which lost
// messages have no sizes: a kill came before they were written.
func spent(t *testing.T, o Options, lost int) (*Fleet, *Bill) {
	t.Helper()
	spool, clock := newMemory(), &wallClock{}
	clock.set("2026-11-20 13:00")
	m := newMeter(t, spool, o, clock)
	retained := to("dt/c", 5100)
	retained.Receiver.Retain = true
	send := func(n int) {
		var b bridge.Batch
		for range n {
			m.Delivered(&b, "aws", to("dt/a", 300), bridge.Outcome{Wire: 330})
			m.Delivered(&b, "aws", to("dt/b", 7000), bridge.Outcome{Wire: 7300, HTTP: true, Body: 40})
			m.Delivered(&b, "aws", retained, bridge.Outcome{Wire: 5200})
			m.Delivered(&b, "aws", to("$aws/rules/store/dt/d", 6000), bridge.Outcome{Wire: 6100})
			m.Delivered(&b, "aws", to("$aws/rules/store/dt/e", 100), bridge.Outcome{Wire: 400, HTTP: true, Body: 40})
			m.Delivered(&b, "aws", to("$aws/things/pump/shadow/update", 1229), bridge.Outcome{Wire: 1300})
			m.Refused(&b, "aws", to("dt/b", 7000), bridge.Outcome{Wire: 7300, Result: bridge.ResultRetry, HTTP: true, Body: 40})
		}
		m.Received(&b, "aws", &bridge.Message{Topic: "cmd/a", Payload: make([]byte, 10), QoS: 1}, 30)
		spool.Commit(&b, nil)
	}
	m.Opened("aws", "plant7", Connection{})
	send(10)
	m.writeSizes(nil)
	send(lost)
	l := newLedger(t, spool, map[string]Options{"aws": o})
	from, to := Today(clock.Wall)
	bill, err := l.Bill(from, to)
	if err != nil {
		t.Fatal(err)
	}
	f, err := l.Fleet("aws", from, to, to)
	if err != nil {
		t.Fatal(err)
	}
	f.Span = monthOf // as if that was all of a month
	return f, bill
}

// What is, as the sizes tell it, is what the bill says: to the unit and the cent,
// whatever the sizes know of it; and what they do not know is said.
func TestWhatIsIsTheBill(t *testing.T) {
	decimal := frankfurt()
	decimal.Unit = decimalUnit
	declared := frankfurt()
	declared.DeclaredRules = []DeclaredRule{
		{Topic: "dt/#", Rules: 1, Actions: 2, Subscribers: 2, QoS: "1"}, {Topic: "dt/a/#", Rules: 1, Actions: 1, Subscribers: 1, QoS: "0"},
		{Topic: "$aws/rules/store/#", Rules: 1, Actions: 3, QoS: "0"},
	}
	small := frankfurt() // of which the ledger knows most topics as (other)
	small.MaxPrefixes = 1
	free := frankfurt()
	free.FreeTier = true
	old := frankfurt()
	old.MQTT3 = true
	for name, o := range map[string]Options{"plain": frankfurt(), "declared": declared, "5,000": decimal, "(other)": small, "free tier": free, "MQTT 3.1.1": old} {
		for _, lost := range []int{0, 3} {
			f, bill := spent(t, o, lost)
			total := bill.Totals[0]
			want := Usage{Messages: total.Units, Minutes: total.Minutes}.Plus(total.EstimatedUsage)
			if got := f.Usage(f.Plan(nil)); got != want {
				t.Errorf("%s, %d lost: as it is %+v, the bill says %+v", name, lost, got, want)
			}
			cost, ok := f.Cost(f.Plan(nil))
			if all := total.messages.Plus(total.minutes).Plus(total.estimated); !ok || cost.Rat().Cmp(all.Rat()) != 0 {
				t.Errorf("%s, %d lost: as it is $%s, the bill says $%s", name, lost, cost, all)
			}
			if ranged, _ := f.Range(f.Plan(nil)); ranged.Low.Cmp(total.messages.Low) < 0 || ranged.High.Cmp(total.messages.High) < 0 {
				t.Errorf("%s, %d lost: between %s, the bill's messages alone between %s", name, lost, ranged.Range(), total.messages.Range())
			}
			if c := f.Covered; c.Messages != int64(60+6*lost) || c.Recorded != 60 || name != "(other)" && (lost > 0) == (c.RecordedUnits == c.Units) || lost > 0 && c.Whole() {
				t.Errorf("%s, %d lost: covered %+v", name, lost, c)
			}
		}
	}
}

// Sizes near the end of a unit are recorded together, and may make more of them than was
// billed. What is, is the bill all the same; and no plan gets less than nothing for it.
func TestSizesThatTellMoreThanTheBill(t *testing.T) {
	var h sizes.Histogram
	for _, payload := range []int{5080, 5080, 5140} { // a mean of 5,104 with the topic: one unit each, or two
		h.Add(payload, 4, 0, false)
	}
	f := &Fleet{Region: "us-east-1", Prices: BuiltIn(), Options: frankfurt(), Span: monthOf, Rules: [][]DeclaredRule{{{Topic: "dt/#", Rules: 1, Actions: 1}}},
		Traffic: []Traffic{{Route: "telemetry", Topic: "dt/a", Sizes: h, Days: 1, Hours: 1}}}
	sized := f.Traffic[0].Usage(f.Plan(nil).Treatments[0], DefaultUnit, f.Rules[0])
	billed := Usage{Messages: sized.Messages - 2, Rules: sized.Rules - 2, Actions: sized.Actions - 2}
	f.account(Counts{}, billed, billed)
	if got := f.Usage(f.Plan(nil)); got != billed {
		t.Errorf("as it is %+v, billed %+v", got, billed)
	}
	if got := f.Unsized(f.Plan(nil)); got != (Usage{}) {
		t.Errorf("%+v without sizes", got)
	}
	basic := f.Plan(nil)
	basic.Treatments[0].BasicIngest, basic.Treatments[0].Prefix = true, BasicIngestPrefix("r")
	if got := f.Usage(basic); got.Messages != 0 {
		t.Errorf("%+v by Basic Ingest, want no messages", got)
	}
}

// M18: what was sent over HTTPS costs its answers, and no topics; over MQTT it is
// the other way round.
func TestWhatIfOverAnotherProtocol(t *testing.T) {
	f, _ := spent(t, frankfurt(), 0)
	count := func(protocol string) int64 {
		p := f.Plan(nil)
		for i := range p.Treatments {
			p.Treatments[i].Protocol = protocol
		}
		return f.Usage(p).Messages - f.Fixed.Messages
	}
	// Of each kind ten: dt/a 1, dt/b 2 and twice an answer (one of an error), dt/c
	// twice 1, Basic Ingest nothing and by HTTPS an answer, a shadow's message.
	if got := count(""); got != 10*(1+2+2+2+1+1) {
		t.Errorf("as it was: %d", got)
	}
	if got := count(ProtocolMQTT5); got != 10*(1+2+2+1) {
		t.Errorf("over MQTT 5: %d", got)
	}
	if got := count(ProtocolHTTPS); got != 10*(2+4+3+1+1+2) {
		t.Errorf("over HTTPS: %d", got)
	}
}

// A batch that is filled to the larger reading of "5 KB" costs two metered messages
// by the smaller: advice keeps to what is one by either.
func TestAdvisedBatchesFollowTheUnit(t *testing.T) {
	for unit, want := range map[int64]int{DefaultUnit: decimalUnit, decimalUnit: decimalUnit, 1024: 1024} {
		f := fleets()["factory"]
		f.Options.Unit = bridge.Size(unit)
		found := 0
		for _, m := range f.Measures() {
			p := f.Plan([]Measure{m})
			for i, how := range p.Treatments {
				if !how.Batch.on() {
					continue
				}
				found++
				if how.Batch.Limit != want {
					t.Errorf("unit %d: batches of %d B, want %d: %s", unit, how.Batch.Limit, want, m.Name)
				}
				n := f.Traffic[i].sent(how, unit)
				if other := f.Traffic[i].sent(how, otherReading(unit)); f.Traffic[i].Route == "telemetry" && (n.processed != n.messages || other.processed != other.messages) {
					t.Errorf("unit %d: %d batches are %d units, %d by the other reading", unit, n.messages, n.processed, other.processed)
				}
			}
		}
		if found != 3 {
			t.Errorf("%d batches, want one for each route", found)
		}
	}
}

func TestAFleetIsPricedAfterItsAccount(t *testing.T) {
	spool := newMemory()
	for name, units := range map[string]int64{"a": 1_000_000_000, "b": 1_000_000} {
		spool.counters[series{upstream: name, direction: Up, device: "pump", prefix: "dt/a"}.key("2026112013")+string(kindUnits)] = units
	}
	day, end := Today(time.Date(2026, 11, 20, 0, 0, 0, 0, time.UTC))
	l := newLedger(t, spool, map[string]Options{"a": frankfurt(), "b": frankfurt()})
	f, err := l.Fleet("b", day, end, day.Add(13*time.Hour+time.Hour)) // an hour
	if err != nil {
		t.Fatal(err)
	}
	cost, _ := f.Cost(f.Plan(nil))
	if want := "604.800000"; cost.String() != want { // 720 M at the third tier: a has used up five milliards
		t.Errorf("$%s, want $%s", cost, want)
	}
}

// Sizes are told apart by route and topic even where the ledger does no longer.
func TestSizesOfWhatTheLedgerFolds(t *testing.T) {
	o := frankfurt()
	o.MaxPrefixes = 1
	spool, clock := newMemory(), &wallClock{}
	clock.set("2026-11-20 13:00")
	m := newMeter(t, spool, o, clock)
	var b bridge.Batch
	for i, topic := range []string{"dt/a", "dt/b", "dt/c", "dt/c"} {
		m.Delivered(&b, "aws", to(topic, 100*i), bridge.Outcome{})
	}
	for i := range maxSizes + 50 { // more than are told apart
		m.Delivered(&b, "aws", to("$aws/rules/store/"+time.Duration(i).String(), 100), bridge.Outcome{})
	}
	spool.Commit(&b, nil)
	m.writeSizes(nil)
	from, to := Today(clock.Wall)
	all, err := newLedger(t, spool, map[string]Options{"aws": o}).Traffic("aws", from, to)
	if err != nil {
		t.Fatal(err)
	}
	messages, basic := map[string]int64{}, int64(0)
	for _, tr := range all {
		messages[tr.Topic] = tr.Sizes.Messages()
		if IsBasicIngest(tr.Topic) {
			basic += tr.Sizes.Messages()
		}
	}
	if messages["dt/a"] != 1 || messages["dt/b"] != 1 || messages["dt/c"] != 2 || basic != maxSizes+50 || len(all) > maxSizes+2 {
		t.Errorf("%v; %d by Basic Ingest in %d histograms", messages, basic, len(all))
	}
}
