package main

import (
	"fmt"
	"strings"

	"github.com/ebbgate/ebbgate/configs"
	"github.com/ebbgate/ebbgate/internal/telemetry"
	"github.com/ebbgate/ebbgate/upstream/billing"
)

// thingStates is how the connections of things of a cloud are, nil without any.
func (g *gateway) thingStates(c *cloud) *telemetry.Things {
	if len(c.things) == 0 {
		return nil
	}
	out := &telemetry.Things{Configured: len(c.things), USDMonth: c.thingPrice.month, USDConnect: c.thingPrice.connects}
	for _, t := range c.things {
		s := t.uplink.Status()
		switch {
		case s.Up:
			out.Connected++
		case s.Idle:
			out.Idle++
		}
		for _, q := range t.queues {
			out.Depth += g.spool.Depth(q.Name).Records
		}
	}
	out.Trouble = c.trouble.down()
	return out
}

// thingPrice is what the connections of things cost, in dollars; empty where that
// is not known.
type thingPrice struct{ month, connects string }

// priceThings works it out for one upstream. A price list that cannot be read is
// told of elsewhere.
func priceThings(name string, cfg *configs.Config) thingPrice {
	o := billingOf(cfg)[name]
	month, _, ok, err := billing.Connections(o, int64(len(cfg.Upstreams[name].AsThings.Things)))
	if err != nil || !ok {
		return thingPrice{}
	}
	_, connects, _, _ := billing.Connections(o, 1000)
	return thingPrice{month.String(), connects.String()}
}

// thingsInWords says what connections of its own an upstream's things have, and
// what they cost.
func thingsInWords(name string, cfg *configs.Config) []string {
	things := cfg.Upstreams[name].AsThings
	if !things.Used() {
		return nil
	}
	text := fmt.Sprintf("as %s: %s", count(len(things.Things), "thing"), someOf(things.Names()))
	if things.IdleAfter > 0 {
		text += fmt.Sprintf(", each connected while it sends and %v longer", things.IdleAfter)
	} else {
		text += ", each connected from its first message on"
	}
	if p := priceThings(name, cfg); p.month != "" {
		text += fmt.Sprintf("; at most $%s a month of being connected, and $%s for 1000 connects", p.month, p.connects)
	}
	out := []string{text}
	for _, bad := range things.Unusable() {
		out = append(out, "warning: "+strings.ReplaceAll(bad, "\n", " "))
	}
	return out
}
