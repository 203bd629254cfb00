package billing

import (
	"cmp"
	"math/big"
	"slices"
)

// Sum is the lines of one name together.
type Sum struct {
	Name string
	Counts
	USD string // empty when the lines have no price
}

// Rest is the name of what [Group] sums because it is beyond the limit.
const Rest = "(the rest)"

// Group sums lines by what name says of them, the most metered first. Beyond
// limit names, the rest is one.
func Group(lines []Line, limit int, name func(Line) string) []Sum {
	type sum struct {
		Sum
		cost   *big.Rat
		priced bool
	}
	by := map[string]*sum{}
	var all []*sum
	for _, n := range lines {
		s := by[name(n)]
		if s == nil {
			s = &sum{Sum: Sum{Name: name(n)}, cost: new(big.Rat)}
			by[s.Name] = s
			all = append(all, s)
		}
		s.add(n.Counts)
		if usd, ok := n.amount(); ok {
			s.cost.Add(s.cost, usd)
			s.priced = true
		}
	}
	slices.SortFunc(all, func(a, b *sum) int {
		return cmp.Or(cmp.Compare(b.Units, a.Units), cmp.Compare(b.Uncertain, a.Uncertain), cmp.Compare(a.Name, b.Name))
	})
	if len(all) > limit {
		rest := all[limit]
		for _, s := range all[limit+1:] {
			rest.add(s.Counts)
			rest.cost.Add(rest.cost, s.cost)
			rest.priced = rest.priced || s.priced
		}
		rest.Name, all = Rest, all[:limit+1]
	}
	out := make([]Sum, 0, len(all))
	for _, s := range all {
		if s.priced {
			s.USD = Dollars(s.cost)
		}
		out = append(out, s.Sum)
	}
	return out
}

// amount is the line's cost: exact where the bill was made, to [lineDigits]
// where it came as JSON.
func (n *Line) amount() (*big.Rat, bool) {
	if n.USD == "" {
		return nil, false
	}
	if n.cost != nil {
		return n.cost, true
	}
	return new(big.Rat).SetString(n.USD)
}
