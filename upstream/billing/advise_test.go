package billing

import (
	"maps"
	"math/big"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/ebbgate/ebbgate/bridge"
	"github.com/ebbgate/ebbgate/upstream/billing/sizes"
)

// traffic is n messages a month of some sizes of payload, one after the other.
func traffic(route, topic string, n int, rest int, retained bool, payloads ...int) Traffic {
	var h sizes.Histogram
	for i := range n {
		h.Add(payloads[i%len(payloads)], len(topic)+5, rest, retained)
	}
	return Traffic{Route: route, Topic: topic, Sizes: h, Days: 30, Hours: 720}
}

// fleets are three mixed fleets of a month: a factory's sensors, a few trucks
// with large reports and retained positions, and a building whose commands come
// down.
func fleets() map[string]*Fleet {
	us := func(f *Fleet) *Fleet {
		f.Upstream, f.Region, f.Prices, f.Options, f.Span = "aws", "us-east-1", BuiltIn(), DefaultOptions(), monthOf
		for len(f.Rules) < len(f.Traffic) {
			f.Rules = append(f.Rules, nil)
		}
		return f
	}
	rule := DeclaredRule{Rules: 1, Actions: 1, QoS: "0"}
	return map[string]*Fleet{
		"factory": us(&Fleet{
			Traffic: []Traffic{
				traffic("telemetry", "dt/line", 400_000, originSize+9, false, 200, 230, 800),
				traffic("alarms", "dt/alarm", 2_000, originSize+9, false, 300),
				traffic("stored", "$aws/rules/store/dt", 100_000, 9, false, 400),
			},
			Rules: [][]DeclaredRule{{rule}, {{Rules: 1, Actions: 2, Subscribers: 3, QoS: "1"}}, {rule}},
			Fixed: Usage{Messages: 1_000, Minutes: 43_200},
		}),
		"trucks": us(&Fleet{
			Traffic: []Traffic{
				traffic("position", "truck/pos", 150_000, 9, true, 90),
				traffic("report", "truck/report", 60_000, originSize+9, false, 5_000, 20_000, 1_000),
			},
			Fixed: Usage{Messages: 300_000, Minutes: 20_000},
		}),
		"building": us(&Fleet{
			Traffic: []Traffic{
				traffic("meters", "b/meter", 50_000, 9, false, 60),
				traffic("doors", "b/door", 8_000, 9, true, 40),
				traffic("lifts", "b/lift", 90_000, originSize+9, false, 4_960),
			},
			Rules: [][]DeclaredRule{nil, {{Subscribers: 2, QoS: "1"}}, {rule}},
			Fixed: Usage{Messages: 900_000, Minutes: 86_400}, Acks: 450_000,
		}),
	}
}

// U4: advice reaches at least 90 % of the best that any set of the same measures
// saves.
func TestAdviceIsNearlyTheBest(t *testing.T) {
	for name, f := range fleets() {
		measures := f.Measures()
		before, ok := f.Cost(f.Plan(nil))
		if !ok || len(measures) < 5 || len(measures) > 14 {
			t.Fatalf("%s: %d measures, priced %v", name, len(measures), ok)
		}
		best := new(big.Rat)
		for set := range 1 << len(measures) {
			var chosen []Measure
			for i, m := range measures {
				if set&(1<<i) != 0 {
					chosen = append(chosen, m)
				}
			}
			cost, _ := f.Cost(f.Plan(chosen))
			if saved := before.Minus(cost).Times(12, 1).Rat(); saved.Cmp(best) > 0 {
				best = saved
			}
		}
		advice, _, _ := f.Advise(new(big.Rat))
		got := new(big.Rat)
		for i, a := range advice {
			got.Add(got, a.PerYear.Rat())
			if a.PerYear.Rat().Sign() <= 0 || a.Risk == "" || a.Consumer == "" || i > 0 && a.PerYear.Rat().Cmp(advice[0].PerYear.Rat()) > 0 {
				t.Errorf("%s: %+v", name, a)
			}
		}
		share, _ := new(big.Rat).Quo(got, best).Float64()
		t.Logf("%s: $%s of $%s a year (%.1f %%), of $%s", name, got.FloatString(2), best.FloatString(2), 100*share, before.Times(12, 1))
		if share < 0.9 || best.Sign() == 0 {
			t.Errorf("%s: advice saves $%s a year, the best set $%s", name, got.FloatString(2), best.FloatString(2))
		}
	}
}

// Only who publishes what comes down can do so at QoS 0: the advice says who, once there is
// something to save, and no more when they do.
func TestAdviceOnWhatComesDownSaysWhoCanFollowIt(t *testing.T) {
	for acks, want := range map[int64]int{450_000: 1, 0: 0} {
		f := fleets()["building"]
		f.Acks = acks
		n := 0
		for _, m := range f.Measures() {
			if strings.Contains(m.Name, "QoS 0") && strings.Contains(m.Name, "whoever sends it: the gateway subscribes at QoS 1") {
				n++
			}
		}
		if n != want {
			t.Errorf("%d answers: %d measures, want %d", acks, n, want)
		}
	}
}

