package main

import (
	"github.com/ebbgate/ebbgate/bridge"
	"github.com/ebbgate/ebbgate/localbroker"
	"github.com/ebbgate/ebbgate/rules"
)

// link makes the present upstreams known to cloudOf. g.mu is held, or nobody
// else is there yet.
func (g *gateway) link() {
	links := make(map[string]*cloud, len(g.clouds))
	for _, c := range g.clouds {
		links[c.name] = c
	}
	g.links.Store(&links)
}

// cloudOf says whether a route takes a topic up, and whether that upstream is
// connected. The broker asks it about AWS's reserved topics; it waits for
// nobody.
func (g *gateway) cloudOf(topic string) (routed, connected bool) {
	name, routed := g.router.Takes(topic)
	links := g.links.Load()
	if !routed || links == nil {
		return routed, false
	}
	c := (*links)[name]
	return true, c != nil && c.up.Stats().Connected
}

// passThrough is how the devices reach an upstream's services, nil when they do
// not.
func passThrough(o rules.PassThroughOptions) *localbroker.PassThrough {
	if o.Upstream == "" {
		return nil
	}
	return &localbroker.PassThrough{Services: o.Services, Offline: o.Offline, Timeout: o.Timeout, InFlight: o.InFlight}
}

// answered hands a message of an upstream to the device whose request it
// answers, and reports whether it was such a one. done comes when it is metered;
// that it could not be costs the bill a message, and the device nothing.
func (g *gateway) answered(name string, m *bridge.Message, wire int, done func(error)) bool {
	g.overhear(m)
	if name != g.router.Table().PassThrough() || !g.broker.Answer(m) {
		return false
	}
	g.ingest.Passed(name, m, wire, done)
	return true
}
