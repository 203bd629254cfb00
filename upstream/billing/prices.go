package billing

import (
	_ "embed"
	"fmt"
	"maps"
	"math/big"
	"regexp"
	"slices"
	"strings"
)

//go:embed prices.json
var builtIn []byte

// PriceList is what a cloud charges, by region. It is immutable.
type PriceList struct {
	AsOf    string // day on which the list was made, ISO 8601
	Free    Usage  // free tier per month
	Regions map[string]Region
}

// Region is the prices of one region, in dollars per million.
type Region struct {
	Messages []Tier // by rising From (M28)
	Minutes  Price
	Shadow   Price
	Rules    Price
	Actions  Price
	Direct   Price // of the first tier, the only one known
	Puts     Price // requests of S3's first tier: PUT, COPY, POST and LIST, of class Standard
	Gets     Price // and of its second: GET and all others but DELETE, which is free
}

// How well a price is known.
const (
	Sourced    = "sourced"    // a source says it
	Inferred   = "inferred"   // concluded from its kin
	Unverified = "unverified" // no source was reached
)

// Price is dollars per million, and how well it is known. One that is sourced
// is its own bounds; any other lies between the lowest and the highest price of
// its kind in the list, or between those that the list gives it.
type Price struct {
	PerMillion *big.Rat
	Low, High  *big.Rat
	Status     string
}

// Tier is the price of the units from From (inclusive) up to the next tier.
type Tier struct {
	From int64
	Price
}

// Usage is what one month is billed for.
type Usage struct {
	Messages int64 `json:"messages"`        // metered messages
	Minutes  int64 `json:"minutes"`         // of connectivity
	Shadow   int64 `json:"shadow"`          // shadow and registry operations
	Rules    int64 `json:"rules"`           // rules triggered
	Actions  int64 `json:"actions"`         // actions executed
	Direct   int64 `json:"direct_messages"` // direct messages (M22)
}

// Plus is the sum of two usages.
func (u Usage) Plus(v Usage) Usage {
	return Usage{
		Messages: u.Messages + v.Messages, Minutes: u.Minutes + v.Minutes, Shadow: u.Shadow + v.Shadow,
		Rules: u.Rules + v.Rules, Actions: u.Actions + v.Actions, Direct: u.Direct + v.Direct,
	}
}

// Minus is the difference of two usages, which may be below zero.
func (u Usage) Minus(v Usage) Usage {
	return Usage{
		Messages: u.Messages - v.Messages, Minutes: u.Minutes - v.Minutes, Shadow: u.Shadow - v.Shadow,
		Rules: u.Rules - v.Rules, Actions: u.Actions - v.Actions, Direct: u.Direct - v.Direct,
	}
}

// less takes v off, item by item, and nothing below zero.
func (u Usage) less(v Usage) Usage {
	return Usage{
		Messages: max(0, u.Messages-v.Messages), Minutes: max(0, u.Minutes-v.Minutes), Shadow: max(0, u.Shadow-v.Shadow),
		Rules: max(0, u.Rules-v.Rules), Actions: max(0, u.Actions-v.Actions), Direct: max(0, u.Direct-v.Direct),
	}
}

// BuiltIn is the price list that Ebbgate ships. It ages: give a newer one
// with the option price_list.
func BuiltIn() *PriceList {
	p, err := ParsePrices(builtIn)
	if err != nil { // its test would have failed
		panic(err)
	}
	return p
}

// Cost is what u costs in one month of region, free units taken off first when
// free is set (GovCloud has none). An unknown region has no price: ok is false.
func (p *PriceList) Cost(region string, u Usage, free bool) (a Amount, ok bool) {
	if free && (account{region: region}).hasFree() {
		u = u.less(p.Free)
	}
	return p.charge(region, u)
}

// charge is what u costs when nothing of it is free.
func (p *PriceList) charge(region string, u Usage) (a Amount, ok bool) {
	r, ok := p.Regions[region]
	if !ok {
		return Amount{}, false
	}
	for i, t := range r.Messages {
		upTo := u.Messages
		if i+1 < len(r.Messages) {
			upTo = min(upTo, r.Messages[i+1].From)
		}
		a = a.Plus(t.of(upTo - t.From))
	}
	return a.Plus(r.Minutes.of(u.Minutes)).Plus(r.Shadow.of(u.Shadow)).Plus(r.Rules.of(u.Rules)).
		Plus(r.Actions.of(u.Actions)).Plus(r.Direct.of(u.Direct)), true
}

// Added is what u costs on top of before, in one month, where so much of both is
// free: tiers and free units that before has used up are used up.
func (p *PriceList) Added(region string, before, u, free Usage) (Amount, bool) {
	less, _ := p.charge(region, before.less(free))
	a, ok := p.charge(region, before.Plus(u).less(free))
	return a.Minus(less), ok
}

