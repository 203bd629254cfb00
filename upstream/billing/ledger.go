package billing

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"math/big"
	"os"
	"slices"
	"time"

	"github.com/ebbgate/ebbgate/bridge"
)

// Ledger reads what [Meter] wrote. It is safe for concurrent use.
type Ledger struct {
	spool     Counters
	upstreams map[string]Options
	prices    map[string]*PriceList // by upstream

	closed closedHours
}

// Counters is the part of [bridge.Spool] that a bill is read from.
type Counters interface {
	Scan(namespace, prefix string, fn func(key string, value []byte) bool) error
}

// NewLedger reads the ledger in spool and prices it by each upstream's options,
// whose Region must be filled in ([RegionOf]). It reads the price lists that
// the options name.
func NewLedger(spool Counters, upstreams map[string]Options) (*Ledger, error) {
	l := &Ledger{spool: spool, upstreams: upstreams, prices: map[string]*PriceList{}}
	shared := BuiltIn()
	for name, o := range upstreams {
		l.prices[name] = shared
		if o.PriceList == "" {
			continue
		}
		data, err := os.ReadFile(o.PriceList)
		if err != nil {
			return nil, fmt.Errorf("billing: price list of %s: %w", name, err)
		}
		if l.prices[name], err = ParsePrices(data); err != nil {
			return nil, fmt.Errorf("billing: %s: %w", o.PriceList, err)
		}
	}
	return l, nil
}

// Line is one row of the ledger, summed over a span.
type Line struct {
	Upstream  string `json:"upstream"`
	Direction string `json:"direction"` // up | down
	Device    string `json:"device"`    // client id; empty for down
	Topic     string `json:"topic"`     // prefix
	Counts
	USD string `json:"usd,omitempty"` // this line's share of its upstream's cost

	cost *big.Rat
}

// Counts is what crossed.
type Counts struct {
	Units     int64 `json:"units"`           // metered messages, acknowledged
	Uncertain int64 `json:"uncertain_units"` // metered messages, sent with an unknown fate
	Messages  int64 `json:"messages"`        // MQTT messages, acknowledged
	Wire      int64 `json:"wire_bytes"`      // packets' bytes, without TLS and TCP
}

func (c *Counts) add(o Counts) {
	c.Units += o.Units
	c.Uncertain += o.Uncertain
	c.Messages += o.Messages
	c.Wire += o.Wire
}

// Total is one upstream's sum.
type Total struct {
	Upstream string `json:"upstream"`
	Region   string `json:"region,omitempty"` // empty: not priced
	Unit     int64  `json:"unit_bytes"`
	Counts
	Unsynchronised int64  `json:"unsynchronised_units"`    // of Units: their hour is an unsynchronised clock's word
	USD            string `json:"usd,omitempty"`           // of Units
	USDUncertain   string `json:"usd_uncertain,omitempty"` // more, if every uncertain unit was billed
	PricesAsOf     string `json:"prices_as_of,omitempty"`
	PriceStatus    string `json:"price_status,omitempty"` // sourced | inferred | unverified

	cost *big.Rat
}

// Bill is the ledger of a span, priced. Amounts are US dollars in decimals.
type Bill struct {
	From    time.Time `json:"from"`
	To      time.Time `json:"to"`      // exclusive
	Totals  []Total   `json:"totals"`  // by upstream
	Lines   []Line    `json:"lines"`   // by upstream, direction, device and topic
	Unknown Counts    `json:"unknown"` // of all time: the clock was wrong; in no span and no total
}

// Today is the span of the UTC day of now.
func Today(now time.Time) (from, to time.Time) {
	y, m, d := now.UTC().Date()
	from = time.Date(y, m, d, 0, 0, 0, 0, time.UTC)
	return from, from.AddDate(0, 0, 1)
}

// Month is the span of the UTC month of now: AWS's billing period.
func Month(now time.Time) (from, to time.Time) {
	y, m, _ := now.UTC().Date()
	from = time.Date(y, m, 1, 0, 0, 0, 0, time.UTC)
	return from, from.AddDate(0, 1, 0)
}