// What a measure saves lies between what it saves by the one reading of "5 KB" and by the
// other, whichever of its plans is dearer by which.
func TestSavingsLieWithinTheirBounds(t *testing.T) {
	dice, ranged := rand.New(rand.NewPCG(7, 11)), 0
	for range 200 {
		f := oneRoute(traffic("all", "dt/a", 20_000+dice.IntN(100_000), 9, dice.IntN(4) == 0, 60+dice.IntN(900), 4_900+dice.IntN(250), 60+dice.IntN(12_000)))
		// What has no sizes, or less than was billed: as [Ledger.Fleet] finds it.
		f.sized, f.resized = f.counted(f.Plan(nil), DefaultUnit), f.counted(f.Plan(nil), decimalUnit)
		f.Rest, f.Reread = Usage{Messages: dice.Int64N(20_000) - 10_000}, Usage{Messages: dice.Int64N(20_000) - 10_000}
		advice, _, ok := f.Advise(new(big.Rat))
		if !ok {
			t.Fatal("no prices")
		}
		var taken []Measure
		for _, a := range advice {
			before := f.Plan(taken)
			taken = append(taken, a.Measure)
			after := f.Plan(taken)
			low, high := a.PerYear.Low, a.PerYear.High
			was, _ := f.Cost(before)
			is, _ := f.Cost(after)
			wasReread, _ := f.reread(before)
			isReread, _ := f.reread(after)
			for _, saved := range []Amount{was.Minus(is).Times(12, 1), wasReread.Minus(isReread).Times(12, 1)} {
				for _, usd := range []*big.Rat{saved.Low, saved.USD, saved.High} {
					if usd.Cmp(low) < 0 || usd.Cmp(high) > 0 {
						t.Fatalf("%s may save $%s, between $%s and $%s", a.Name, cents(usd), cents(low), cents(high))
					}
				}
			}
			if usd := a.PerYear.Rat(); usd.Cmp(low) < 0 || usd.Cmp(high) > 0 {
				t.Fatalf("%s saves $%s, between $%s and $%s; %+v", a.Name, cents(usd), cents(low), cents(high), f.Traffic[0].Sizes)
			}
			if a.PerYear.Ranged() {
				ranged++
			}
		}
	}
	if ranged == 0 {
		t.Error("no saving differs between the readings")
	}
}

func cents(r *big.Rat) string { return r.FloatString(2) }

func TestAdviceBelowTheThresholdIsNoBother(t *testing.T) {
	f := fleets()["building"]
	all, _, _ := f.Advise(new(big.Rat))
	some, bother, _ := f.Advise(big.NewRat(1, 1))
	if len(some) == 0 || len(some) >= len(all) || len(bother) == 0 {
		t.Errorf("%d of %d measures, %d not worth it", len(some), len(all), len(bother))
	}
	none, bother, _ := f.Advise(big.NewRat(1_000_000, 1))
	if len(none) != 0 || len(bother) == 0 {
		t.Errorf("%d measures, %d not worth it", len(none), len(bother))
	}
	f.Region = "moon-1"
	if _, _, ok := f.Advise(new(big.Rat)); ok {
		t.Error("advice without prices")
	}
}

// G08 to G10, from recorded sizes.
func TestWhatIfIsTheGoldenArithmetic(t *testing.T) {
	const month = 40 * 86_400 * 30
	var day sizes.Histogram
	for range 40 * 86_400 / 100 { // 240 B of payload, 32 B of topic; a hundredth of a day
		day.Add(240, 32, 0, false)
	}
	f := &Fleet{
		Upstream: "aws", Region: "us-east-1", Prices: BuiltIn(), Options: DefaultOptions(), Span: 864 * time.Second,
		Traffic: []Traffic{{Route: "telemetry", Topic: "dt/line", Sizes: day, Hours: 1}}, Rules: [][]DeclaredRule{nil},
	}
	full := Batch{Limit: DefaultUnit}
	for _, c := range []struct {
		id   string
		rule DeclaredRule
		how  Treatment
		want string
	}{
		{"G08 plain", DeclaredRule{}, Treatment{}, "103.680000"},
		{"G09 batched", DeclaredRule{}, Treatment{Batch: full}, "4.938000"}, // 1,646 batches, 1,645.7 are full
		{"G10 rule and action", DeclaredRule{Rules: 1, Actions: 1}, Treatment{}, "134.784000"},
		{"G10 Basic Ingest", DeclaredRule{Rules: 1, Actions: 1}, Treatment{BasicIngest: true}, "31.104000"},
		{"G10 batched", DeclaredRule{Rules: 1, Actions: 1}, Treatment{Batch: full}, "6.419400"},
		{"G10 batched and Basic Ingest", DeclaredRule{Rules: 1, Actions: 1}, Treatment{Batch: full, BasicIngest: true}, "1.481400"},
	} {
		f.Rules[0] = []DeclaredRule{c.rule}
		cost, ok := f.Cost(Plan{Treatments: []Treatment{c.how}})
		if !ok || cost.String() != c.want {
			t.Errorf("%s: $%s, want $%s", c.id, cost, c.want)
		}
	}
	if u := f.Usage(Plan{}); u.Messages != month {
		t.Errorf("%d messages a month, want %d", u.Messages, month)
	}
	f.Rules[0] = nil
	other, _ := f.Cost(Plan{Region: "eu-central-1"})
	if other.String() != "124.416000" {
		t.Errorf("in Frankfurt $%s", other)
	}
}

