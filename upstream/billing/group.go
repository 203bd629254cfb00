package billing

import (
	"cmp"
	"math/big"
	"slices"
	"strings"
)

// Sum is the lines of one name together.
type Sum struct {
	Name string
	Counts
	USD       string // empty when the lines have no price
	Estimated string // empty when nothing is declared for them
	Hidden    string // what may cost more and cannot be seen here
}

// Rest is the name of what [Group] sums because it is beyond the limit.
const Rest = "(the rest)"

// Group sums lines by what name says of them, the dearest first. Beyond
// limit names, the rest is one.
func Group(lines []Line, limit int, name func(Line) string) []Sum {
	type group struct {
		Sum
		cost, estimate    *big.Rat
		priced, estimated bool
	}
	by := map[string]*group{}
	var all []*group
	for _, n := range lines {
		s := by[name(n)]
		if s == nil {
			s = &group{Sum: Sum{Name: name(n)}, cost: new(big.Rat), estimate: new(big.Rat)}
			by[s.Name] = s
			all = append(all, s)
		}
		s.add(n.Counts)
		s.hide(n.Hidden)
		if usd, ok := amount(n.USD, n.cost); ok {
			s.cost.Add(s.cost, usd)
			s.priced = true
		}
		if usd, ok := amount(n.Estimated, n.estimate); ok {
			s.estimate.Add(s.estimate, usd)
			s.estimated = true
		}
	}
	slices.SortFunc(all, func(a, b *group) int {
		return cmp.Or(sum(b.cost, b.estimate).Cmp(sum(a.cost, a.estimate)), cmp.Compare(b.Units, a.Units), cmp.Compare(b.Uncertain, a.Uncertain), cmp.Compare(a.Name, b.Name))
	})
	if len(all) > limit {
		rest := all[limit]
		for _, s := range all[limit+1:] {
			rest.add(s.Counts)
			rest.hide(s.Hidden)
			rest.cost.Add(rest.cost, s.cost)
			rest.estimate.Add(rest.estimate, s.estimate)
			rest.priced, rest.estimated = rest.priced || s.priced, rest.estimated || s.estimated
		}
		rest.Name, all = Rest, all[:limit+1]
	}
	out := make([]Sum, 0, len(all))
	for _, s := range all {
		if s.priced {
			s.USD = Dollars(s.cost)
		}
		if s.estimated {
			s.Estimated = Dollars(s.estimate)
		}
		out = append(out, s.Sum)
	}
	return out
}

// hide adds what is hidden, once.
func (s *Sum) hide(what string) {
	if what != "" && !strings.Contains(s.Hidden, what) {
		s.Hidden = strings.TrimPrefix(s.Hidden+"; "+what, "; ")
	}
}

// amount is a line's money: exact where the bill was made, to [lineDigits] where
// it came as JSON.
func amount(shown string, exact *big.Rat) (*big.Rat, bool) {
	if shown == "" {
		return nil, false
	}
	if exact != nil {
		return exact, true
	}
	return new(big.Rat).SetString(shown)
}