func (p Price) of(n int64) Amount {
	if n <= 0 || p.PerMillion == nil {
		return Amount{}
	}
	per := func(price *big.Rat) *big.Rat {
		out := big.NewRat(n, 1_000_000)
		return out.Mul(out, price)
	}
	return Amount{per(p.PerMillion), per(p.Low), per(p.High)}
}

// Status is how well the prices of u's items are known in region: the least
// well known counts.
func (p *PriceList) Status(region string, u Usage) string { return p.status(region, Usage{}, u) }

// status is Status of what comes after before: by the tiers that both reach.
func (p *PriceList) status(region string, before, u Usage) string {
	worst := Sourced
	take := func(n int64, prices ...Price) {
		for _, price := range prices {
			if n > 0 && slices.Index(statuses, price.Status) > slices.Index(statuses, worst) {
				worst = price.Status
			}
		}
	}
	r, ok := p.Regions[region]
	if !ok {
		return ""
	}
	for _, t := range r.Messages {
		take(min(u.Messages, before.Messages+u.Messages-t.From), t.Price)
	}
	take(u.Minutes, r.Minutes)
	take(u.Shadow, r.Shadow)
	take(u.Rules, r.Rules)
	take(u.Actions, r.Actions)
	take(u.Direct, r.Direct)
	return worst
}

// statuses from the best known on.
var statuses = []string{Sourced, Inferred, Unverified}

// awsRegion is what the names of AWS's regions look like.
var awsRegion = regexp.MustCompile(`^(us|eu|ap|ca|sa|me|af|il|mx|cn|eusc)(-[a-z]{2,4})?-[a-z]+-[1-9]$`)

func (p *PriceList) has(region string) bool {
	_, ok := p.Regions[region]
	return ok
}

// Unpriced says why a region has no prices, and what to do; false when it has.
func (p *PriceList) Unpriced(region string) (why string, unpriced bool) {
	if p.has(region) {
		return "", false
	}
	known := strings.Join(p.names(), ", ")
	if awsRegion.MatchString(region) {
		return fmt.Sprintf("%s may well be a region of AWS, and the price list of %s does not have it: none is guessed, for regions differ by half and more%s. It has %s; give prices of your own in a file (billing.price_list)", region, p.AsOf, apart(region), known), true
	}
	return fmt.Sprintf("%s is no region of AWS, by its name, nor of the price list of %s, which has %s", region, p.AsOf, known), true
}

// apart says what is different about a region whose partition has prices of its own.
func apart(region string) string {
	switch {
	case strings.HasPrefix(region, "us-gov-"):
		return ", and GovCloud has prices of its own and no free tier"
	case strings.HasPrefix(region, "cn-"):
		return ", and in China AWS bills in yuan: write them in dollars, at your rate"
	}
	return ""
}

func (p *PriceList) names() []string { return slices.Sorted(maps.Keys(p.Regions)) }

// bound fills in the bounds that the list does not give: of what is not sourced,
// the lowest and the highest price of the kind among all regions.
func (p *PriceList) bound() {
	var all []Region
	for _, name := range p.names() {
		all = append(all, p.Regions[name])
	}
	for name, r := range p.Regions {
		for i := range r.Messages {
			r.Messages[i].Price = r.Messages[i].bounded(all, func(o Region) Price { return o.Messages[min(i, len(o.Messages)-1)].Price })
		}
		r.Minutes = r.Minutes.bounded(all, func(o Region) Price { return o.Minutes })
		r.Shadow = r.Shadow.bounded(all, func(o Region) Price { return o.Shadow })
		r.Rules = r.Rules.bounded(all, func(o Region) Price { return o.Rules })
		r.Actions = r.Actions.bounded(all, func(o Region) Price { return o.Actions })
		r.Direct = r.Direct.bounded(all, func(o Region) Price { return o.Direct })
		r.Puts = r.Puts.bounded(all, func(o Region) Price { return o.Puts })
		r.Gets = r.Gets.bounded(all, func(o Region) Price { return o.Gets })
		p.Regions[name] = r
	}
}

func (p Price) bounded(all []Region, same func(Region) Price) Price {
	if p.PerMillion == nil {
		return p
	}
	low, high := p.PerMillion, p.PerMillion
	for _, r := range all {
		if o := same(r).PerMillion; o != nil && p.Status != Sourced {
			low, high = least(low, o), most(high, o)
		}
	}
	if p.Low == nil {
		p.Low = low
	}
	if p.High == nil {
		p.High = high
	}
	return p
}
