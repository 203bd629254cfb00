package billing

import (
	"cmp"
	"fmt"
	"maps"
	"math/big"
	"slices"
	"time"
)

// Line is one row of the ledger, summed over a span.
type Line struct {
	Start     time.Time `json:"start,omitzero"`     // of the line's hour or day, where the bill was asked for them
	Upstream  string    `json:"upstream"`           // or what it was metered in another place: "aws (us-east-1)"
	Of        string    `json:"of,omitempty"`       // the upstream's name then
	Direction string    `json:"direction"`          // up | down | link
	Device    string    `json:"device"`             // client id; empty for down
	Thing     string    `json:"thing,omitempty"`    // of the device
	Topic     string    `json:"topic"`              // prefix; for link the packet, or empty for the minutes
	Route     string    `json:"route,omitempty"`    // that sent it
	Priority  string    `json:"priority,omitempty"` // the route's in the present configuration, where whoever asks has set it
	Counts
	USD       string `json:"usd,omitempty"`           // this line's share of its upstream's metered cost
	Estimated string `json:"estimated_usd,omitempty"` // of what was declared for its topic
	Hidden    string `json:"not_visible,omitempty"`   // what may cost more and cannot be seen here, in a word or two

	cost, estimate *big.Rat
	weight         *big.Rat // of its estimate among those of the total
}

// Total is one upstream's sum, in one region and account.
type Total struct {
	Upstream string `json:"upstream"`         // or what it was metered in another place: "aws (us-east-1)"
	Of       string `json:"of,omitempty"`     // the upstream's name then
	Region   string `json:"region,omitempty"` // empty: not priced
	Account  string `json:"account,omitempty"`
	Unit     int64  `json:"unit_bytes"`
	Gone     bool   `json:"gone,omitempty"` // the configuration has no such upstream any more
	Counts
	Unsynchronised int64  `json:"unsynchronised_units"`    // of Units: their hour is an unsynchronised clock's word
	USD            string `json:"usd,omitempty"`           // of Units and Minutes
	USDRange       string `json:"usd_range,omitempty"`     // when prices or the unit are not known for certain: "low to high"
	USDMinutes     string `json:"usd_minutes,omitempty"`   // of USD: the connectivity
	USDUncertain   string `json:"usd_uncertain,omitempty"` // more, if every uncertain unit was billed
	Estimated      string `json:"estimated_usd,omitempty"` // of what was declared: rules, actions, subscribers; and shadow operations
	EstimatedRange string `json:"estimated_range,omitempty"`
	LinkUSD        string `json:"link_usd,omitempty"` // of LinkBytes, by the link's price

	// Of requests to a store of files: in none of the others.
	Requests         *Requests `json:"requests,omitempty"`
	USDRequests      string    `json:"usd_requests,omitempty"`
	USDRequestsRange string    `json:"usd_requests_range,omitempty"`
	RequestsStatus   string    `json:"requests_price_status,omitempty"`
	RequestsNote     string    `json:"requests_note,omitempty"` // by which prices, or why there are none

	PricesAsOf     string `json:"prices_as_of,omitempty"`
	PriceStatus    string `json:"price_status,omitempty"` // sourced | inferred | unverified: the least well known of those used
	EstimateStatus string `json:"estimate_status,omitempty"`

	EstimatedUsage Usage `json:"estimated_usage"`

	messages, minutes, estimated Amount
	leastUsage                   Usage    // of EstimatedUsage, what certainly was
	weight                       *big.Rat // of all lines' estimates together
}

// Bill is the ledger of a span, priced. Amounts are US dollars in decimals.
type Bill struct {
	From       time.Time `json:"from"`
	To         time.Time `json:"to"`      // exclusive
	Totals     []Total   `json:"totals"`  // by upstream
	Lines      []Line    `json:"lines"`   // by upstream, direction, device, topic and route
	Unknown    Counts    `json:"unknown"` // of all time: the clock was wrong; in no span and no total
	NotVisible []string  `json:"not_visible"`
}

// Name is the upstream's own, whichever place the line is of.
func (n *Line) Name() string { return cmp.Or(n.Of, n.Upstream) }

// Name is the upstream's own, whichever place the total is of.
func (t *Total) Name() string { return cmp.Or(t.Of, t.Upstream) }