func TestPackingMixedSizes(t *testing.T) {
	for _, c := range []struct {
		name  string
		t     Traffic
		batch Batch
		units int64 // what the batches make
	}{
		{"G09: 21 of 240 B", traffic("r", "topic", 21*50, 0, false, 240), Batch{Limit: 5120}, 50},
		{"two of 2,600 B do not fit one unit", traffic("r", "topic", 100, 0, false, 2600), Batch{Limit: 5120}, 100},
		{"filling two units", traffic("r", "topic", 100, 0, false, 2600), Batch{Limit: 10_240}, 67}, // three in two units
		{"a count", traffic("r", "topic", 100, 0, false, 10), Batch{Limit: 5120, Count: 10}, 10},
		{"an age", traffic("r", "topic", 720, 0, false, 10), Batch{Limit: 5120, Age: time.Hour}, 360}, // one an hour: the next comes just in time
		{"what is too large goes alone", traffic("r", "topic", 10, 0, false, 6000), Batch{Limit: 5120}, 20},
		{"the format's bytes", traffic("r", "topic", 200, 0, false, 99), Batch{Limit: 10 + 100*51, Record: 1}, 4},
	} {
		u := c.t.Usage(Treatment{Batch: c.batch}, 5120, nil)
		if u.Messages != c.units {
			t.Errorf("%s: %d, want %d", c.name, u.Messages, c.units)
		}
	}
	mixed := traffic("r", "topic", 30_000, 0, false, 100, 900, 2000)
	whole := mixed.Usage(Treatment{Batch: Batch{Limit: 5120}}, 5120, nil)
	if whole.Messages < 30_000/5 || whole.Messages > 30_000/4 { // 1,000 B on average: four to five fit
		t.Errorf("mixed: %d batches of 30,000", whole.Messages)
	}
	for format, want := range map[string]int{"json": 2 + 20 + 19, "ndjson": 40, "length_prefixed": 40, "raw": 20} {
		b, ok := BatchFormat(format, 1)
		if got := b.Fixed + 20*(1+b.Record); !ok || got != want && format != "json" || format == "json" && got != want {
			t.Errorf("%s: 20 messages of a byte take %d, want %d", format, got, want)
		}
	}
	if _, ok := BatchFormat("xml", 1); ok {
		t.Error("xml is no format")
	}
}

func TestTreatments(t *testing.T) {
	tr := traffic("r", "topic", 10, 200, true, 5_000)
	for name, c := range map[string]struct {
		how  Treatment
		want int64
	}{
		"as it is":      {Treatment{}, 40},
		"retain: clear": {Treatment{ClearRetain: true}, 20},
		"3.1.1":         {Treatment{Protocol: ProtocolMQTT3, ClearRetain: true}, 10},
		"origin: none":  {Treatment{NoOrigin: true, ClearRetain: true}, 10},
	} {
		if u := tr.Usage(c.how, 5120, nil); u.Messages != c.want {
			t.Errorf("%s: %d, want %d", name, u.Messages, c.want)
		}
	}
}

