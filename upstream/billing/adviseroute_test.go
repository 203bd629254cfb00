package billing

import (
	"fmt"
	"math/big"
	"strings"
	"testing"
	"time"

	"github.com/ebbgate/ebbgate/bridge"
)

// oneRoute is a fleet of one route that sent some traffic in a month.
func oneRoute(all ...Traffic) *Fleet {
	f := fleets()["trucks"]
	f.Traffic, f.Fixed, f.Rules = all, Usage{}, make([][]DeclaredRule, len(all))
	return f
}

// A batch holds messages of one topic: a thousand topics below one prefix, with a
// message in two minutes each, make no batches of a minute, however many there are of all.
func TestAdviceKnowsThatBatchesAreOfOneTopic(t *testing.T) {
	for name, c := range map[string]struct {
		topics  int
		batched bool
	}{"one topic": {1, true}, "a thousand": {1000, false}} {
		many := traffic("telemetry", "dt/site", 1000*30*7, 9, false, 200)
		many.Hours = 7
		for i := range c.topics {
			many.Sizes.Named(fmt.Sprintf("dt/site/dev-%d", i))
		}
		f := oneRoute(many)
		f.Rules[0] = []DeclaredRule{{Subscribers: 1}} // no Basic Ingest
		advice, bother, ok := f.Advise(big.NewRat(1, 1))
		if got := len(advice) > 0 && strings.HasPrefix(advice[0].Name, "batch up to"); !ok || got != c.batched {
			t.Errorf("%s: %+v, not worth it %+v", name, advice, bother)
		}
	}
}

// A measure is for a route, as the configuration has it: what it would cost more by
// the measure is named, and stays.
func TestAdviceIsOfRoutes(t *testing.T) {
	small, full := traffic("all", "dt/small", 500_000, 9, false, 100), traffic("all", "dt/full", 400_000, 9, false, 5_090)
	shadow, sparkplug := traffic("all", "$aws/things", 300_000, 9, false, 100), traffic("all", "spBv1.0/plant", 300_000, 9, false, 100)
	f := oneRoute(shadow, full, small, sparkplug)
	f.Rules[1] = []DeclaredRule{{Subscribers: 1}}
	f.Traffic = append(f.Traffic, traffic(other, other, 300_000, 9, false, 100))
	f.Rules = append(f.Rules, nil)
	var batch, basic *Measure
	for _, m := range f.Measures() {
		switch {
		case strings.HasPrefix(m.Name, "batch"):
			batch = &m
		case strings.HasPrefix(m.Name, "send by"):
			basic = &m
		}
		if strings.Contains(m.Name, other) {
			t.Errorf("who could do this: %s", m.Name)
		}
	}
	if batch == nil || !strings.Contains(batch.Name, "route all without $aws/things, dt/full, spBv1.0/plant (") {
		t.Fatalf("%+v", batch)
	}
	if basic == nil || !strings.Contains(basic.Name, "route all without $aws/things, dt/full, spBv1.0/plant (") {
		t.Fatalf("%+v", basic)
	}
	p := f.Plan([]Measure{*batch, *basic})
	for i, topic := range []string{"$aws/things", "dt/full", "dt/small", "spBv1.0/plant", other} {
		if changed := topic == "dt/small"; p.Treatments[i].Batch.on() != changed || p.Treatments[i].BasicIngest != changed {
			t.Errorf("%s: %+v", topic, p.Treatments[i])
		}
	}
}

// Two hundred prefixes, as many as have sizes of their own, of many sizes each: what
// was worked out once is not worked out again, and a route is one line.
func TestAdviceOfManyTopicsIsShort(t *testing.T) {
	var all []Traffic
	for i := range maxSizes {
		all = append(all, traffic("telemetry", fmt.Sprintf("dt/line-%d", i), 200, originSize+9, true, 50, 700, 3000))
	}
	f := oneRoute(all...)
	measures := f.Measures()
	if len(measures) != 4 {
		t.Fatalf("%d measures", len(measures))
	}
	with := *f
	with.known = map[asked]sending{}
	for range 3 {
		for _, m := range measures {
			if _, ok := with.Cost(with.Plan([]Measure{m})); !ok {
				t.Fatal("no price")
			}
		}
	}
	if most := (1 + len(measures)) * maxSizes; len(with.known) > most {
		t.Errorf("%d sendings were worked out, of %d there are", len(with.known), most)
	}
	for key, n := range with.known {
		if got := f.Traffic[key.traffic].sent(key.how, key.unit); got != n {
			t.Fatalf("%+v: %+v is remembered, and it is %+v", key, n, got)
		}
	}
	advice, _, _ := f.Advise(new(big.Rat))
	if len(advice) == 0 || len(advice) > len(measures) {
		t.Errorf("%d lines of advice", len(advice))
	}
}

