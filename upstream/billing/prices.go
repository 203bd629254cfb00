package billing

import (
	_ "embed"
	"encoding/json"
	"fmt"
	"maps"
	"math/big"
	"slices"
	"strings"
)

//go:embed prices.json
var builtIn []byte

const priceSchema = "aws-iot-core-prices/1"

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
}

// Price is dollars per million, and how well it is known.
type Price struct {
	PerMillion *big.Rat
	Status     string // sourced | inferred | unverified
}

// Tier is the price of the units from From (inclusive) up to the next tier.
type Tier struct {
	From int64
	Price
}

// Usage is what one month is billed for.
type Usage struct {
	Messages int64 // metered messages
	Minutes  int64 // of connectivity
	Shadow   int64 // shadow and registry operations
	Rules    int64 // rules triggered
	Actions  int64 // actions executed
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
// free is set. An unknown region has no price: ok is false.
func (p *PriceList) Cost(region string, u Usage, free bool) (usd *big.Rat, ok bool) {
	r, ok := p.Regions[region]
	if !ok {
		return new(big.Rat), false
	}
	if free {
		u = Usage{
			Messages: max(0, u.Messages-p.Free.Messages), Minutes: max(0, u.Minutes-p.Free.Minutes),
			Shadow: max(0, u.Shadow-p.Free.Shadow), Rules: max(0, u.Rules-p.Free.Rules), Actions: max(0, u.Actions-p.Free.Actions),
		}
	}
	usd = new(big.Rat)
	for i, t := range r.Messages {
		upTo := u.Messages
		if i+1 < len(r.Messages) {
			upTo = min(upTo, r.Messages[i+1].From)
		}
		usd.Add(usd, t.of(upTo-t.From))
	}
	for _, part := range []*big.Rat{r.Minutes.of(u.Minutes), r.Shadow.of(u.Shadow), r.Rules.of(u.Rules), r.Actions.of(u.Actions)} {
		usd.Add(usd, part)
	}
	return usd, true
}

func (p Price) of(n int64) *big.Rat {
	out := big.NewRat(max(0, n), 1_000_000)
	return out.Mul(out, p.PerMillion)
}

// Dollars shows an amount with six decimals, rounded half away from zero.
func Dollars(usd *big.Rat) string { return usd.FloatString(6) }

func (p *PriceList) names() []string { return slices.Sorted(maps.Keys(p.Regions)) }

// The file's form. Numbers stay text until they are rational: 0.1 is a tenth.
type (
	priceFile struct {
		Schema   string `json:"schema"`
		Currency string `json:"currency"`
		AsOf     string `json:"as_of"`
		Free     struct {
			Minutes  int64 `json:"connection_minutes"`
			Messages int64 `json:"messages"`
			Shadow   int64 `json:"registry_shadow_ops"`
			Rules    int64 `json:"rules_triggered"`
			Actions  int64 `json:"actions"`
		} `json:"free_tier"`
		Regions map[string]struct {
			Minutes  priceEntry   `json:"connectivity_per_million_minutes"`
			Messages []priceEntry `json:"messages_per_million_tiers"`
			Shadow   priceEntry   `json:"shadow_registry_per_million_ops"`
			Rules    priceEntry   `json:"rules_triggered_per_million"`
			Actions  priceEntry   `json:"rule_actions_per_million"`
		} `json:"regions"`
	}
	priceEntry struct {
		From   int64       `json:"from"`
		To     *int64      `json:"to"`
		USD    json.Number `json:"usd"`
		Status string      `json:"status"`
	}
)

// ParsePrices reads a price list. It refuses what would make a wrong bill: an
// unknown schema or currency, tiers with gaps, negative or missing prices.
func ParsePrices(data []byte) (*PriceList, error) {
	var f priceFile
	if err := json.Unmarshal(data, &f); err != nil {
		return nil, fmt.Errorf("price list: %w", err)
	}
	if f.Schema != priceSchema || f.Currency != "USD" {
		return nil, fmt.Errorf("price list: schema %q in %q, want %q in \"USD\"", f.Schema, f.Currency, priceSchema)
	}
	out := &PriceList{AsOf: f.AsOf, Regions: map[string]Region{}, Free: Usage{
		Messages: f.Free.Messages, Minutes: f.Free.Minutes, Shadow: f.Free.Shadow, Rules: f.Free.Rules, Actions: f.Free.Actions,
	}}
	for name, in := range f.Regions {
		var r Region
		var err error
		entry := func(what string, e priceEntry) Price {
			p, ok := new(big.Rat).SetString(e.USD.String())
			if err == nil && (!ok || p.Sign() < 0 || strings.ContainsAny(e.USD.String(), "eE/")) {
				err = fmt.Errorf("price list: region %s: %s: %q is not a price", name, what, e.USD)
			}
			return Price{p, e.Status}
		}
		r.Minutes, r.Shadow = entry("connectivity", in.Minutes), entry("shadow and registry", in.Shadow)
		r.Rules, r.Actions = entry("rules", in.Rules), entry("actions", in.Actions)
		next := int64(0)
		for i, e := range in.Messages {
			last := i == len(in.Messages)-1
			if e.From != next || (e.To == nil) != last || (e.To != nil && *e.To <= e.From) {
				return nil, fmt.Errorf("price list: region %s: message tiers do not join at %d", name, e.From)
			}
			if e.To != nil {
				next = *e.To
			}
			r.Messages = append(r.Messages, Tier{e.From, entry("messages", e)})
		}
		if len(r.Messages) == 0 {
			return nil, fmt.Errorf("price list: region %s: no message tiers", name)
		}
		if err != nil {
			return nil, err
		}
		out.Regions[name] = r
	}
	return out, nil
}
