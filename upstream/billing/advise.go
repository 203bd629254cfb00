package billing

import (
	"fmt"
	"math/big"
	"slices"
	"strings"
)

// Measure is something that could be done to save money.
type Measure struct {
	Name     string // what to do
	Risk     string // what it may cost otherwise
	Consumer string // what who reads the messages must change
	Past     string // why it is not to be advised any more; empty: it is
	Unknown  string // why nobody can tell what it saves, or whether it can be had; empty: it is told

	apply func(*Plan)
	stays []int // of the traffic: what it does not change, and need not be kept apart for it
}

// Advice is a measure with what it saves, on top of those before it.
type Advice struct {
	Measure
	PerYear Amount
}

// routeTraffic is what one route has sent, by index of the fleet's traffic.
type routeTraffic struct {
	name string
	all  []int
}

// byRoute are the routes that have sent something. What the ledger and the sizes
// tell as (other) only is no route's that anybody could change.
func (f *Fleet) byRoute() (out []routeTraffic) {
	for i, t := range f.Traffic { // by route
		if t.Route == "" || t.Route == other {
			continue
		}
		if n := len(out); n == 0 || out[n-1].name != t.Route {
			out = append(out, routeTraffic{name: t.Route})
		}
		last := &out[len(out)-1]
		last.all = append(last.all, i)
	}
	return out
}

// Measures are what could be done about a fleet.
func (f *Fleet) Measures() []Measure {
	return slices.DeleteFunc(f.measures(), func(m Measure) bool { return m.Past != "" || m.Unknown != "" })
}

// Maybe are the measures that may save something, and of which what is recorded does not
// tell how much: those that could be worth leastPerYear dollars a year at the best.
func (f *Fleet) Maybe(leastPerYear *big.Rat) (out []Measure) {
	now, ok := f.Cost(f.Plan(nil))
	if !ok {
		return nil
	}
	unknown := slices.DeleteFunc(f.measures(), func(m Measure) bool { return m.Past != "" || m.Unknown == "" })
	for _, a := range f.savings(now, nil, unknown) {
		if usd := a.PerYear.Rat(); usd.Sign() > 0 && usd.Cmp(leastPerYear) >= 0 {
			out = append(out, a.Measure)
		}
	}
	return out
}

// Past are the measures that the configuration has taken, or cannot take any more, with
// what would have been saved a year of what was sent without them: by themselves, the most
// first.
func (f *Fleet) Past() []Advice {
	now, ok := f.Cost(f.Plan(nil))
	if !ok {
		return nil
	}
	past := slices.DeleteFunc(f.measures(), func(m Measure) bool { return m.Past == "" || m.Unknown != "" })
	return slices.DeleteFunc(f.savings(now, nil, past), func(a Advice) bool { return a.PerYear.Rat().Sign() <= 0 })
}

// measures are what could be done about a fleet, whether it saves or not: each to a
// route, as the configuration has them. What of the route it cannot be done to, or
// would cost more by it, it leaves as it is, and says that this needs a route of its
// own.
func (f *Fleet) measures() []Measure {
	var out []Measure
	for _, r := range f.byRoute() {
		if f.Routes[r.name].Fixed {
			continue
		}
		unclear := f.unclear(r)
		add := func(m Measure, to []int, change func(int, *Treatment)) {
			if len(to) == 0 {
				return
			}
			m.Name += "route " + r.name + f.without(r, slices.Concat(to, m.stays))
			if m.Unknown == "" {
				m.Unknown = unclear
			}
			m.apply = func(p *Plan) {
				for _, i := range to {
					change(i, &p.Treatments[i])
				}
			}
			out = append(out, m)
		}
		those := func(want func(i int, t Traffic) bool) (at []int) {
			for _, i := range r.all {
				if want(i, f.Traffic[i]) {
					at = append(at, i)
				}
			}
			return at
		}
		add(Measure{
			Name:     "send by Basic Ingest: ",
			Risk:     "no subscriber receives it and nothing is retained; an acknowledgement means only that the rule's engine has it",
			Consumer: "make the rule that reads it the one that is named in $aws/rules/NAME/…",
			Past:     f.past(r.name, func(d Does) bool { return d.BasicIngest }),
		}, those(func(i int, t Traffic) bool {
			return !t.service() && !IsBasicIngest(t.Topic) && !slices.ContainsFunc(f.Rules[i], func(d DeclaredRule) bool { return d.Subscribers > 0 })
		}), func(_ int, h *Treatment) {
			h.BasicIngest, h.ClearRetain, h.Prefix = true, true, BasicIngestPrefix(r.name)
		})
		if len(those(func(_ int, t Traffic) bool { return t.Retained() > 0 })) > 0 {
			add(Measure{
				Name:     "retain: clear, ",
				Risk:     "who subscribes later hears nothing until the next message",
				Consumer: "nothing, unless it relies on the retained copy",
				Past:     f.past(r.name, func(d Does) bool { return d.ClearRetain }),
			}, r.all, func(_ int, h *Treatment) { h.ClearRetain = true })
		}
		f.batches(r, add)
		if to := those(func(_ int, t Traffic) bool { return t.hasProperties() && !IsBasicIngest(t.Topic) }); len(to) > 0 {
			add(Measure{
				Name:     "origin: none, ",
				Risk:     "the cloud sees neither device, nor message id, nor time of acceptance: duplicates cannot be told",
				Consumer: "read what it needs from topic and payload",
				Past:     f.past(r.name, func(d Does) bool { return d.NoOrigin }),
			}, r.all, func(_ int, h *Treatment) { h.NoOrigin = !h.Then.envelope })
		}
	}
	if f.Acks > 0 {
		out = append(out, Measure{
			Name:     "publish at QoS 0 what comes down (whoever sends it: the gateway subscribes at QoS 1)",
			Risk:     "a command that is on its way when the link ends is lost, and so is one that is sent while there is none",
			Consumer: "whoever sends commands must see that they were obeyed, and send again",
			apply:    func(p *Plan) { p.DownQoS0 = true },
		})
	}
	return out
}

