package main

import (
	"cmp"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/ebbgate/ebbgate/bridge"
	"github.com/ebbgate/ebbgate/configs"
	"github.com/ebbgate/ebbgate/rules"
	"github.com/ebbgate/ebbgate/upstream/billing"
)

// plan makes the plan that the flags ask for, and says what cannot be told.
func (o *whatIfOptions) plan(f *billing.Fleet) (p billing.Plan, notes []string, err error) {
	p = f.Plan(nil)
	if o.routes != "" {
		if notes, err = o.fromFile(f, &p); err != nil {
			return p, nil, err
		}
	}
	fail := func(format string, args ...any) (billing.Plan, []string, error) {
		return p, nil, &exitError{exitInvalid, fmt.Errorf(format, args...)}
	}
	prices := f.Prices
	if p.Prices != nil {
		prices = p.Prices
	}
	if o.region != "" {
		p.Region = o.region
		if why, unpriced := prices.Unpriced(o.region); unpriced {
			return fail("--region %s: %s", o.region, why)
		}
	} else if why, unpriced := prices.Unpriced(p.Region); unpriced && o.routes != "" && p.Region != "" {
		return fail("--routes %s: upstream %s: %s", o.routes, f.Upstream, why)
	}
	if o.unit != "" {
		var unit bridge.Size
		if err := unit.UnmarshalText([]byte(o.unit)); err != nil || unit < 1 || unit > 1<<20 {
			return fail("--unit %s: write a size from 1B to 1MiB", o.unit)
		}
		p.Unit = int64(unit)
	}
	if protocols := []string{billing.ProtocolMQTT5, billing.ProtocolMQTT3, billing.ProtocolHTTPS}; o.protocol != "" && !slices.Contains(protocols, o.protocol) {
		return fail("--protocol %s: write one of %s", o.protocol, strings.Join(protocols, ", "))
	}
	for i := range p.Treatments {
		p.Treatments[i].Protocol = cmp.Or(o.protocol, p.Treatments[i].Protocol)
	}
	for _, b := range o.batches {
		route, size, found := strings.Cut(b, "=")
		var limit bridge.Size
		if err := limit.UnmarshalText([]byte(size)); !found || err != nil || limit < 128 || limit > 128<<10 {
			return fail("--batch %s: write ROUTE=SIZE, the size from 128B to 128KiB", b)
		}
		if o.age < 0 {
			return fail("--batch-age %v: write 0 or more", o.age)
		}
		if _, ok := billing.BatchFormat(o.format, 1); !ok {
			return fail("--batch-format %s: write json, ndjson, length_prefixed or raw", o.format)
		}
		at := sentBy(f, route)
		if len(at) == 0 {
			return fail("--batch %s: route %s has sent nothing in that time", b, route)
		}
		for _, i := range at {
			batch, _ := billing.BatchFormat(o.format, f.Traffic[i].MeanPayload())
			batch.Limit, batch.Age = int(limit), o.age
			p.Treatments[i].Batch = batch
			if f.Traffic[i].Retained() > 0 && !p.Treatments[i].ClearRetain {
				notes = append(notes, fmt.Sprintf("route %s has sent retained messages, and a route that keeps them makes no batches: write retain: clear with the batch; until then their copies are priced as they were", f.Traffic[i].Route))
			}
		}
	}
	for _, route := range o.basic {
		at := sentBy(f, route)
		if len(at) == 0 {
			return fail("--basic-ingest %s: that route has sent nothing in that time", route)
		}
		for _, i := range at {
			p.Treatments[i].BasicIngest, p.Treatments[i].Prefix = true, billing.BasicIngestPrefix(route)
		}
	}
	return p, slices.Compact(notes), nil
}

// protocolOf is what an upstream speaks.
func protocolOf(o billing.Options) string {
	switch {
	case o.HTTP:
		return billing.ProtocolHTTPS
	case o.MQTT3:
		return billing.ProtocolMQTT3
	}
	return billing.ProtocolMQTT5
}

// sentBy are the parts of a fleet that a route has sent.
func sentBy(f *billing.Fleet, route string) (at []int) {
	for i, t := range f.Traffic {
		if t.Route == route || route == "*" {
			at = append(at, i)
		}
	}
	return at
}

// fromFile takes routes and billing of another configuration.
func (o *whatIfOptions) fromFile(f *billing.Fleet, p *billing.Plan) (notes []string, err error) {
	cfg, err := configs.Load(o.routes, os.Environ(), nil)
	if err != nil {
		return nil, err
	}
	if then, ok := billingOf(cfg)[f.Upstream]; ok {
		p.Region = then.Region
		if then.Unit != f.Options.Unit {
			p.Unit = int64(then.Unit)
		}
		if p.Prices, err = then.Prices(); err != nil {
			return nil, err
		}
		if then.MQTT3 != f.Options.MQTT3 || then.HTTP != f.Options.HTTP {
			for i := range p.Treatments {
				p.Treatments[i].Protocol = protocolOf(then)
			}
		}
	} else {
		notes = append(notes, fmt.Sprintf("%s has no upstream %s: region and unit stay", o.routes, f.Upstream))
	}
	for i, t := range f.Traffic {
		at := slices.IndexFunc(cfg.Routes.Up, func(r rules.UpRoute) bool { return r.Name == t.Route })
		if at < 0 {
			notes = append(notes, fmt.Sprintf("%s has no route %s: its messages are priced as they were", o.routes, t.Route))
			continue
		}
		r, how := cfg.Routes.Up[at], &p.Treatments[i]
		rule := cmp.Or(r.BasicIngest, billing.BasicIngestRule(r.Topic))
		how.BasicIngest, how.Prefix = rule != "", billing.BasicIngestPrefix(rule)
		how.ClearRetain = r.Retain == "clear"
		how.NoOrigin = r.Origin == "none" || r.Origin == "bare"
		if b := r.Steps.Batch; b.Format != "none" {
			batch, ok := billing.BatchFormat(b.Format, t.MeanPayload())
			if !ok {
				notes = append(notes, fmt.Sprintf("route %s: batches of %s are not worked out", r.Name, b.Format))
			}
			batch.Limit, batch.Count, batch.Age = b.Limit(int(cmp.Or(p.Unit, int64(f.Options.Unit)))), b.Count, b.Age
			how.Batch = batch
		}
		if r.Steps.Compress != "none" {
			notes = append(notes, fmt.Sprintf("route %s: what compression saves depends on the payloads, which are not recorded", r.Name))
		}
		if r.Steps.Divert != 0 {
			notes = append(notes, fmt.Sprintf("route %s: messages that would go as files are priced as they were sent, and what their store costs is not in here", r.Name))
		}
		if r.Origin == "envelope" {
			notes = append(notes, fmt.Sprintf("route %s: an envelope around each message is not in the sizes", r.Name))
		}
	}
	return slices.Compact(notes), nil
}
