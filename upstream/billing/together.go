package billing

import (
	"time"

	"github.com/ebbgate/ebbgate/upstream/billing/sizes"
)

// together is what messages of a route have in common that share batches although they came
// under other topics: the route sends all of them to one.
type together struct {
	route, made string
	kind        Kind
	http, basic bool
	protocol    string
	batch       Batch // without what its format adds to each message, which may differ
}

// shares is with which others the messages share batches when they are treated in a way;
// false is with none of another prefix. Those with user properties of their own share them
// only in envelopes: whether those of another prefix have the same nobody knows.
func (t Traffic) shares(how Treatment) (with together, ok bool) {
	if own, _ := t.Sizes.Own(); !how.Batch.on() || !how.Batch.Shared || own > 0 && !how.Batch.Own {
		return together{}, false
	}
	with = together{t.Route, t.Made, t.Kind, t.requests(how), how.BasicIngest, how.Protocol, how.batch()}
	with.batch.Record, with.batch.Text, with.batch.Own = 0, false, true
	return with, true
}

// sendings are what some of the fleet's traffic, by its index, comes to. What shares batches
// is packed as one, at the rate of all of it.
func (f *Fleet) sendings(at []int, treatments []Treatment, unit int64) map[int]sending {
	out := make(map[int]sending, len(at))
	shared := map[together][]int{}
	for _, i := range at {
		if with, ok := f.Traffic[i].shares(treatments[i]); ok {
			shared[with] = append(shared[with], i)
		} else {
			out[i] = f.sent(i, treatments[i], unit)
		}
	}
	for with, at := range shared {
		if len(at) == 1 {
			out[at[0]] = f.sent(at[0], treatments[at[0]], unit)
			continue
		}
		f.share(with, at, treatments, unit, out)
	}
	return out
}

// share packs traffic that shares batches. Of these each has its part by its messages: which
// rules read them still goes by the topics that they came under.
func (f *Fleet) share(with together, at []int, treatments []Treatment, unit int64, out map[int]sending) {
	all := Traffic{Route: with.route, HTTP: with.http, Kind: with.kind, Made: with.made}
	for _, t := range f.Traffic { // all that goes alone goes to their topic as well
		if t.Kind == Alone && t.Route == with.route {
			all.alone += t.Sizes.Messages()
		}
	}
	var records sizes.Histogram
	hours := map[time.Time]bool{}
	treated := make([][]sizes.Cell, len(at))
	for k, i := range at {
		t := f.Traffic[i]
		treated[k] = t.treated(treatments[i])
		for _, c := range t.records(treated[k], treatments[i].batch()) {
			records.Put(c)
		}
		for _, s := range t.stretches {
			hours[s.start] = true
		}
		all.Hours, all.ahead = max(all.Hours, t.Hours), max(all.ahead, t.ahead)
	}
	all.Hours = max(all.Hours, len(hours))
	batches, units := all.packed(records.Cells(), with.batch, unit)
	total, before := records.Messages(), int64(0)
	for k, i := range at {
		sum := before
		for _, c := range treated[k] {
			sum += c.Messages
		}
		part := func(n int64) int64 { return portion(n, sum, total) - portion(n, before, total) }
		n := sending{messages: part(batches), processed: part(units)}
		out[i] = f.Traffic[i].metered(n, treated[k], treatments[i], unit)
		before = sum
	}
}
