package main

import (
	"reflect"

	"github.com/ebbgate/ebbgate/configs"
	"github.com/ebbgate/ebbgate/upstream"
)

// sharedBy is what the connections of a cloud share. The gate outlives reloads, since
// nothing of it is configured.
func (g *gateway) sharedBy(c *cloud, common *commons) upstream.Shared {
	account := common.accounts[c.name]
	c.paces, c.reached = upstream.NewPaces(account), g.reached(c.name)
	return upstream.Shared{Account: account, Gate: g.gateOf(c.name), Paces: c.paces}
}

// gateOf is the gate of the connections that go by a name.
func (g *gateway) gateOf(name string) *upstream.Gate {
	if g.gates == nil {
		g.gates = map[string]*upstream.Gate{}
	}
	if g.gates[name] == nil {
		g.gates[name] = upstream.NewGate()
	}
	return g.gates[name]
}

// reached is how an upstream, and those that take over from it, are reached and
// logged in to.
func (g *gateway) reached(name string) (out []configs.Upstream) {
	for _, at := range configs.Chain(g.cfg.Upstreams, name) {
		u := g.cfg.Upstreams[at]
		m := u.MQTT
		m.Limits, m.Backoff = upstream.Limits{}, upstream.BackoffOptions{}
		out = append(out, configs.Upstream{Type: u.Type, MQTT: m, Way: u.Way, Ways: u.Ways, AsThings: u.AsThings, AWS: u.AWS})
	}
	return out
}

// follow makes the connections of clouds that are about to run go on at the pace of
// those that ran before them. g.mu is held.
func (g *gateway) follow(clouds []*cloud) {
	if g.running == nil {
		g.running = map[string]*cloud{}
	}
	for _, c := range clouds {
		if was := g.running[c.name]; was != nil && was != c {
			c.paces.Follow(was.paces, !reflect.DeepEqual(was.reached, c.reached))
		}
		g.running[c.name] = c
	}
}
