package billing

import (
	"cmp"
	"math/big"
	"slices"
	"strings"
)

// Sum is the lines of one name together. Its dollars are rounded so that those of
// all sums of a [Group] together are the rounded sum.
type Sum struct {
	Name string `json:"name"`
	Counts
	USD       string `json:"usd,omitempty"`           // empty when the lines have no price
	Estimated string `json:"estimated_usd,omitempty"` // empty when nothing is declared for them
	Hidden    string `json:"not_visible,omitempty"`   // what may cost more and cannot be seen here
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
	costs, estimates := make([]*big.Rat, 0, len(all)), make([]*big.Rat, 0, len(all))
	for _, s := range all {
		costs, estimates = append(costs, s.cost), append(estimates, s.estimate)
	}
	usd, estimated := rounded(costs), rounded(estimates)
	for i, s := range all {
		if s.priced {
			s.USD = usd[i]
		}
		if s.estimated {
			s.Estimated = estimated[i]
		}
		out = append(out, s.Sum)
	}
	return out
}

// rounded shows amounts with six decimals that add up to what their sum is shown
// as: what rounding down leaves over goes to those that lost most by it.
func rounded(all []*big.Rat) []string {
	const digits = 1_000_000
	type share struct {
		at    int
		whole *big.Int
		lost  *big.Rat
	}
	total, down := new(big.Rat), new(big.Int)
	shares := make([]share, len(all))
	for i, usd := range all {
		total.Add(total, usd)
		scaled := new(big.Rat).Mul(usd, big.NewRat(digits, 1))
		whole := new(big.Int).Div(scaled.Num(), scaled.Denom()) // towards the lower, as the denominator is positive
		shares[i] = share{i, whole, scaled.Sub(scaled, new(big.Rat).SetInt(whole))}
		down.Add(down, whole)
	}
	shown, _ := new(big.Int).SetString(total.Mul(total, big.NewRat(digits, 1)).FloatString(0), 10)
	over := int(shown.Sub(shown, down).Int64()) // at most as many as there are amounts
	slices.SortStableFunc(shares, func(a, b share) int { return b.lost.Cmp(a.lost) })
	out := make([]string, len(all))
	for i, s := range shares {
		if i < over {
			s.whole.Add(s.whole, big.NewInt(1))
		}
		out[s.at] = Dollars(new(big.Rat).SetFrac(s.whole, big.NewInt(digits)))
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
