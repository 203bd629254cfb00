package billing

import (
	"cmp"
	"fmt"
	"time"
)

// batchAge is how long advice lets a message wait for others, and shortestAge the least that
// the configuration takes.
const (
	batchAge    = 60 * time.Second
	shortestAge = 100 * time.Millisecond
)

// batches is to batch up to one metered message. Where nobody knows which number
// "5 KB" is, that is one of at most the smaller: the larger would cost two of them
// if it was wrong. A route that keeps what is retained makes no batches: they are
// to be had only once something before them has cleared the flag, and what that
// saves is not theirs. What nearly fills a metered message alone would need two
// with the brackets of a batch. Payloads that are not JSON would be a third longer in
// a batch of JSON: they are prefixed by their lengths. Messages that have user properties of
// their own, and others than those before them, share a batch in envelopes only.
//
// A route of the configuration that makes smaller batches is to make larger ones, and one
// whose batches lack only the envelopes is to put them around: what that saves of batches
// that there were nobody knows, as an envelope goes around each of their messages.
//
// Nothing is promised that the configuration would refuse (keep_last, a short ttl, a small
// split), nor of what goes alone whatever the route says, nor of what a version has recorded
// that did not tell that.
func (f *Fleet) batches(r routeTraffic, add func(Measure, []int, func(int, *Treatment))) {
	unit, does := int64(f.Options.Unit), f.Routes[r.name]
	best := Batch{Limit: int(min(unit, otherReading(unit))), Age: batchAge}
	if does.Most > 0 {
		best.Limit = min(best.Limit, does.Most)
	}
	if does.TTL > 0 {
		best.Age = min(best.Age, does.TTL/2)
	}
	m := Measure{Consumer: "take a list of messages where there was one; rules and actions are saved only if they split it themselves"}
	format, longest := "json", 0
	for _, i := range r.all {
		if t := f.Traffic[i]; t.Sizes.Others() > 0 && !t.service() && (t.Kind == Single || t.Kind == Untold) {
			format, longest = "length_prefixed", best.Limit
			m.Consumer = "take messages apart that stand behind each other, each after its length (format: length_prefixed, as not all of them are JSON), which a rule's SQL cannot; rules and actions are saved only if they do it themselves"
		}
	}
	batch, _ := BatchFormat(format, longest)
	batch.Limit, batch.Age = best.Limit, best.Age
	enough := does.Batch.atLeast(best)
	switch {
	case enough:
		batch = does.Batch
	case does.Batch.on():
		batch = does.Batch
		if batch.Age, batch.Count = max(batch.Age, best.Age), 0; batch.Limit <= int(unit) { // else it is meant to cost several
			batch.Limit = best.Limit
		}
		m.Name = fmt.Sprintf("let batches grow to %d B and %v, whatever their count: ", batch.Limit, batch.Age)
	case int64(best.Limit) == min(unit, otherReading(unit)) && int64(best.Limit) != otherReading(int64(best.Limit)):
		m.Name = fmt.Sprintf("batch up to %d B, one metered message whether 5 KB is %d or %d: ", best.Limit, decimalUnit, DefaultUnit)
	default:
		m.Name = fmt.Sprintf("batch up to %d B, one metered message: ", best.Limit)
	}
	m.Risk = fmt.Sprintf("a message waits up to %v (batch.age) for others of its topic", batch.Age)
	if batch.Age < batchAge {
		m.Risk += fmt.Sprintf(", half of the route's ttl (%v)", does.TTL)
	}
	switch {
	case does.Batch.on():
	case does.KeepLast > 0:
		m.Unknown = fmt.Sprintf("a route with keep_last (%d) makes no batches: a batch that is replaced takes messages with it that nothing replaces; what of its messages all count needs a route of its own", does.KeepLast)
	case best.Age < shortestAge:
		m.Unknown = fmt.Sprintf("messages of its ttl (%v) would expire in open batches: lengthen it first", does.TTL)
	}
	plain := func(_ int, h *Treatment) { h.Batch = batch }
	change, wrapped := plain, f.inEnvelopes(plain)
	wrap := 10*f.packs(r, wrapped) < 9*f.packs(r, plain) // else it is not worth another form
	if does.Envelope || wrap {
		change = wrapped
	}
	if wrap && !does.Envelope {
		name := "with origin: envelope, "
		if enough {
			name = "origin: envelope with the batches that it makes, "
			m.Risk = "each message is longer by its envelope"
		}
		m.Name += name + "as messages have user properties of their own, "
		m.Consumer += "; whose each message is, and its user properties, stand in its envelope"
	}
	m.Past = f.past(r.name, func(d Does) bool { return enough && (d.Envelope || !wrap) })
	if enough && m.Name == "" {
		m.Name = fmt.Sprintf("batch up to %d B: ", batch.Limit)
	}
	var to, untold []int
	kept, alone := false, false
	for _, i := range r.all {
		t := f.Traffic[i]
		if t.service() {
			continue
		}
		if t.Kind == Alone {
			m.stays, alone = append(m.stays, i), true
			continue
		}
		if own, _ := t.Sizes.Own(); wrap && own > 0 && t.Kind == Batched {
			m.Unknown = cmp.Or(m.Unknown, "an envelope goes around each message, and how many of them are in the batches that were sent is not recorded; try `ebbgate bill what-if --routes` with a period in which there were none")
		}
		now := t.asItIs()
		now.ClearRetain = true
		then := now
		change(i, &then)
		if t.sent(then, unit).processed > t.sent(now, unit).processed {
			continue
		}
		kept = kept || t.Retained() > 0
		if t.Kind == Untold {
			untold = append(untold, i)
		} else {
			to = append(to, i)
		}
	}
	if len(to) == 0 && len(untold) > 0 {
		to = untold
		m.Unknown = cmp.Or(m.Unknown, "an earlier version has recorded the sizes, and did not tell what batches cannot hold (requests, Sparkplug under other topics) and what is one; ask again with --period day when all of a day was recorded by this one")
	}
	m.stays = append(m.stays, untold...)
	if alone {
		m.Risk += "; requests and the like go alone as they do now"
	}
	if kept {
		m.Consumer += "; what is retained goes alone: retain: clear comes first"
	}
	add(m, to, func(i int, h *Treatment) {
		if !kept || h.ClearRetain {
			change(i, h)
		}
	})
}

// inEnvelopes makes batches of envelopes of what has user properties of its own.
func (f *Fleet) inEnvelopes(batch func(int, *Treatment)) func(int, *Treatment) {
	return func(i int, h *Treatment) {
		batch(i, h)
		if n, _ := f.Traffic[i].Sizes.Own(); n == 0 {
			return
		}
		f.wrap(i, h)
		h.Batch.Own = true
	}
}

// packs is how many units a route comes to when it is changed.
func (f *Fleet) packs(r routeTraffic, change func(int, *Treatment)) (units int64) {
	p := f.Plan(nil)
	var at []int
	for _, i := range r.all {
		if t := f.Traffic[i]; !t.service() && t.Kind != Alone {
			p.Treatments[i].ClearRetain = true
			change(i, &p.Treatments[i])
			at = append(at, i)
		}
	}
	for _, n := range f.sendings(at, p.Treatments, int64(f.Options.Unit)) {
		units += n.processed
	}
	return units
}
