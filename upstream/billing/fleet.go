package billing

import (
	"fmt"
	"math/big"
	"slices"
	"time"
)

// Fleet is what one upstream sent and received in a span, ready to be priced as
// if it had been done in other ways.
type Fleet struct {
	Upstream string
	Traffic  []Traffic
	Rules    [][]DeclaredRule // by index of Traffic: what is declared for it
	Fixed    Usage            // deliveries, connections and their minutes, shadow operations: the same in every way
	Acks     int64            // of Fixed.Messages: our PUBACKs of deliveries
	Links    Usage            // of Fixed: connections and their minutes
	Received int64            // deliveries, which need a connection
	Rest     Usage            // what the ledger has and the sizes do not, as it was billed; below zero where they have more
	Reread   Usage            // the same by the other reading of "5 KB"
	Covered  Coverage         // of what went up, by the sizes
	Span     time.Duration    // in which all that happened
	Least    time.Duration    // Span, less what of the first hour may have been before the first message
	Region   string           // where the upstream is now: all is priced as if it had gone there
	Prices   *PriceList
	Options  Options

	Routes    map[string]Does // the routes of the configuration; nil: not known, and all that have sent are taken for them
	Elsewhere []string        // what of it went to other places, as the bill calls them

	Before Usage // what the rest of the account uses in a month of the region
	Free   Usage // what of it all is free

	sized, resized Usage // what the recorded sizes make of all as it was sent, by the unit and by its other reading

	known map[asked]sending // what was worked out before; nil remembers nothing
}

// asked is how a fleet's traffic, by its index, is treated, in units of so many bytes.
type asked struct {
	traffic int
	how     Treatment
	unit    int64
}

// sent is what a traffic of the fleet comes to.
func (f *Fleet) sent(i int, how Treatment, unit int64) sending {
	key := asked{i, how, unit}
	n, ok := f.known[key]
	if !ok {
		n = f.Traffic[i].sent(how, unit)
		if f.known != nil {
			f.known[key] = n
		}
	}
	return n
}

// Coverage is how much of what the ledger has of the way up the recorded sizes know
// of: not the last minute before a kill or, of a gateway that runs, before now; not
// what went longer ago than they are kept.
type Coverage struct {
	Messages, Recorded      int64
	Untold                  int64 // of Recorded, see Kind
	Units, RecordedUnits    int64 // metered messages
	Processed, RecordedRule int64 // units that Basic Ingest's rules processed
}

// Whole reports whether the sizes know of all.
func (c Coverage) Whole() bool {
	return c.Recorded >= c.Messages && c.RecordedUnits == c.Units && c.RecordedRule == c.Processed
}

// monthOf is the month to which a fleet is scaled.
const monthOf = 30 * 24 * time.Hour

// Fleet collects what an upstream sent and received from (inclusive) to to
// (exclusive), both in one month, and not later than now.
func (l *Ledger) Fleet(upstream string, from, to, now time.Time) (*Fleet, error) {
	if to.After(now) {
		to = now
	}
	if !from.Before(to) {
		return nil, fmt.Errorf("billing: from %s on there is nothing yet", from.Format(time.DateTime))
	}
	o, known := l.upstreams[upstream]
	if !known {
		return nil, fmt.Errorf("billing: no upstream %s", upstream)
	}
	bill, err := l.Bill(from, to)
	if err != nil {
		return nil, err
	}
	f := &Fleet{Upstream: upstream, Region: o.Region, Prices: l.part(upstream).prices, Options: o}
	if f.Traffic, err = l.Traffic(upstream, from, to); err != nil {
		return nil, err
	}
	for _, t := range f.Traffic {
		rules, _ := o.rulesOf(t.Topic)
		f.Rules = append(f.Rules, rules)
	}
	var up Counts
	var billed, reread Usage
	for _, n := range bill.Lines {
		if n.Name() != upstream {
			continue
		}
		if n.Of != "" && !slices.Contains(f.Elsewhere, n.Upstream) {
			f.Elsewhere = append(f.Elsewhere, n.Upstream)
		}
		if n.Direction != Up {
			f.Fixed.Messages += n.Units
			f.Fixed.Minutes += n.Minutes
			f.Acks += n.Acks
			if n.Direction == Link {
				f.Links = f.Links.Plus(Usage{Messages: n.Units, Minutes: n.Minutes})
			} else {
				f.Received += n.Messages
			}
			continue
		}
		_, declared := o.declared(n.series(), n.Counts)
		f.Fixed.Shadow += declared.Shadow
		declared.Shadow = 0
		billed = billed.Plus(declared).Plus(Usage{Messages: n.Units})
		reread = reread.Plus(declared).Plus(Usage{Messages: n.Units + n.Other})
		up.add(n.Counts)
	}
	f.account(up, billed, reread)
	f.Span = to.Sub(from)
	if first, ok, err := l.first(upstream, from, to); err != nil {
		return nil, err
	} else if ok { // a gateway that is new has a shorter past
		f.Span = to.Sub(first)
		if f.Least = f.Span; first.After(from) { // the ledger tells hours: it may have begun at the end of its first
			f.Least -= ledgerHour
		}
	}
	f.Span, f.Least = max(f.Span, time.Hour), max(f.Least, paceEnough)
	f.Before, f.Free = l.beside(upstream, bill, f.Span)
	return f, nil
}

