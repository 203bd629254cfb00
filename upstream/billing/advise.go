package billing

import (
	"fmt"
	"math/big"
	"slices"
	"time"
)

// Measure is something that could be done to save money.
type Measure struct {
	Name     string // what to do
	Risk     string // what it may cost otherwise
	Consumer string // what who reads the messages must change

	apply func(*Plan)
}

// Advice is a measure with what it saves, on top of those before it.
type Advice struct {
	Measure
	PerYear Amount
}

// batchAge is how long advice lets a message wait for others.
const batchAge = 60 * time.Second

// Measures are what could be done about a fleet, whether it saves or not.
func (f *Fleet) Measures() []Measure {
	var out []Measure
	for i, t := range f.Traffic {
		where := fmt.Sprintf("route %s, %s", t.Route, t.Topic)
		set := func(change func(*Treatment)) func(*Plan) { return func(p *Plan) { change(&p.Treatments[i]) } }
		if t.HTTP {
			where += ", over HTTPS"
		}
		if IsBasicIngest(t.Topic) {
			out = append(out, f.batchOf(where, t, set))
			continue
		}
		if !slices.ContainsFunc(f.Rules[i], func(r DeclaredRule) bool { return r.Subscribers > 0 }) {
			out = append(out, Measure{
				Name:     "send by Basic Ingest: " + where,
				Risk:     "no subscriber receives it and nothing is retained; an acknowledgement means only that the rule's engine has it",
				Consumer: "make the rule that reads it the one that is named in $aws/rules/NAME/…",
				apply:    set(func(h *Treatment) { h.BasicIngest, h.ClearRetain, h.Prefix = true, true, BasicIngestPrefix(t.Route) }),
			})
		}
		if t.Retained() > 0 {
			out = append(out, Measure{
				Name:     "retain: clear, " + where,
				Risk:     "who subscribes later hears nothing until the next message",
				Consumer: "nothing, unless it relies on the retained copy",
				apply:    set(func(h *Treatment) { h.ClearRetain = true }),
			})
		}
		out = append(out, f.batchOf(where, t, set))
		if t.hasProperties() {
			out = append(out, Measure{
				Name:     "origin: none, " + where,
				Risk:     "the cloud sees neither device, nor message id, nor time of acceptance: duplicates cannot be told",
				Consumer: "read what it needs from topic and payload",
				apply:    set(func(h *Treatment) { h.NoOrigin = true }),
			})
		}
	}
	if f.Acks > 0 {
		out = append(out, Measure{
			Name:     "qos 0 for what comes down",
			Risk:     "a command that is on its way when the link ends is lost",
			Consumer: "whoever sends commands must see that they were obeyed, and send again",
			apply:    func(p *Plan) { p.DownQoS0 = true },
		})
	}
	return out
}

// batchOf is to batch up to one metered message. Where nobody knows which number
// "5 KB" is, that is one of at most the smaller: the larger would cost two of them
// if it was wrong. A route that keeps what is retained makes no batches: they are
// to be had only once something before them has cleared the flag, and what that
// saves is not theirs.
func (f *Fleet) batchOf(where string, t Traffic, set func(func(*Treatment)) func(*Plan)) Measure {
	unit := int64(f.Options.Unit)
	limit := min(unit, otherReading(unit))
	how := fmt.Sprintf("batch up to %d B, one metered message: ", limit)
	if limit != otherReading(limit) {
		how = fmt.Sprintf("batch up to %d B, one metered message whether 5 KB is %d or %d: ", limit, decimalUnit, DefaultUnit)
	}
	return Measure{
		Name:     how + where,
		Risk:     fmt.Sprintf("a message waits up to %v for others", batchAge),
		Consumer: "take a list of messages where there was one; rules and actions are saved only if they split it themselves",
		apply: set(func(h *Treatment) {
			if t.Retained() > 0 && !h.ClearRetain {
				return
			}
			h.Batch, _ = BatchFormat("json", 0)
			h.Batch.Limit, h.Batch.Age = int(limit), batchAge
		}),
	}
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
		if c.Rest >= originSize*c.Messages {
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
// leastPerYear dollars a year. What is left is not worth the bother.
func (f *Fleet) Advise(leastPerYear *big.Rat) (advice []Advice, bother []Advice, ok bool) {
	left := f.Measures()
	var taken []Measure
	now, ok := f.Cost(f.Plan(nil))
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
		before, _ := f.Range(f.Plan(taken))
		now = now.Minus(best.PerYear.Times(1, 12))
		taken = append(taken, best.Measure)
		after, _ := f.Range(f.Plan(taken))
		best.PerYear = before.Minus(after).Times(12, 1)
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
