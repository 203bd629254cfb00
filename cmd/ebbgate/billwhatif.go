package main

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/ebbgate/ebbgate/bridge"
	"github.com/ebbgate/ebbgate/configs"
	"github.com/ebbgate/ebbgate/upstream/billing"
)

// plan makes the plan that the flags ask for, and says what cannot be told.
func (o *whatIfOptions) plan(cfg *configs.Config, f *billing.Fleet) (p billing.Plan, notes []string, err error) {
	p = f.Plan(nil)
	if o.routes != "" {
		if notes, err = o.fromFile(cfg, f, &p); err != nil {
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
	if o.protocol != "" {
		o.then = o.protocol
	}
	notes = append(notes, connections(f, o.then, cfg.Upstreams[f.Upstream], &p)...)
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
			if text := noBatch(cfg, f.Traffic[i]); text != "" {
				notes = append(notes, text)
				continue
			}
			batch, _ := billing.BatchFormat(o.format, f.Traffic[i].MeanPayload())
			batch.Limit, batch.Age = int(limit), o.age
			p.Treatments[i].Batch = batch
			if text := ownProperties(f.Traffic[i]); text != "" {
				notes = append(notes, fmt.Sprintf("route %s: %s", f.Traffic[i].Route, text))
			}
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
			if r, _ := routeOf(cfg, f.Traffic[i].Route); passesBy(f.Traffic[i], r) {
				notes = append(notes, noBatch(cfg, f.Traffic[i]))
				continue
			}
			p.Treatments[i].BasicIngest, p.Treatments[i].Prefix = true, billing.BasicIngestPrefix(route)
		}
	}
	return p, slices.Compact(notes), nil
}

// noBatch says of traffic that no batch can hold why it stays as it is, empty of other.
func noBatch(cfg *configs.Config, t billing.Traffic) string {
	n := thousands(t.Sizes.Messages())
	if r, _ := routeOf(cfg, t.Route); passesBy(t, r) {
		return fmt.Sprintf("route %s: %s messages of Sparkplug pass its steps by, and Basic Ingest: they are counted as they were", t.Route, n)
	}
	if t.Kind == billing.Alone {
		return fmt.Sprintf("route %s: %s messages go alone, as requests and the like do, whatever is batched: they are counted as they were", t.Route, n)
	}
	return ""
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

// connections puts into a plan what the protocol needs of them: HTTPS has none,
// only to receive there must be one (M18).
func connections(f *billing.Fleet, then string, u configs.Upstream, p *billing.Plan) (notes []string) {
	switch {
	case then == "" || then == protocolOf(f.Options):
	case then == billing.ProtocolHTTPS && f.Received > 0:
		notes = append(notes, fmt.Sprintf("%s has sent %s messages down, which HTTPS cannot: the connections stay, with their minutes", f.Upstream, thousands(f.Received)))
	case then == billing.ProtocolHTTPS:
		p.Connections = -1
	case f.Options.HTTP && f.Links == (billing.Usage{}):
		p.Connections = int64(max(u.Pool.Connections, 1)) // auto begins with one
		notes = append(notes, fmt.Sprintf("%d connections are counted as opened once, and open all the time", p.Connections))
	}
	return notes
}