// account sets what of the ledger the sizes cover, and what they do not.
func (f *Fleet) account(up Counts, billed, reread Usage) {
	unit := int64(f.Options.Unit)
	f.Covered = Coverage{Messages: up.Messages, Units: up.Units, Processed: up.Basic}
	as := f.Plan(nil)
	for i, t := range f.Traffic {
		f.Covered.Recorded += t.Sizes.Messages()
		if t.Kind == Untold {
			f.Covered.Untold += t.Sizes.Messages()
		}
		n := t.sent(as.Treatments[i], unit)
		f.Covered.RecordedUnits += n.metered
		if IsBasicIngest(t.Topic) {
			f.Covered.RecordedRule += n.processed
		}
		f.sized = f.sized.Plus(t.Usage(as.Treatments[i], unit, f.Rules[i]))
		f.resized = f.resized.Plus(t.Usage(as.Treatments[i], otherReading(unit), f.Rules[i]))
	}
	f.Rest, f.Reread = billed.Minus(f.sized), reread.Minus(f.resized)
}

// beside is what the rest of an upstream's account uses in a month beside it, when
// all goes on as in the span of the bill, and what of it all is free.
func (l *Ledger) beside(upstream string, bill *Bill, span time.Duration) (before, free Usage) {
	used := shared{}
	for _, t := range bill.Totals {
		if t.Name() == upstream { // those behind it are priced after it
			break
		}
		if t.Gone {
			continue
		}
		used.add(l.accountOf(t.Name()), Usage{Messages: t.Units, Minutes: t.Minutes}.scaled(monthOf, span))
	}
	return l.otherUsage(upstream).Plus(used[l.accountOf(upstream)]), l.freeTier(upstream, used)
}

// first is the first hour in which an upstream was billed anything.
func (l *Ledger) first(upstream string, from, to time.Time) (first time.Time, ok bool, err error) {
	err = l.scan(from.Format(monthLayout), func(start time.Time, _ bool, s series, _ Counts) {
		if l.part(s.upstream).of == upstream && !start.Before(from) && start.Before(to) && (!ok || start.Before(first)) {
			first, ok = start, true
		}
	})
	return first, ok, err
}

// Plan is how each traffic of a fleet is treated, and what else is done.
type Plan struct {
	Treatments []Treatment // by index of Traffic; missing ones are as they were sent
	Region     string      // empty: the fleet's
	Prices     *PriceList  // nil: the fleet's
	Unit       int64       // 0: that of the options
	DownQoS0   bool        // deliveries without answers

	// Connections replaces those that there were: so many, each opened once and open
	// all the time. 0 keeps them, below 0 there are none.
	Connections int64
}

// Usage is what a fleet would be billed for in a month of 30 days by a plan.
func (f *Fleet) Usage(p Plan) Usage { return f.Counted(p).scaled(monthOf, f.Span) }

// Counted is what it would have been billed for in its span: as it is sent, what
// the bill says.
func (f *Fleet) Counted(p Plan) Usage {
	if p.Unit == 0 {
		return f.counted(p, int64(f.Options.Unit))
	}
	return f.counted(p, p.Unit)
}

// Unsized is what of a month's usage has no recorded sizes: it is the same in
// every plan, but for the unit.
func (f *Fleet) Unsized(p Plan) Usage {
	unit := p.Unit
	if unit == 0 {
		unit = int64(f.Options.Unit)
	}
	return f.unsized(unit, Usage{}).scaled(monthOf, f.Span)
}