// NotVisible names what a cloud bills and no gateway can see.
func NotVisible() []string {
	return []string{
		"rules, actions and subscribers that are not declared (billing.declared_rules)",
		"messages that the cloud stored for sessions and groups that were offline (M13, M14)",
		"retained messages read over HTTP (M12), direct messages (M22), lifecycle events (M27)",
		"what else the account uses: tiers and free tier (billing.other_usage)",
		"registry calls, Device Defender's datapoints, what S3 stores, and taxes",
	}
}

// Bill reads the hours from (inclusive) to to (exclusive), both within one
// UTC month. The cost of a part of a month is what it added to the month's:
// tiers and free tier are used up from the first on (M28), by what the rest of
// the account was declared to use before all.
func (l *Ledger) Bill(from, to time.Time) (*Bill, error) { return l.detail(from, to, 0, true) }

// Detail is [Ledger.Bill] with lines told apart by hours or days: step is
// [time.Hour], 24 times that, or 0 for neither. What was summed up since keeps
// the first hour of its day or month.
func (l *Ledger) Detail(from, to time.Time, step time.Duration) (*Bill, error) {
	return l.detail(from, to, step, true)
}

// Course is [Ledger.Detail] of all devices together: a thousand of them would make
// more than a million lines of the hours of a month.
func (l *Ledger) Course(from, to time.Time, step time.Duration) (*Bill, error) {
	return l.detail(from, to, step, false)
}

func (l *Ledger) detail(from, to time.Time, step time.Duration, devices bool) (*Bill, error) {
	monthStart, monthEnd := Month(from)
	if !from.Before(to) || to.After(monthEnd) {
		return nil, fmt.Errorf("billing: %s to %s is not a span within one month", from.Format(time.DateTime), to.Format(time.DateTime))
	}
	bill := &Bill{From: from.UTC(), To: to.UTC(), Totals: []Total{}, NotVisible: NotVisible()}
	totals := l.empty()
	lines, earlier := map[Line]*Counts{}, map[Line]*Counts{}
	err := l.scan(monthStart.Format(monthLayout), func(start time.Time, synced bool, s series, c Counts) {
		if !start.Before(to) {
			return
		}
		id := Line{Upstream: s.upstream, Of: l.part(s.upstream).away(), Direction: s.direction, Device: s.device, Thing: s.thing, Topic: s.prefix, Route: s.route}
		if start.Before(from) {
			if earlier[id] == nil {
				earlier[id] = &Counts{}
			}
			earlier[id].add(c)
			return
		}
		t := totals[s.upstream]
		if t == nil {
			t = l.total(l.part(s.upstream))
			totals[s.upstream] = t
		}
		t.add(c)
		if s.isRequest() && c.Messages > 0 {
			if t.Requests == nil {
				t.Requests = &Requests{}
			}
			t.Requests.add(s.prefix, c.Messages)
		}
		if !synced {
			t.Unsynchronised += c.Units
		}
		if step > 0 {
			id.Start = start.Truncate(step)
		}
		if !devices {
			id.Device, id.Thing = "", ""
		}
		if lines[id] == nil {
			lines[id] = &Counts{}
		}
		lines[id].add(c)
	})
	if err == nil {
		err = l.scanHour(hourUnknown, func(_ time.Time, _ bool, _ series, c Counts) { bill.Unknown.add(c) })
	}
	if err != nil {
		return nil, err
	}
	bill.Lines = sorted(lines)
	l.estimate(bill.Lines, totals)
	metered, declared := l.usedBy(earlier)
	for _, name := range slices.Sorted(maps.Keys(totals)) {
		t := totals[name]
		l.price(t, metered, declared)
		l.priceRequests(t)
		metered.add(l.accountOf(name), Usage{Messages: t.Units, Minutes: t.Minutes})
		declared.add(l.accountOf(name), t.EstimatedUsage)
		bill.Totals = append(bill.Totals, *t)
	}
	for i := range bill.Lines {
		bill.Lines[i].share(totals[bill.Lines[i].Upstream])
	}
	return bill, nil
}

func (l *Ledger) empty() map[string]*Total {
	out := map[string]*Total{}
	for name := range l.upstreams {
		out[name] = l.total(l.part(name))
	}
	return out
}

func (l *Ledger) total(p *part) *Total {
	_, store := l.stores[p.of]
	return &Total{Upstream: p.name, Of: p.away(), Region: p.options.Region, Account: p.options.Account, Unit: int64(p.options.Unit), Gone: p.gone && !store}
}