// A route that keeps retained messages makes no batches, so none is offered, and
// what clearing the flag saves (M10) is told of that measure alone: of states that
// no batch could hold, as of small ones.
func TestBatchesTakeNoCreditOfClearedRetain(t *testing.T) {
	for name, c := range map[string]struct {
		payload int
		batched bool // once the flag is cleared
	}{"larger than a batch": {6_000, false}, "small": {100, true}} {
		f := fleets()["trucks"]
		f.Traffic = []Traffic{traffic("state", "st/valve", 100_000, 9, true, c.payload)}
		f.Rules = [][]DeclaredRule{{{Subscribers: 1}}}
		packed := Treatment{Batch: Batch{Limit: decimalUnit, Age: batchAge, Fixed: 2, Record: 1}}
		kept, copies := f.Traffic[0].Usage(packed, DefaultUnit, nil).Messages, f.Traffic[0].Usage(Treatment{}, DefaultUnit, nil).Messages/2
		packed.ClearRetain = true
		if cleared := f.Traffic[0].Usage(packed, DefaultUnit, nil).Messages; kept != cleared+copies {
			t.Errorf("%s: a batch makes %d metered messages, without the flag %d, and there are %d copies", name, kept, cleared, copies)
		}
		advice, _, ok := f.Advise(new(big.Rat))
		if !ok || len(advice) == 0 || !strings.HasPrefix(advice[0].Name, "retain: clear") {
			t.Fatalf("%s: %+v", name, advice)
		}
		if batched := len(advice) == 2 && strings.HasPrefix(advice[1].Name, "batch up to"); batched != c.batched || !batched && len(advice) > 1 {
			t.Errorf("%s: %+v", name, advice)
		}
	}
}

// In its first hours a gateway's past may be shorter than the ledger tells. What could
// be worth it then is not called a bother; what could not, is, and nothing is promised
// more for it.
func TestAdviceOfTheFirstHours(t *testing.T) {
	least := big.NewRat(10, 1)
	for _, c := range []struct {
		name     string
		began    string // the first message
		looks    string
		messages int
		early    bool // to call it a bother
	}{
		{"six minutes, much", "2026-11-20 10:52", "2026-11-20 10:58", 600, true},
		{"six minutes, little", "2026-11-20 10:52", "2026-11-20 10:58", 5, false},
		{"two hours, nearly enough", "2026-11-20 10:52", "2026-11-20 12:00", 1300, true},
		{"two hours, little", "2026-11-20 10:52", "2026-11-20 12:00", 500, false},
		{"a day, nearly enough", "2026-11-20 10:52", "2026-11-21 10:52", 15000, false},
		{"the first minutes of a month", "2026-11-01 00:10", "2026-11-01 00:16", 600, true},
		{"the first hours of a month", "2026-11-01 00:10", "2026-11-01 02:00", 1300, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			spool, clock := newMemory(), &wallClock{}
			clock.set(c.began)
			o := frankfurt()
			m := newMeter(t, spool, o, clock)
			var b bridge.Batch
			for range c.messages {
				s := to("dt/a", 300)
				s.Receiver.Queue = "up/aws/telemetry"
				m.Delivered(&b, "aws", s, bridge.Outcome{Wire: 330})
			}
			spool.Commit(&b, nil)
			m.writeSizes(nil)
			clock.set(c.looks)
			from, end := Month(clock.Wall)
			f, err := newLedger(t, spool, map[string]Options{"aws": o}).Fleet("aws", from, end, clock.Wall)
			if err != nil {
				t.Fatal(err)
			}
			advice, bother, ok := f.Advise(least)
			if !ok || len(advice) > 0 || len(bother) == 0 {
				t.Fatalf("%v, %v, %v", advice, bother, ok)
			}
			if got := f.MayBeWorth(bother[0], least); got != c.early {
				t.Errorf("%s saves $%s in %v, at least %v: too early %v, want %v", bother[0].Name, bother[0].PerYear, f.Span, f.Least, got, c.early)
			}
		})
	}
}

// What a route does by now, and one that is gone, is advised no more, and told of; so much
// of the span was sent before.
func TestAdviceGoesByTheConfiguration(t *testing.T) {
	one := fleets()["building"]
	measures := func(routes map[string]Does) (advised, past int) {
		f := *one
		f.Routes = routes
		for _, a := range f.Past() {
			if past++; a.Past == "" || a.PerYear.Rat().Sign() <= 0 {
				t.Errorf("%+v", a)
			}
		}
		return len(f.Measures()), past
	}
	all, past := measures(nil)
	if past != 0 {
		t.Errorf("without a configuration %d are past", past)
	}
	as := map[string]Does{}
	for _, r := range one.byRoute() {
		as[r.name] = Does{}
	}
	if n, past := measures(as); n != all || past != 0 {
		t.Errorf("as it was sent: %d measures, want %d, and %d past", n, all, past)
	}
	for _, r := range one.byRoute() {
		with := maps.Clone(as)
		with[r.name] = Does{Batch: Batch{Limit: DefaultUnit, Age: time.Hour}}
		if n, past := measures(with); n != all-1 || past > 1 {
			t.Errorf("%s makes batches: %d measures of %d, %d past", r.name, n, all, past)
		}
		with[r.name] = Does{BasicIngest: true, ClearRetain: true, NoOrigin: true, Batch: Batch{Limit: DefaultUnit, Age: time.Hour}}
		done, _ := measures(with)
		delete(with, r.name)
		if n, past := measures(with); n != done || past == 0 {
			t.Errorf("%s is gone: %d measures, want %d, %d past", r.name, n, done, past)
		}
	}
}
