package main

import (
	"cmp"
	"fmt"
	"io"
	"maps"
	"slices"

	"github.com/ebbgate/ebbgate/configs"
	"github.com/ebbgate/ebbgate/localbroker/upload"
	"github.com/ebbgate/ebbgate/upstream/billing"
)

// transferDetail is all about a transfer, and what it costs.
type transferDetail struct {
	upload.Detail
	Bill *transferBill `json:"bill,omitempty"` // nil while its size is not known
}

// transferBill is what one transfer costs, and what it would otherwise.
type transferBill struct {
	Region  string    `json:"region"` // of the price of messages
	AsOf    string    `json:"prices_as_of"`
	Export  wayCost   `json:"export"`  // where it goes, or has gone
	Instead []wayCost `json:"instead"` // the same file by other ways
}

// transferPrices knows what a gateway's transfers cost.
type transferPrices struct {
	list   *billing.PriceList
	region string
	export configs.Export
}

// defaultRegion is whose prices are told when the configuration names no region.
const defaultRegion = "us-east-1"

func pricesOf(cfg *configs.Config) *transferPrices {
	p := &transferPrices{list: billing.BuiltIn(), export: cfg.FileTransfer.Export}
	upstreams := billingOf(cfg)
	for _, name := range slices.Sorted(maps.Keys(upstreams)) {
		if _, priced := p.list.Regions[upstreams[name].Region]; priced {
			p.region = cmp.Or(p.region, upstreams[name].Region)
		}
	}
	if _, priced := p.list.Regions[p.export.S3.Region]; priced {
		p.region = cmp.Or(p.region, p.export.S3.Region)
	}
	p.region = cmp.Or(p.region, defaultRegion)
	return p
}

// bill is what a transfer of known size costs.
func (p *transferPrices) bill(d *upload.Detail) *transferBill {
	if d.Size == nil {
		return nil
	}
	b := &transferBill{Region: p.region, AsOf: p.list.AsOf}
	mqtt := wayCost{Way: wayMQTT, Requests: d.Cost.Messages, Units: d.Cost.Units, Bytes: d.Cost.Wire}
	a, _ := p.list.Cost(p.region, billing.Usage{Messages: mqtt.Units}, false)
	mqtt.USD, mqtt.Range = a.String(), a.Range()
	mqtt.Reasons = []string{fmt.Sprintf("the messages that came of it, at the price of the first tier of %s", p.region)}
	store := billing.Store{Region: p.region}
	if p.export.To == configs.ExportS3 {
		store = storeOf(p.export.S3)
	}
	s3 := p.byS3(*d.Size, store)
	switch p.export.To {
	case configs.ExportS3:
		s3.Bytes = max(d.Cost.Exported, 0)
		b.Export, b.Instead = s3, []wayCost{mqtt}
	case configs.ExportUpstream:
		b.Export = wayCost{Way: "files to the upstream " + p.export.Upstream.Upstream, Bytes: d.Cost.Exported, Reasons: []string{"what it bills is not known here"}}
		b.Instead = []wayCost{mqtt, s3}
	default:
		b.Export = wayCost{Way: "folder", Bytes: d.Cost.Exported, USD: "0.000000", Reasons: []string{"a folder of this machine: nothing is billed"}}
		b.Instead = []wayCost{mqtt, s3}
	}
	return b
}

// byS3 is the file as an upload to a store, in the parts of the configuration.
func (p *transferPrices) byS3(size int64, store billing.Store) wayCost {
	way := wayCost{Way: wayS3, Bytes: size}
	way.Requests, way.Reasons = s3Requests(size, int64(p.export.S3.PartSize))
	way.Reasons = append(way.Reasons, "attempts that were cut short, and a manifest of its own, take more")
	a, priced := p.list.Puts(store.Region, way.Requests)
	switch {
	case store.Why != "":
		way.Reasons = append(way.Reasons, "no price: "+store.Why)
	case !priced:
		way.Reasons = append(way.Reasons, fmt.Sprintf("no price: the list of %s has none of S3 in %s", p.list.AsOf, store.Region))
	default:
		way.USD, way.Range = a.String(), a.Range()
		way.Reasons = append(way.Reasons, fmt.Sprintf("S3 Standard in %s; bytes into S3 are free, keeping them is not", store.Region))
	}
	return way
}

// words tells one way in a line.
func (w *wayCost) words() string {
	text := w.Way + ": "
	switch {
	case w.Units > 0:
		text += fmt.Sprintf("%s, %s metered, ", count(int(w.Requests), "message"), thousands(w.Units))
	case w.Requests > 0:
		text += count(int(w.Requests), "request") + ", "
	}
	if w.USD == "" {
		return text + "without a price: " + w.Reasons[len(w.Reasons)-1]
	}
	text += "$" + w.USD
	if w.Range != "" {
		text += " (" + w.Range + ")"
	}
	return text
}

// printBill tells what a transfer costs, as lines of a table.
func (b *transferBill) printBill(line func(name, format string, args ...any)) {
	if b == nil {
		line("bill", "once its size is known")
		return
	}
	line("bill", "%s", b.Export.words())
	for _, w := range b.Instead {
		line("or else", "%s (%s, prices of %s)", w.words(), b.Region, b.AsOf)
	}
}

// after tells, when a file has been sent, what the same bytes would have cost.
func (e *transferEstimate) after(w io.Writer) error {
	for i := range e.Ways {
		if _, err := fmt.Fprintf(w, "instead, as %s (%s, prices of %s)\n", e.Ways[i].words(), e.Region, e.AsOf); err != nil {
			return err
		}
	}
	_, err := fmt.Fprintln(w, "to here nothing was metered; ebbgate files show tells at the gateway what its export costs")
	return err
}
