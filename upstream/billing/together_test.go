package billing

import (
	"fmt"
	"math/big"
	"strings"
	"testing"
	"time"
)

// minutely are two hours of a route whose devices send a message in two minutes, each below a
// prefix of its own, or all below one.
func minutely(devices int, one bool) *Fleet {
	var all []Traffic
	for d := range devices {
		t := Traffic{Route: "telemetry", Topic: fmt.Sprintf("dt/dev-%03d", d), Days: 1, Hours: 2, Sizes: times(60, 120, 18, originSize+9)}
		t.Sizes.Named(t.Topic + "/temp")
		for h := range 2 {
			t.stretches = append(t.stretches, stretch{device: t.Topic[3:], start: time.Date(2026, 11, 20, h, 0, 0, 0, time.UTC), messages: 30})
		}
		all = append(all, t)
	}
	if one {
		for _, t := range all[1:] {
			all[0].Sizes.Merge(t.Sizes)
			all[0].stretches = append(all[0].stretches, t.stretches...)
		}
		all = all[:1]
	}
	f := oneRoute(all...)
	f.Span = 2 * time.Hour
	for i := range f.Rules {
		f.Rules[i] = []DeclaredRule{{Rules: 1, Actions: 1, QoS: "0"}}
	}
	return f
}

// sharedBatch is a batch of JSON in envelopes, of all devices.
func sharedBatch() Batch {
	b := fullBatch(true)
	b.Shared = true
	return b
}

// sentSo is what a fleet would have been billed, were all of it treated in a way.
func sentSo(f *Fleet, change func(i int, how *Treatment)) Usage {
	p := f.Plan(nil)
	for i := range p.Treatments {
		change(i, &p.Treatments[i])
	}
	return f.Counted(p)
}

func near(a, b, by int64) bool { return max(a, b)-min(a, b) <= by }

// Where a route sends all to one topic, the messages of all prefixes share batches, as they
// would if the ledger had them as one: each prefix alone has none to share within a minute.
func TestOneTopicBringsPrefixesTogether(t *testing.T) {
	in := func(b Batch) func(*Fleet) Usage {
		return func(f *Fleet) Usage { return sentSo(f, func(_ int, how *Treatment) { how.Batch = b }) }
	}
	own, raw := sharedBatch(), fullBatch(false)
	own.Own = false
	prefixed, _ := BatchFormat("length_prefixed", 120)
	prefixed.Limit, prefixed.Age, prefixed.Shared = decimalUnit, batchAge, true
	for name, c := range map[string]struct {
		so   func(*Fleet) Usage
		most int64 // metered messages of 12,000
		by   int64 // how far they may be from those of one prefix, besides 1
	}{
		"envelopes": {func(f *Fleet) Usage {
			return sentSo(f, func(i int, how *Treatment) {
				f.wrap(i, how)
				how.Batch = sharedBatch()
			})
		}, 1_000, 0},
		"without envelopes, nothing of the devices' own": {in(own), 500, 0},
		"lengths of other sizes": {func(f *Fleet) Usage {
			return sentSo(f, func(i int, how *Treatment) {
				how.Batch = prefixed
				how.Batch.Record += i % 3
			})
		}, 330, 15},
		"of a sample": {func(f *Fleet) Usage {
			return sentSo(f, func(_ int, how *Treatment) { how.Batch, how.Thin = own, Thinning{OneIn: 10} })
		}, 150, 0},
		"over HTTPS": {func(f *Fleet) Usage {
			return sentSo(f, func(_ int, how *Treatment) { how.Batch, how.Protocol = own, ProtocolHTTPS })
		}, 1_000, 0},
		"by Basic Ingest": {func(f *Fleet) Usage {
			return sentSo(f, func(_ int, how *Treatment) { how.Batch, how.BasicIngest, how.Prefix = own, true, 20 })
		}, 0, 0},
	} {
		many, one := c.so(minutely(200, false)), c.so(minutely(200, true))
		if !near(many.Messages, one.Messages, 1+c.by) || !near(many.Rules, one.Rules, 1+c.by) || many.Messages > c.most || many.Rules == 0 || many.Rules > 1_000 {
			t.Errorf("%s: %+v of 200 prefixes, %+v of one", name, many, one)
		}
	}
	if got := in(raw)(minutely(200, false)).Messages; got != 12_000 {
		t.Errorf("each to its own topic: %d metered messages, want each alone", got)
	}
}