// usedBy sums up what each account was metered for lines, and what was declared
// for them.
func (l *Ledger) usedBy(lines map[Line]*Counts) (metered, declared shared) {
	metered, declared = shared{}, shared{}
	for n, c := range lines {
		a := l.accountOf(n.Upstream)
		metered.add(a, Usage{Messages: c.Units, Minutes: c.Minutes})
		_, most := l.options(n.Upstream).declared(n.series(), *c)
		declared.add(a, most)
	}
	return metered, declared
}

// price sets the total's costs, after what its account was metered before in the
// same month, and what was declared of that.
func (l *Ledger) price(t *Total, metered, declared shared) {
	list, o := l.part(t.Upstream).prices, l.options(t.Upstream)
	if p, _ := linkPrice(o.LinkPrice); p != nil {
		t.LinkUSD = Dollars(p.Mul(p, big.NewRat(t.LinkBytes(), 1_000_000)))
	}
	if list == nil {
		return
	}
	mine := l.accountOf(t.Upstream)
	before := l.otherUsage(t.Upstream).Plus(metered[mine])
	used := Usage{Messages: t.Units, Minutes: t.Minutes}
	free := l.freeTier(t.Upstream, metered)
	added := func(after, u Usage) Amount {
		a, _ := list.Added(t.Region, before.Plus(after), u, free)
		return a
	}
	if _, ok := list.charge(t.Region, used); !ok {
		return
	}
	// The other reading of "5 KB" would have made more metered messages, or less.
	t.messages = added(Usage{}, Usage{Messages: t.Units}).Spanning(added(Usage{}, Usage{Messages: t.Units + t.Other}))
	t.minutes = added(Usage{}, Usage{Minutes: t.Minutes})
	all := t.messages.Plus(t.minutes)
	t.USD, t.USDRange, t.USDMinutes = all.String(), all.Range(), t.minutes.String()
	t.USDUncertain = added(used, Usage{Messages: t.Uncertain}).String()
	t.PricesAsOf, t.PriceStatus = list.AsOf, list.status(t.Region, before, used.Plus(Usage{Messages: 1}))
	if t.EstimatedUsage == (Usage{}) {
		return
	}
	// What is declared comes after all that is metered, so that a day's estimate is
	// what the day adds to the month's.
	free = l.freeTier(t.Upstream, metered, declared)
	estimate := func(u Usage) Amount {
		now, _ := list.Added(t.Region, before.Plus(used), declared[mine].Plus(u), free)
		then, _ := list.Added(t.Region, before, declared[mine], free)
		return now.Minus(then)
	}
	t.estimated = estimate(t.EstimatedUsage).Spanning(estimate(t.leastUsage))
	t.Estimated, t.EstimatedRange = t.estimated.String(), t.estimated.Range()
	t.EstimateStatus = list.status(t.Region, before.Plus(used), t.EstimatedUsage)
}

// share gives the line its part of the total's cost: of the messages by its
// units, of the connectivity by its minutes, of the estimate by what it would cost
// alone.
func (n *Line) share(t *Total) {
	n.cost = new(big.Rat)
	if t.USD == "" {
		return
	}
	part := func(a Amount, n, of int64) *big.Rat {
		if of == 0 {
			return new(big.Rat)
		}
		return a.Times(n, of).Rat()
	}
	n.cost.Add(part(t.messages, n.Units, t.Units), part(t.minutes, n.Minutes, t.Minutes))
	n.USD = n.cost.FloatString(lineDigits)
	if n.weight != nil && t.Estimated != "" {
		n.estimate = new(big.Rat)
		if t.weight.Sign() > 0 {
			n.estimate.Mul(t.estimated.Rat(), n.weight).Quo(n.estimate, t.weight)
		}
		n.Estimated = n.estimate.FloatString(lineDigits)
	}
}

// lineDigits are the decimals of a line's USD: a message costs about a millionth
// of a dollar, and lines are added up by whoever reads them.
const lineDigits = 9

// sorted lists the lines in the order of their names.
func sorted(in map[Line]*Counts) []Line {
	out := make([]Line, 0, len(in))
	for n, c := range in {
		n.Counts = *c
		out = append(out, n)
	}
	rank := map[string]int{Up: 0, Down: 1, Link: 2}
	slices.SortFunc(out, func(a, b Line) int {
		return cmp.Or(a.Start.Compare(b.Start), cmp.Compare(a.Upstream, b.Upstream), cmp.Compare(rank[a.Direction], rank[b.Direction]),
			cmp.Compare(a.Device, b.Device), cmp.Compare(a.Topic, b.Topic), cmp.Compare(a.Route, b.Route), cmp.Compare(a.Thing, b.Thing))
	})
	return out
}