// Bill reads the hours from (inclusive) to to (exclusive), both within one
// UTC month. The cost of a part of a month is what it added to the month's:
// tiers and free tier are used up from the first on (M28).
func (l *Ledger) Bill(from, to time.Time) (*Bill, error) {
	monthStart, monthEnd := Month(from)
	if !from.Before(to) || to.After(monthEnd) {
		return nil, fmt.Errorf("billing: %s to %s is not a span within one month", from.Format(time.DateTime), to.Format(time.DateTime))
	}
	bill := &Bill{From: from.UTC(), To: to.UTC(), Totals: []Total{}, Lines: []Line{}}
	totals, before := l.empty(), map[string]int64{}
	var lines []Line
	err := l.scan(monthStart.Format(monthLayout), func(start time.Time, synced bool, s series, c Counts) {
		if start.Before(from) {
			before[s.upstream] += c.Units
			return
		}
		if !start.Before(to) {
			return
		}
		t := totals[s.upstream]
		if t == nil {
			t = &Total{Upstream: s.upstream, Unit: DefaultUnit}
			totals[s.upstream] = t
		}
		t.add(c)
		if !synced {
			t.Unsynchronised += c.Units
		}
		lines = append(lines, Line{Upstream: s.upstream, Direction: s.direction, Device: s.device, Topic: s.prefix, Counts: c})
	})
	if err == nil {
		err = l.scanHour(hourUnknown, func(_ time.Time, _ bool, _ series, c Counts) { bill.Unknown.add(c) })
	}
	if err != nil {
		return nil, err
	}
	for _, t := range totals {
		l.price(t, before[t.Upstream])
		bill.Totals = append(bill.Totals, *t)
	}
	slices.SortFunc(bill.Totals, func(a, b Total) int { return cmp.Compare(a.Upstream, b.Upstream) })
	bill.Lines = merge(lines)
	for i := range bill.Lines {
		bill.Lines[i].share(totals[bill.Lines[i].Upstream])
	}
	return bill, nil
}

func (l *Ledger) empty() map[string]*Total {
	out := map[string]*Total{}
	for name, o := range l.upstreams {
		out[name] = &Total{Upstream: name, Region: o.Region, Unit: int64(o.Unit)}
	}
	return out
}

// price sets the total's cost, after before units in the same month.
func (l *Ledger) price(t *Total, before int64) {
	t.cost = new(big.Rat)
	list := l.prices[t.Upstream]
	if list == nil {
		return
	}
	cost := func(from, to int64) (*big.Rat, bool) {
		a, _ := list.Cost(t.Region, Usage{Messages: from}, l.upstreams[t.Upstream].FreeTier)
		b, ok := list.Cost(t.Region, Usage{Messages: to}, l.upstreams[t.Upstream].FreeTier)
		return b.Sub(b, a), ok
	}
	usd, ok := cost(before, before+t.Units)
	if !ok {
		return
	}
	more, _ := cost(before+t.Units, before+t.Units+t.Uncertain)
	t.cost, t.USD, t.USDUncertain = usd, Dollars(usd), Dollars(more)
	t.PricesAsOf, t.PriceStatus = list.AsOf, list.Regions[t.Region].Messages[0].Status
}

// share gives the line its part of the total's cost, by units.
func (n *Line) share(t *Total) {
	n.cost = new(big.Rat)
	if t.USD == "" {
		return
	}
	if t.Units > 0 {
		n.cost.Mul(t.cost, big.NewRat(n.Units, t.Units))
	}
	n.USD = n.cost.FloatString(lineDigits)
}

// lineDigits are the decimals of a line's USD: a message costs about a millionth
// of a dollar, and lines are added up by whoever reads them.
const lineDigits = 9

// merge sums the lines of the same series, in the order of their names.
func merge(in []Line) []Line {
	slices.SortFunc(in, func(a, b Line) int {
		return cmp.Or(cmp.Compare(a.Upstream, b.Upstream), -cmp.Compare(a.Direction, b.Direction), cmp.Compare(a.Device, b.Device), cmp.Compare(a.Topic, b.Topic))
	})
	out := []Line{}
	for _, n := range in {
		if k := len(out) - 1; k >= 0 && out[k].Upstream == n.Upstream && out[k].Direction == n.Direction && out[k].Device == n.Device && out[k].Topic == n.Topic {
			out[k].add(n.Counts)
			continue
		}
		out = append(out, n)
	}
	return out
}

// scan reads the hours that begin with prefix, synchronised or not. A series
// comes once per hour and kind.
func (l *Ledger) scan(prefix string, fn func(start time.Time, synced bool, s series, c Counts)) error {
	if err := l.scanHour(prefix, fn); err != nil {
		return err
	}
	return l.scanHour(unsynced+prefix, fn)
}

func (l *Ledger) scanHour(prefix string, fn func(start time.Time, synced bool, s series, c Counts)) error {
	err := l.spool.Scan(Namespace, prefix, func(key string, value []byte) bool {
		hour, s, kind, ok := parseKey(key)
		if !ok || len(value) != 8 {
			return true
		}
		start, synced, ok := parseHour(hour)
		if !ok {
			return true
		}
		var c Counts
		n := int64(binary.BigEndian.Uint64(value))
		switch kind {
		case kindUnits:
			c.Units = n
		case kindUncertain:
			c.Uncertain = n
		case kindMessages:
			c.Messages = n
		case kindWire:
			c.Wire = n
		}
		fn(start, synced, s, c)
		return true
	})
	if err != nil {
		return fmt.Errorf("billing: reading the ledger: %w", err)
	}
	return nil
}

var _ Counters = bridge.Spool(nil)