// What a second run with 60 s batches of the advised size sends of 40 devices with a
// topic and a message in ten seconds each: seven in each batch at the most.
func TestBatchesOfAMinute(t *testing.T) {
	tr := traffic("telemetry", "dt/site", 40*6*60, 200, false, 200)
	tr.Hours = 1
	for i := range 40 {
		tr.Sizes.Named(fmt.Sprintf("dt/site/dev-%d/temp", i))
	}
	batch, _ := BatchFormat("json", 200)
	batch.Limit, batch.Age = decimalUnit, time.Minute
	if n := tr.Usage(Treatment{Batch: batch}, DefaultUnit, nil).Messages; n < 40*60*6/7 || n > 40*60 {
		t.Errorf("%d batches", n)
	}
	batch.Shared = true
	if n := tr.Usage(Treatment{Batch: batch}, DefaultUnit, nil).Messages; n > 40*6*60/20 {
		t.Errorf("%d batches of one topic", n)
	}
}

// In a batch of JSON what is no JSON is a third longer, so that a payload that fills
// a metered message alone would make two of it.
func TestBatchesOfWhatIsNotJSON(t *testing.T) {
	binary := traffic("telemetry", "dt/a", 300_000, 9, false, 200, 4_000)
	for range 300_000 {
		binary.Sizes.NotJSON()
	}
	text, _ := BatchFormat("json", 0)
	text.Limit = decimalUnit
	prefixed, _ := BatchFormat("length_prefixed", decimalUnit)
	prefixed.Limit = decimalUnit
	f := oneRoute(binary)
	dear, cheap := f.Traffic[0].Usage(Treatment{Batch: text}, DefaultUnit, nil).Messages, f.Traffic[0].Usage(Treatment{Batch: prefixed}, DefaultUnit, nil).Messages
	if dear <= 300_000 || cheap >= 200_000 {
		t.Errorf("%d metered messages in batches of JSON, %d with lengths", dear, cheap)
	}
	advice, _, _ := f.Advise(new(big.Rat))
	for _, a := range advice {
		if strings.HasPrefix(a.Name, "batch") && !strings.Contains(a.Consumer, "length_prefixed") {
			t.Errorf("%+v", a)
		}
	}
	if len(advice) == 0 {
		t.Error("nothing is advised")
	}
}

func TestLooksJSON(t *testing.T) {
	for payload, want := range map[string]bool{
		`{"a":1}`: true, " [1,2]\n": true, `"on"`: true, "21.5": true, "true": true, "null": true,
		"": false, "ON": false, "21.5 C": false, "{": false, `"`: false, "2026-11-22": false, "\xa1\x61a\x01": false, "\x00": false,
	} {
		if got := looksJSON([]byte(payload)); got != want {
			t.Errorf("%q: %v", payload, got)
		}
	}
}

// In the first hour the pace is that of the minutes that have passed, not of an hour.
func TestPaceOfAnHourThatIsNotOver(t *testing.T) {
	spool, clock := newMemory(), &wallClock{}
	clock.set("2026-11-20 13:00")
	m := newMeter(t, spool, frankfurt(), clock)
	var b bridge.Batch
	for range 60 * 6 {
		m.Delivered(&b, "aws", to("dt/a", 240), bridge.Outcome{})
	}
	spool.Commit(&b, nil)
	m.writeSizes(nil)
	l := newLedger(t, spool, map[string]Options{"aws": frankfurt()})
	from, _ := Today(clock.Wall)
	for after, want := range map[time.Duration]float64{6 * time.Minute: 1, time.Hour: 0.1, 3 * time.Hour: 0.1} {
		traffic, err := l.Traffic("aws", from, clock.Wall.Add(after))
		if err != nil || len(traffic) != 1 {
			t.Fatalf("%+v, %v", traffic, err)
		}
		if got := traffic[0].perSecond(360); got != want {
			t.Errorf("after %v %v a second, want %v", after, got, want)
		}
	}
}
