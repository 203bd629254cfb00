package billing

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"math/big"
	"slices"
	"strings"
	"time"
)

const priceSchema = "aws-iot-core-prices/1"

// maxPriceList bounds a price list: all regions of AWS take some 100 KB.
const maxPriceList = 1 << 20

// The file's form. Numbers stay text until they are rational: 0.1 is a tenth.
type (
	priceFile struct {
		Schema   string                 `json:"schema"`
		Currency string                 `json:"currency"`
		AsOf     string                 `json:"as_of"`
		Free     freeEntry              `json:"free_tier"`
		Regions  map[string]regionEntry `json:"regions"`

		// For whoever reads the file.
		Warning  string          `json:"warning"`
		Types    []string        `json:"price_list_usage_types"`
		Metering json.RawMessage `json:"metering"` // but for what meteringEntry has of it
	}
	// meteringEntry is what the prices are for. A list that says something else is for
	// another bill than this one.
	meteringEntry struct {
		Message unitEntry `json:"message_unit_bytes"`
		Shadow  unitEntry `json:"shadow_unit_bytes"`
		Rule    unitEntry `json:"rule_unit_bytes"`
		Seconds *int64    `json:"connectivity_unit_seconds"`
	}
	unitEntry struct {
		Value *int64 `json:"value"`
	}
	freeEntry struct {
		Minutes  int64 `json:"connection_minutes"`
		Messages int64 `json:"messages"`
		Shadow   int64 `json:"registry_shadow_ops"`
		Rules    int64 `json:"rules_triggered"`
		Actions  int64 `json:"actions"`

		Months int    `json:"months"`
		Source string `json:"source"`
		AsOf   string `json:"as_of"`
		Note   string `json:"note"`
	}
	regionEntry struct {
		Minutes  priceEntry   `json:"connectivity_per_million_minutes"`
		Messages []priceEntry `json:"messages_per_million_tiers"`
		Shadow   priceEntry   `json:"shadow_registry_per_million_ops"`
		Rules    priceEntry   `json:"rules_triggered_per_million"`
		Actions  priceEntry   `json:"rule_actions_per_million"`
		Direct   *priceEntry  `json:"direct_messages_per_million_first_tier"` // may be missing, as the next two
		Puts     *priceEntry  `json:"s3_put_requests_per_million"`
		Gets     *priceEntry  `json:"s3_get_requests_per_million"`
	}
	priceEntry struct {
		From   int64       `json:"from"`
		To     *int64      `json:"to"`
		USD    json.Number `json:"usd"`
		Low    json.Number `json:"low"`  // of what is not sourced; may be missing
		High   json.Number `json:"high"` // likewise
		Status string      `json:"status"`

		Source string `json:"source"`
		AsOf   string `json:"as_of"`
	}
)

// ParsePrices reads a price list. It refuses what would make a wrong bill: an
// unknown schema, currency or key, a key that stands twice, no date, tiers with gaps, prices that are
// missing, negative or marked with an unknown word, bounds that do not hold the
// price.
func ParsePrices(data []byte) (*PriceList, error) {
	if len(data) > maxPriceList {
		return nil, fmt.Errorf("price list: more than %d bytes", maxPriceList)
	}
	data = bytes.TrimPrefix(data, []byte("\ufeff")) // some tools put it before text in UTF-8
	var f priceFile
	in := json.NewDecoder(bytes.NewReader(data))
	in.DisallowUnknownFields()
	if err := in.Decode(&f); err != nil {
		return nil, fmt.Errorf("price list: %w", err)
	}
	if _, err := in.Token(); err != io.EOF {
		return nil, fmt.Errorf("price list: something stands behind its end")
	}
	if err := twice(data); err != nil {
		return nil, fmt.Errorf("price list: %w", err)
	}
	if f.Schema != priceSchema || f.Currency != "USD" {
		return nil, fmt.Errorf("price list: schema %q in %q, want %q in \"USD\"", f.Schema, f.Currency, priceSchema)
	}
	if _, err := time.Parse(time.DateOnly, f.AsOf); err != nil {
		return nil, fmt.Errorf("price list: as_of is %q, want the day of the prices, such as 2026-11-20", f.AsOf)
	}
	var units meteringEntry
	if len(f.Metering) > 0 {
		_ = json.Unmarshal(f.Metering, &units) // what is otherwise is nobody's business
	}
	if err := units.check(); err != nil {
		return nil, fmt.Errorf("price list: metering: %w", err)
	}
	if len(f.Regions) == 0 {
		return nil, fmt.Errorf("price list: no regions")
	}
	out := &PriceList{AsOf: f.AsOf, Regions: map[string]Region{}, Free: Usage{
		Messages: f.Free.Messages, Minutes: f.Free.Minutes, Shadow: f.Free.Shadow, Rules: f.Free.Rules, Actions: f.Free.Actions,
	}}
	if u := out.Free; min(u.Messages, u.Minutes, u.Shadow, u.Rules, u.Actions) < 0 {
		return nil, fmt.Errorf("price list: the free tier is negative")
	}
	for _, name := range slices.Sorted(maps.Keys(f.Regions)) {
		r, err := f.Regions[name].region()
		if err != nil {
			return nil, fmt.Errorf("price list: region %s: %w", name, err)
		}
		out.Regions[name] = r
	}
	out.bound()
	return out, nil
}