// mostNamed bounds how many topics a measure names.
const mostNamed = 4

// without names what of a route a measure is not for.
func (f *Fleet) without(r routeTraffic, to []int) string {
	var left []string
	for _, i := range r.all {
		if t := f.Traffic[i].Topic; !slices.Contains(to, i) && !slices.Contains(left, t) {
			left = append(left, t)
		}
	}
	switch n := len(left); {
	case n == 0:
		return ""
	case n > mostNamed:
		left = append(left[:mostNamed:mostNamed], fmt.Sprintf("%d topics more", n-mostNamed))
	}
	return " without " + strings.Join(left, ", ") + " (a route of its own for that, which stays as it is)"
}

// service reports whether a topic is read by a service that takes each message as it
// is: AWS's own, and Sparkplug's hosts, which the steps of a route pass by.
func (t Traffic) service() bool {
	return strings.HasPrefix(t.Topic, "$") && !IsBasicIngest(t.Topic) || t.Kind == Sparkplug || isSparkplug(t.Topic)
}

// Retained is how many of the messages went with the retain flag.
func (t Traffic) Retained() (n int64) {
	for _, c := range t.Sizes.Cells() {
		n += c.Retained
	}
	return n
}

func (t Traffic) hasProperties() bool {
	for _, c := range t.Sizes.Cells() {
		if c.Rest >= t.originSize()*c.Messages {
			return true
		}
	}
	return false
}

// Plan is what all of some measures make.
func (f *Fleet) Plan(measures []Measure) Plan {
	p := Plan{Treatments: make([]Treatment, len(f.Traffic))}
	for i, t := range f.Traffic {
		p.Treatments[i] = t.asItIs()
	}
	for _, m := range measures {
		m.apply(&p)
	}
	return p
}

// Advise ranks what would save most, each measure on top of those before it: it
// takes the one that saves most, looks again, and stops at what saves less than
// leastPerYear dollars a year. What is left is not worth the bother. What the
// configuration does already comes before them all ([Fleet.Taken]).
func (f *Fleet) Advise(leastPerYear *big.Rat) (advice []Advice, bother []Advice, ok bool) {
	with := *f // the same is asked of it again and again
	f = &with
	f.known = map[asked]sending{}
	left := f.Measures()
	taken := f.taken()
	now, ok := f.Cost(f.Plan(taken))
	if !ok {
		return nil, nil, false
	}
	for len(left) > 0 {
		all := f.savings(now, taken, left)
		best := all[0]
		if best.PerYear.Rat().Sign() <= 0 || best.PerYear.Rat().Cmp(leastPerYear) < 0 {
			bother = slices.DeleteFunc(all, func(a Advice) bool { return a.PerYear.Rat().Sign() <= 0 })
			break
		}
		before := f.Plan(taken)
		now = now.Minus(best.PerYear.Times(1, 12))
		taken = append(taken, best.Measure)
		best.PerYear = f.Saved(before, f.Plan(taken)).Times(12, 1)
		advice = append(advice, best)
		left = slices.DeleteFunc(left, func(m Measure) bool { return m.Name == best.Name })
	}
	return advice, bother, true
}

// savings are what each of some measures saves a year beside those taken, the
// most first.
func (f *Fleet) savings(now Amount, taken, left []Measure) []Advice {
	var out []Advice
	for _, m := range left {
		cost, _ := f.Cost(f.Plan(append(slices.Clone(taken), m)))
		out = append(out, Advice{m, now.Minus(cost).Times(12, 1)})
	}
	slices.SortStableFunc(out, func(a, b Advice) int { return b.PerYear.Rat().Cmp(a.PerYear.Rat()) })
	return out
}

// MayBeWorth reports whether a measure that saves less than leastPerYear as a fleet is
// scaled may save as much in truth: what came in the first hour of a new gateway is
// taken as that of a whole hour, and may be of its last minutes.
func (f *Fleet) MayBeWorth(a Advice, leastPerYear *big.Rat) bool {
	if f.Least <= 0 || f.Least >= f.Span || a.PerYear.Rat().Sign() <= 0 {
		return false
	}
	most := new(big.Rat).Mul(a.PerYear.Rat(), big.NewRat(int64(f.Span), int64(f.Least)))
	return most.Cmp(leastPerYear) >= 0
}
