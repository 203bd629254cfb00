package billing

import (
	"fmt"
	"math/big"
	"slices"
	"strings"
	"time"
)

// Measure is something that could be done to save money.
type Measure struct {
	Name     string // what to do
	Risk     string // what it may cost otherwise
	Consumer string // what who reads the messages must change
	Past     string // why it is not to be advised any more; empty: it is

	apply func(*Plan)
}

// Advice is a measure with what it saves, on top of those before it.
type Advice struct {
	Measure
	PerYear Amount
}

// batchAge is how long advice lets a message wait for others.
const batchAge = 60 * time.Second

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
	return slices.DeleteFunc(f.measures(), func(m Measure) bool { return m.Past != "" })
}

// Past are the measures that the configuration has taken, or cannot take any more, with
// what would have been saved a year of what was sent without them: by themselves, the most
// first.
func (f *Fleet) Past() []Advice {
	now, ok := f.Cost(f.Plan(nil))
	if !ok {
		return nil
	}
	past := slices.DeleteFunc(f.measures(), func(m Measure) bool { return m.Past == "" })
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
		add := func(m Measure, to []int, change func(int, *Treatment)) {
			if len(to) == 0 {
				return
			}
			m.Name += "route " + r.name + f.without(r, to)
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
	return strings.HasPrefix(t.Topic, "$") && !IsBasicIngest(t.Topic) || t.Topic == "spBv1.0" || strings.HasPrefix(t.Topic, "spBv1.0/")
}

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
// whose batches lack only the envelopes is to put them around.
func (f *Fleet) batches(r routeTraffic, add func(Measure, []int, func(int, *Treatment))) {
	unit, does := int64(f.Options.Unit), f.Routes[r.name]
	best := Batch{Limit: int(min(unit, otherReading(unit))), Age: batchAge}
	m := Measure{Consumer: "take a list of messages where there was one; rules and actions are saved only if they split it themselves"}
	format, longest := "json", 0
	for _, i := range r.all {
		if t := f.Traffic[i]; t.Sizes.Others() > 0 && !t.service() {
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
	case int64(best.Limit) != otherReading(int64(best.Limit)):
		m.Name = fmt.Sprintf("batch up to %d B, one metered message whether 5 KB is %d or %d: ", best.Limit, decimalUnit, DefaultUnit)
	default:
		m.Name = fmt.Sprintf("batch up to %d B, one metered message: ", best.Limit)
	}
	m.Risk = fmt.Sprintf("a message waits up to %v (batch.age) for others of its topic", batch.Age)
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
	var to []int
	kept := false
	for _, i := range r.all {
		t := f.Traffic[i]
		if t.service() {
			continue
		}
		now := t.asItIs()
		now.ClearRetain = true
		then := now
		change(i, &then)
		if t.sent(then, unit).processed <= t.sent(now, unit).processed {
			to = append(to, i)
			kept = kept || t.Retained() > 0
		}
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
	for _, i := range r.all {
		if t := f.Traffic[i]; !t.service() {
			how := t.asItIs()
			how.ClearRetain = true
			change(i, &how)
			units += t.sent(how, int64(f.Options.Unit)).processed
		}
	}
	return units
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