// What does not share batches is packed by itself, with its own rate.
func TestWhatOneTopicDoesNotBringTogether(t *testing.T) {
	b := sharedBatch()
	for name, c := range map[string]struct {
		change func(i int, t *Traffic)
		how    func(i int, how *Treatment)
	}{
		"another route":           {func(i int, t *Traffic) { t.Route = fmt.Sprint("r", i) }, nil},
		"another kind":            {func(i int, t *Traffic) { t.Kind = []Kind{Single, Untold}[i] }, nil},
		"batches, made otherwise": {func(i int, t *Traffic) { t.Kind, t.Made = Batched, []string{"json/0", "json/1"}[i] }, nil},
		"over HTTP":               {func(i int, t *Traffic) { t.HTTP = i == 0 }, nil},
		"Basic Ingest":            {nil, func(i int, how *Treatment) { how.BasicIngest = i == 0 }},
		"of another size":         {nil, func(i int, how *Treatment) { how.Batch.Limit += i }},
		"user properties":         {func(_ int, t *Traffic) { t.Sizes.Owned(t.Topic, 7, 0) }, func(_ int, how *Treatment) { how.Batch.Own = false }},
	} {
		f := minutely(2, false)
		p := f.Plan(nil)
		for i := range f.Traffic {
			if c.change != nil {
				c.change(i, &f.Traffic[i])
			}
			p.Treatments[i].Batch = b
			if c.how != nil {
				c.how(i, &p.Treatments[i])
			}
		}
		for i, n := range f.sendings([]int{0, 1}, p.Treatments, DefaultUnit) {
			if want := f.Traffic[i].sent(p.Treatments[i], DefaultUnit); n != want {
				t.Errorf("%s: %+v, want %+v as it is by itself", name, n, want)
			}
		}
	}
}

// The rate is that of the hours in which any of them sent something, and what goes alone
// below any prefix closes the open batch.
func TestOneTopicHasTheHoursOfAll(t *testing.T) {
	b := sharedBatch()
	b.Limit, b.Age = 1<<20, 10*time.Minute
	f := minutely(2, false)
	for i := range f.Traffic { // one after the other, one in a minute
		f.Traffic[i].Hours, f.Traffic[i].stretches = 1, f.Traffic[i].stretches[i:i+1]
	}
	change := func(_ int, how *Treatment) { how.Batch = b }
	if got := sentSo(f, change).Rules; got != 11 { // of 11 messages each
		t.Errorf("%d batches of 120 messages in two hours", got)
	}
	f.Traffic[1].ahead = 30 * time.Minute // three in two minutes
	if got := sentSo(f, change).Rules; got != 9 {
		t.Errorf("%d batches, of an hour and a half", got)
	}
	alone := Traffic{Route: "telemetry", Topic: "dt/requests", Kind: Alone, Hours: 2, Sizes: times(120, 10, 10, 0)}
	f.Traffic, f.Rules = append(f.Traffic, alone), append(f.Rules, nil)
	closes := func(i int, how *Treatment) {
		if i < 2 {
			how.Batch = b
		}
	}
	if got := sentSo(f, closes).Rules; got < 119 {
		t.Errorf("%d batches, and as many requests as messages", got)
	}
}

// Of a route whose devices share batches by now little is left to save.
func TestAdviceOnceOneTopicBringsThemTogether(t *testing.T) {
	has := Does{Envelope: true, ClearRetain: true, Batch: sharedBatch()}
	many, one := minutely(200, false), minutely(200, true)
	for _, f := range []*Fleet{many, one} {
		f.Routes = map[string]Does{"telemetry": has}
	}
	was, _ := many.Cost(many.Plan(nil))
	left, _ := many.Cost(many.Taken())
	want, _ := one.Cost(one.Taken())
	if part, _ := new(big.Rat).Quo(left.Rat(), want.Rat()).Float64(); part < 0.99 || part > 1.01 {
		t.Errorf("$%s a month is left, and $%s where all is below one prefix", left, want)
	}
	advice, bother, ok := many.Advise(new(big.Rat))
	if !ok || len(advice)+len(bother) == 0 {
		t.Fatalf("%+v, %+v", advice, bother)
	}
	saved := new(big.Rat)
	for _, a := range advice {
		saved.Add(saved, a.PerYear.Rat())
	}
	if most := left.Times(12, 1).Rat(); saved.Cmp(most) > 0 || most.Cmp(was.Times(2, 1).Rat()) > 0 {
		t.Errorf("$%s a year is to be saved of $%s, of $%s without the batches", cents(saved), cents(most), was.Times(12, 1))
	}
}

// Batches of one topic that messages with user properties of their own cannot share want
// envelopes, though each prefix by itself has too few messages for it to matter.
func TestEnvelopesAreAdvisedForOneTopic(t *testing.T) {
	has := Does{ClearRetain: true, Batch: sharedBatch()}
	has.Batch.Own = false
	f := minutely(200, false)
	for i := range f.Traffic {
		for range 60 {
			f.Traffic[i].Sizes.Owned(f.Traffic[i].Topic+"/temp", uint64(i)+1, 0)
		}
	}
	f.Routes = map[string]Does{"telemetry": has}
	before, _ := f.Cost(f.Taken())
	advice, _, _ := f.Advise(new(big.Rat))
	if len(advice) == 0 || !strings.HasPrefix(advice[0].Name, "origin: envelope with the batches that it makes") {
		t.Fatalf("%+v", advice)
	}
	if part, _ := new(big.Rat).Quo(advice[0].PerYear.Rat(), before.Times(12, 1).Rat()).Float64(); part < 0.7 || part > 1 {
		t.Errorf("saves %.0f %% of what it costs now", 100*part)
	}
}
