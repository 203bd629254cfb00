package main

import (
	"log/slog"
	"time"

	"github.com/ebbgate/ebbgate/configs"
	"github.com/ebbgate/ebbgate/upstream"
	"github.com/ebbgate/ebbgate/upstream/mqtt"
)

// blocked is how long none of the MQTT ways may lead to an upstream before its
// messages are published over HTTPS.
const blocked = 15 * time.Second

// leg is a way to an upstream that has a sender of its own: all that speak MQTT
// share one, since they share a client id, and each over HTTPS is its own.
type leg struct {
	configs.Upstream
	name  string         // for people
	ways  []mqtt.Way     // to choose among
	known *upstream.Ways // of ways
}

// legs are the ways to an upstream, the best first.
func (g *gateway) legs(name string, u configs.Upstream, gate *upstream.Gate) []leg {
	if u.Way != configs.WayAuto {
		return []leg{{Upstream: u, name: name}}
	}
	var talks, posts []leg
	for _, l := range u.Legs() {
		if _, https := l.HTTPS(); https {
			posts = append(posts, leg{Upstream: l, name: name + " by " + l.MQTT.Endpoint})
		} else {
			talks = append(talks, leg{Upstream: l, name: name + " by MQTT"})
		}
	}
	first := talks[0] // there is one, else the configuration would not be valid
	if len(talks) > 1 {
		var names []string
		for _, l := range talks {
			names = append(names, l.MQTT.Endpoint)
			w := mqtt.Way{Options: l.MQTT}
			if s := signerOf(l.Upstream); s != nil {
				w.Signer = s
			}
			first.ways = append(first.ways, w)
		}
		first.known = g.waysTo(name, names, gate)
	}
	return append([]leg{first}, posts...)
}

// waysTo is what is known of the ways to an upstream, kept through reloads that
// leave them as they are.
func (g *gateway) waysTo(name string, ways []string, gate *upstream.Gate) *upstream.Ways {
	if k := g.ways[name]; k != nil && k.Same(ways) {
		return k
	}
	if g.ways == nil {
		g.ways = map[string]*upstream.Ways{}
	}
	g.ways[name] = upstream.NewWays(ways, gate)
	return g.ways[name]
}

// talk makes a conversation by this way, on a connection of its own.
func (l leg) talk(name, clientID string, filters []string, heard mqtt.Handler, shared upstream.Shared, log *slog.Logger, hooks upstream.Hooks) *mqtt.Talk {
	t := mqtt.NewTalk(l.MQTT, name, clientID, filters, heard, log, hooks)
	t.Share(shared)
	if signer := signerOf(l.Upstream); signer != nil {
		t.Sign(signer)
	}
	if len(l.ways) > 1 {
		t.Choose(l.ways, l.known)
	}
	return t
}