// check refuses units that are none of the bill's.
func (e meteringEntry) check() error {
	for _, u := range []struct {
		name string
		n    *int64
		want []int64
	}{
		{"message_unit_bytes", e.Message.Value, []int64{DefaultUnit, decimalUnit}}, {"shadow_unit_bytes", e.Shadow.Value, []int64{ShadowUnit, 1000}},
		{"rule_unit_bytes", e.Rule.Value, []int64{DefaultUnit, decimalUnit}}, {"connectivity_unit_seconds", e.Seconds, []int64{60}},
	} {
		if u.n != nil && !slices.Contains(u.want, *u.n) {
			return fmt.Errorf("%s is %d, and the bill does not go by it: take it out, and set billing.unit where metered messages are of another size", u.name, *u.n)
		}
	}
	return nil
}

func (e regionEntry) region() (r Region, err error) {
	price := func(what string, e priceEntry) Price {
		p, bad := e.price()
		if err == nil && bad != nil {
			err = fmt.Errorf("%s: %w", what, bad)
		}
		return p
	}
	r.Minutes, r.Shadow = price("connectivity", e.Minutes), price("shadow and registry", e.Shadow)
	r.Rules, r.Actions = price("rules", e.Rules), price("actions", e.Actions)
	if e.Direct != nil {
		r.Direct = price("direct messages", *e.Direct)
	}
	if e.Puts != nil {
		r.Puts = price("PUT requests of S3", *e.Puts)
	}
	if e.Gets != nil {
		r.Gets = price("GET requests of S3", *e.Gets)
	}
	next := int64(0)
	for i, t := range e.Messages {
		last := i == len(e.Messages)-1
		if t.From != next || (t.To == nil) != last || (t.To != nil && *t.To <= t.From) {
			return r, fmt.Errorf("message tiers do not join at %d", t.From)
		}
		if t.To != nil {
			next = *t.To
		}
		r.Messages = append(r.Messages, Tier{t.From, price("messages", t)})
	}
	if len(r.Messages) == 0 {
		return r, fmt.Errorf("no message tiers")
	}
	return r, err
}

func (e priceEntry) price() (p Price, err error) {
	rational := func(n json.Number) *big.Rat {
		if len(n) <= 32 && !strings.ContainsAny(n.String(), "eE/") {
			if r, ok := new(big.Rat).SetString(n.String()); ok && r.Sign() >= 0 {
				return r
			}
		}
		err = fmt.Errorf("%.40q is not a price", n.String())
		return new(big.Rat)
	}
	if !slices.Contains(statuses, e.Status) {
		return p, fmt.Errorf("status %q is none of %s", e.Status, strings.Join(statuses, ", "))
	}
	p = Price{PerMillion: rational(e.USD), Status: e.Status}
	if e.Low != "" {
		p.Low = rational(e.Low)
	}
	if e.High != "" {
		p.High = rational(e.High)
	}
	if err == nil && (p.Low != nil && p.Low.Cmp(p.PerMillion) > 0 || p.High != nil && p.High.Cmp(p.PerMillion) < 0) {
		err = fmt.Errorf("%s does not lie between its low and its high", e.USD)
	}
	return p, err
}
