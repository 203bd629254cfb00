package billing

import (
	"fmt"
	"math/big"
	"time"
)

// Fleet is what one upstream sent and received in a span, ready to be priced as
// if it had been done in other ways.
type Fleet struct {
	Upstream string
	Traffic  []Traffic
	Rules    []DeclaredRule // by index of Traffic: what is declared for it
	Fixed    Usage          // deliveries, connections and their minutes: the same in every way
	Acks     int64          // of Fixed.Messages: our PUBACKs of deliveries
	Span     time.Duration  // in which all that happened
	Region   string
	Prices   *PriceList
	Options  Options
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
	f := &Fleet{Upstream: upstream, Region: o.Region, Prices: l.prices[upstream], Options: o}
	if f.Traffic, err = l.Traffic(upstream, from, to); err != nil {
		return nil, err
	}
	for _, t := range f.Traffic {
		f.Rules = append(f.Rules, o.rule(t))
	}
	for _, n := range bill.Lines {
		if n.Upstream != upstream || n.Direction == Up {
			continue
		}
		f.Fixed.Messages += n.Units
		f.Fixed.Minutes += n.Minutes
		f.Acks += n.Acks
	}
	f.Span = to.Sub(from)
	if first, ok, err := l.first(upstream, from, to); err != nil {
		return nil, err
	} else if ok { // a gateway that is new has a shorter past
		f.Span = to.Sub(first)
	}
	f.Span = max(f.Span, time.Hour)
	return f, nil
}

// first is the first hour in which an upstream was billed anything.
func (l *Ledger) first(upstream string, from, to time.Time) (first time.Time, ok bool, err error) {
	err = l.scan(from.Format(monthLayout), func(start time.Time, _ bool, s series, _ Counts) {
		if s.upstream == upstream && !start.Before(from) && start.Before(to) && (!ok || start.Before(first)) {
			first, ok = start, true
		}
	})
	return first, ok, err
}

// rule sums up what is declared for a prefix.
func (o Options) rule(t Traffic) DeclaredRule {
	out := DefaultDeclaredRule()
	for _, r := range o.DeclaredRules {
		if covers(r.Topic, t.Topic, o.PrefixLevels) != coversNone {
			out.Rules += r.Rules
			out.Actions += max(r.Actions, r.Rules)
			out.Subscribers += r.Subscribers
			if r.Subscribers > 0 {
				out.QoS = r.QoS
			}
		}
	}
	return out
}

// Plan is how each traffic of a fleet is treated, and what else is done.
type Plan struct {
	Treatments []Treatment // by index of Traffic; missing ones are the zero Treatment
	Region     string      // empty: the fleet's
	Unit       int64       // 0: that of the options
	DownQoS0   bool        // deliveries without answers
}

// Usage is what a fleet would be billed for in a month of 30 days by a plan.
func (f *Fleet) Usage(p Plan) Usage {
	unit := p.Unit
	if unit == 0 {
		unit = int64(f.Options.Unit)
	}
	u := f.Fixed
	if p.DownQoS0 {
		u.Messages -= f.Acks
	}
	for i, t := range f.Traffic {
		how := Treatment{}
		if i < len(p.Treatments) {
			how = p.Treatments[i]
		}
		u = u.Plus(t.Usage(how, unit, f.Rules[i]))
	}
	return u.scaled(monthOf, f.Span)
}

// scaled is the usage of another span at the same pace.
func (u Usage) scaled(to, from time.Duration) Usage {
	by := func(n int64) int64 {
		r := new(big.Int).Mul(big.NewInt(n), big.NewInt(int64(to/time.Second)))
		return r.Div(r, big.NewInt(max(1, int64(from/time.Second)))).Int64()
	}
	return Usage{Messages: by(u.Messages), Minutes: by(u.Minutes), Shadow: by(u.Shadow), Rules: by(u.Rules), Actions: by(u.Actions), Direct: by(u.Direct)}
}

// Cost is what a plan costs in a month of 30 days, on top of what the rest of
// the account was declared to use; false without prices for the region.
func (f *Fleet) Cost(p Plan) (Amount, bool) {
	region := p.Region
	if region == "" {
		region = f.Region
	}
	if f.Prices == nil {
		return Amount{}, false
	}
	return f.Prices.Added(region, f.Options.OtherUsage.usage(), f.Usage(p), f.Options.FreeTier)
}
