package billing

import (
	"math/big"
	"strings"
	"testing"
	"time"
)

// fullBatch is a batch of JSON as it is advised.
func fullBatch(own bool) Batch {
	b, _ := BatchFormat("json", 0)
	b.Limit, b.Age, b.Own = decimalUnit, batchAge, own
	return b
}

// With what the configuration has already, what is left saves what it would have saved
// after it: the whole of the span is taken as if it had been sent so.
func TestAdviceComesOnTopOfWhatTheConfigurationHas(t *testing.T) {
	small := traffic("telemetry", "dt/line", 400_000, originSize+9, false, 200, 230, 800, 4_960)
	of := func(d Does) *Fleet {
		f := oneRoute(small)
		f.Routes = map[string]Does{"telemetry": d}
		return f
	}
	without := of(Does{})
	for name, c := range map[string]struct {
		has   Does
		first string
	}{
		"batches":      {Does{Batch: fullBatch(false)}, "batch up to"},
		"Basic Ingest": {Does{BasicIngest: true}, "send by Basic Ingest"},
		"no origin":    {Does{NoOrigin: true}, "origin: none"},
	} {
		var taken []Measure
		for _, m := range without.Measures() {
			if strings.HasPrefix(m.Name, c.first) {
				taken = append(taken, m)
			}
		}
		if len(taken) != 1 {
			t.Fatalf("%s: %d such measures", name, len(taken))
		}
		was, _ := without.Cost(without.Plan(nil))
		want, _ := without.Cost(without.Plan(taken))
		f := of(c.has)
		got, _ := f.Cost(f.Taken())
		if got.Rat().Cmp(want.Rat()) != 0 || got.Rat().Cmp(was.Rat()) >= 0 {
			t.Errorf("%s: $%s a month is left, want $%s of $%s", name, got, want, was)
		}
		advice, bother, _ := f.Advise(new(big.Rat))
		left := new(big.Rat).Mul(want.Rat(), big.NewRat(12, 1))
		for _, a := range append(advice, bother...) {
			if strings.HasPrefix(a.Name, c.first) {
				t.Errorf("%s is advised again: %s", name, a.Name)
			}
		}
		for i, a := range advice {
			if left.Sub(left, a.PerYear.Rat()); i > 0 {
				continue
			}
			for _, m := range without.Measures() {
				if m.Name != a.Name {
					continue
				}
				after, _ := without.Cost(without.Plan(append(taken[:1:1], m)))
				if saved := want.Minus(after).Times(12, 1); saved.Rat().Cmp(a.PerYear.Rat()) != 0 {
					t.Errorf("%s, then %s: saves $%s a year, want $%s", name, a.Name, a.PerYear, saved)
				}
			}
		}
		if left.Sign() < 0 {
			t.Errorf("%s: $%s less than nothing is left", name, cents(left))
		}
	}
	for name, d := range map[string]map[string]Does{"gone": {}, "fixed": {"telemetry": {Fixed: true, BasicIngest: true}}, "retained": {"telemetry": {Batch: fullBatch(false)}}} {
		f := oneRoute(small)
		if name == "retained" {
			f = oneRoute(traffic("telemetry", "dt/line", 400_000, 9, true, 200))
		}
		f.Routes = d
		was, _ := f.Cost(f.Plan(nil))
		if got, _ := f.Cost(f.Taken()); got.Rat().Cmp(was.Rat()) != 0 {
			t.Errorf("%s: $%s a month, want $%s as it was sent", name, got, was)
		}
		if name == "fixed" && len(f.Measures()) != 0 {
			t.Errorf("advice for what cannot be changed: %+v", f.Measures())
		}
	}
}

// What messages have of their own goes into envelopes: batches without them are not what is
// advised, and small ones are not large ones.
func TestBatchesThatAreLessThanAdvised(t *testing.T) {
	const messages = 400_000
	traced := traffic("telemetry", "dt/line", messages, 60, false, 450)
	for i := range messages {
		traced.Sizes.Owned("dt/line", uint64(i%1000)+1, 1)
	}
	plain := traffic("telemetry", "dt/line", messages, 9, false, 200)
	tiny, short, low := fullBatch(false), fullBatch(false), fullBatch(false)
	tiny.Limit, tiny.Count, short.Age, low.Limit = DefaultUnit, 2, time.Second, 500
	long := fullBatch(false)
	long.Limit, long.Age = 4*decimalUnit, time.Hour
	short.Limit = 2 * decimalUnit
	for name, c := range map[string]struct {
		of      Traffic
		has     Does
		advised string // empty: it is past
	}{
		"none, traced":              {traced, Does{}, "batch up to 5000 B, one metered message whether 5 KB is 5000 or 5120: with origin: envelope, as"},
		"without envelopes":         {traced, Does{Batch: fullBatch(false)}, "origin: envelope with the batches that it makes, as"},
		"with envelopes":            {traced, Does{Batch: fullBatch(true), Envelope: true}, ""},
		"envelopes, and no batches": {traced, Does{Envelope: true}, "batch up to 5000 B"},
		"as advised":                {plain, Does{Batch: fullBatch(false)}, ""},
		"larger":                    {plain, Does{Batch: long}, ""},
		"two messages":              {plain, Does{Batch: tiny}, "let batches grow to 5000 B and 1m0s, whatever their count: route"},
		"of a second":               {plain, Does{Batch: short}, "let batches grow to 10000 B and 1m0s, whatever their count: route"},
		"small":                     {plain, Does{Batch: low}, "let batches grow to 5000 B and 1m0s, whatever their count: route"},
		"two messages, traced":      {traced, Does{Batch: tiny}, "let batches grow to 5000 B and 1m0s, whatever their count: with origin: envelope, as"},
	} {
		f := oneRoute(c.of)
		f.Routes = map[string]Does{"telemetry": c.has}
		var got, past *Measure
		is := func(m Measure) bool {
			return strings.Contains(m.Name, "batch")
		}
		for _, m := range f.measures() {
			switch {
			case is(m) && m.Past == "":
				got = &m
			case is(m):
				past = &m
			}
		}
		if c.advised == "" {
			if got != nil || past == nil {
				t.Errorf("%s: advised %+v, past %+v", name, got, past)
			}
			continue
		}
		if got == nil || past != nil || !strings.HasPrefix(got.Name, c.advised) {
			t.Errorf("%s: advised %+v, past %+v", name, got, past)
			continue
		}
		if saved := f.Saved(f.Taken(), f.Plan(append(f.taken(), *got))); saved.Rat().Sign() <= 0 {
			t.Errorf("%s: %s saves $%s", name, got.Name, saved)
		}
	}
	f, has := oneRoute(traced), oneRoute(traced)
	f.Routes = map[string]Does{"telemetry": {}}
	has.Routes = map[string]Does{"telemetry": {Batch: fullBatch(true), Envelope: true}}
	for _, m := range f.Measures() {
		if strings.HasPrefix(m.Name, "batch") {
			want, _ := f.Cost(f.Plan([]Measure{m}))
			if got, _ := has.Cost(has.Taken()); got.Rat().Cmp(want.Rat()) != 0 {
				t.Errorf("with what is advised $%s a month is left, want $%s", got, want)
			}
		}
	}
}