// unsized is what has no recorded sizes. Sizes near the end of a unit are recorded as one,
// and may make more of what was sent than was billed: then that much is taken off, of a
// plan by which less is sent its part of it.
func (f *Fleet) unsized(unit int64, sent Usage) Usage {
	rest, sized := f.Rest, f.sized
	if unit != int64(f.Options.Unit) && unit == otherReading(int64(f.Options.Unit)) {
		rest, sized = f.Reread, f.resized
	}
	part := func(rest, sent, sized int64) int64 {
		if rest >= 0 {
			return rest
		}
		return portion(rest, sent, sized)
	}
	rest.Messages = part(rest.Messages, sent.Messages, sized.Messages)
	rest.Rules, rest.Actions = part(rest.Rules, sent.Rules, sized.Rules), part(rest.Actions, sent.Actions, sized.Actions)
	return rest
}

// counted counts in units of so many bytes. What has no sizes is known by both
// readings of "5 KB", and else as it was billed.
func (f *Fleet) counted(p Plan, unit int64) Usage {
	u := f.Fixed
	if p.DownQoS0 {
		u.Messages -= f.Acks
	}
	if p.Connections != 0 {
		n := max(p.Connections, 0)
		u = u.Minus(f.Links).Plus(Usage{Messages: n, Minutes: n * Minutes(f.Span)})
	}
	treatments, all := f.Plan(nil).Treatments, make([]int, len(f.Traffic))
	copy(treatments, p.Treatments)
	for i := range all {
		all[i] = i
	}
	var sent Usage
	for i, n := range f.sendings(all, treatments, unit) {
		sent = sent.Plus(f.Traffic[i].usage(n, f.Rules[i]))
	}
	return u.Plus(sent).Plus(f.unsized(unit, sent))
}

// scaled is the usage of another span at the same pace.
func (u Usage) scaled(to, from time.Duration) Usage {
	by := func(n int64) int64 { return portion(n, int64(to/time.Second), int64(from/time.Second)) }
	return Usage{Messages: by(u.Messages), Minutes: by(u.Minutes), Shadow: by(u.Shadow), Rules: by(u.Rules), Actions: by(u.Actions), Direct: by(u.Direct)}
}

// portion is n·part/of, which may be more than fits before it is divided.
func portion(n, part, of int64) int64 {
	r := new(big.Int).Mul(big.NewInt(n), big.NewInt(part))
	return r.Div(r, big.NewInt(max(1, of))).Int64()
}

// Cost is what a plan costs in a month of 30 days, on top of what the rest of
// the account uses; false without prices for the region.
func (f *Fleet) Cost(p Plan) (Amount, bool) { return f.cost(p, f.Usage(p)) }

// Range is Cost between both readings of "5 KB", where the unit is one of them and
// the plan does not say which.
func (f *Fleet) Range(p Plan) (Amount, bool) {
	a, ok := f.Cost(p)
	if b, differs := f.reread(p); differs {
		a = a.Spanning(b)
	}
	return a, ok
}

// Saved is what one plan costs less in a month than another, between both readings: each
// is by the same for both plans, whichever makes which of them dearer.
func (f *Fleet) Saved(from, to Plan) Amount {
	was, _ := f.Cost(from)
	is, _ := f.Cost(to)
	saved := was.Minus(is)
	if reread, differs := f.reread(from); differs {
		is, _ := f.reread(to)
		saved = saved.Spanning(reread.Minus(is))
	}
	return saved
}

// reread is the cost of a plan by the other reading, where there is one.
func (f *Fleet) reread(p Plan) (a Amount, differs bool) {
	unit := int64(f.Options.Unit)
	if p.Unit != 0 || otherReading(unit) == unit {
		return Amount{}, false
	}
	a, _ = f.cost(p, f.counted(p, otherReading(unit)).scaled(monthOf, f.Span))
	return a, true
}

func (f *Fleet) cost(p Plan, u Usage) (Amount, bool) {
	region, before, prices := f.Region, f.Before, f.Prices
	if p.Region != "" && p.Region != region { // what else is there is not known
		region, before = p.Region, Usage{}
	}
	if p.Prices != nil {
		prices = p.Prices
	}
	if prices == nil {
		return Amount{}, false
	}
	return prices.Added(region, before, u, f.Free)
}
