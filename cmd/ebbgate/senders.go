package main

import (
	"context"
	"errors"

	"github.com/ebbgate/ebbgate/bridge"
	"github.com/ebbgate/ebbgate/configs"
	"github.com/ebbgate/ebbgate/upstream"
	"github.com/ebbgate/ebbgate/upstream/aws"
	"github.com/ebbgate/ebbgate/upstream/https"
	"github.com/ebbgate/ebbgate/upstream/mqtt"
)

// openCloud makes the senders of one upstream, and the forwarders that feed
// them.
func (g *gateway) openCloud(name string, u configs.Upstream, common *commons) (*cloud, error) {
	c := &cloud{name: name, gate: common.gates[name]}
	o := u.MQTT
	if u.Type == configs.TypeSandbox && o.Endpoint == "" {
		endpoint, stop, err := startSandbox(g.log)
		if err != nil {
			return nil, err
		}
		o.Endpoint, c.stop = endpoint, stop
	}
	queues, err := g.queuesOf(name)
	if err != nil {
		return nil, errors.Join(err, c.close())
	}
	c.upQueues, c.downQueues = queues.up, queues.down
	c.limit = o.Limits.MessagesPerSecond
	log := g.log.With("upstream", name)
	hooks := upstream.Hooks{
		Raise: func(w bridge.Warning) {
			w.Code += "-" + name
			g.health.Raise(w)
		},
		Clear: func(code string) { g.health.Clear(code + "-" + name) },
		Drop: func(reason string, m *bridge.Message) {
			g.drops.Count(reason, name, m.Topic)
			g.ingest.Passed(name, m, 0, func(error) {}) // it was billed; its bytes are the socket's
		},
	}
	hooks = g.counting(hooks, name, c.gate)
	shared := g.sharedBy(c, common)
	var senders []bridge.Sender
	for i := range u.Pool.Most() {
		own := hooks
		if i > 0 {
			own = numbered(hooks, i+1)
		}
		up, err := g.withFailover(name, o, i, shared, own, common)
		if err != nil {
			return nil, errors.Join(err, c.close())
		}
		c.uplinks, senders = append(c.uplinks, up), append(senders, up)
		if _, https := u.HTTPS(); https {
			break // it has as many connections as it needs
		}
	}
	c.size = upstream.NewSizer(u.Pool, o.Limits)
	if u.Pool.Connections == upstream.Auto {
		c.spread = upstream.NewSizer(u.Pool, o.Limits)
	}
	c.open = usedGateOf(c.gate, c.uplinks)
	c.standby = len(c.upQueues) == 0 && g.takesOver(name)
	c.up = bridge.NewForwarder(bridge.ForwarderConfig{
		Upstream: name, Queues: c.upQueues,
		Connections: func() int { return g.connections(c) },
		Weight:      u.Pool.PriorityWeight,
		Gate:        c.open,
		Window:      g.window(name),
	}, g.spool, senders, byTaker{g.meter}, g.drops, g.health, g.log)
	g.openThings(c, u, queues, hooks, shared.Account, usedGateOf(c.gate, nil))
	c.shapers, c.rawQueues = g.shapersOf(name)
	filters := g.table.Subscriptions(name)
	u.MQTT = o
	first := g.legs(name, u, shared.Gate)[0]
	if len(filters) > 0 {
		c.downlink = mqtt.NewDownlink(first.MQTT, downlinkID(o), filters, g.fromCloud(name), log, hooks)
		c.downlink.Remember(g.sessionOf(g.cfg.Upstreams[name].MQTT))
		shared.Elsewhere = c.elsewhere
		c.downlink.Share(shared)
		if signer := signerOf(first.Upstream); signer != nil {
			c.downlink.Sign(signer)
		}
		if len(first.ways) > 1 {
			c.downlink.Choose(first.ways, first.known)
		}
	}
	c.talk = g.openTalk(name, o.ClientID, first, shared, log, hooks)
	c.files = g.openFileTalk(name, o.ClientID, first, shared, log, hooks)
	if len(c.downQueues) > 0 {
		byTopic := func(s *bridge.Stored) string { return s.Receiver.Topic }
		c.down = bridge.NewForwarder(bridge.ForwarderConfig{Upstream: name + " (down)", Queues: c.downQueues, HoldBy: byTopic},
			g.spool, []bridge.Sender{g.broker.Local()}, unmetered{}, g.drops, g.health, g.log)
	}
	return c, nil
}

// window is the most that one connection may have unacknowledged: of an upstream, and
// of those that take over from it. Over HTTPS it has a bound of its own; one that finds
// its way speaks MQTT as well.
func (g *gateway) window(name string) (most int) {
	for _, at := range configs.Chain(g.cfg.Upstreams, name) {
		u := g.cfg.Upstreams[at]
		n := u.MQTT.Limits.InFlight
		if o, https := u.HTTPS(); https && u.Way != configs.WayAuto {
			n = o.Window()
		}
		most = max(most, n)
	}
	return most
}

// takesOver reports whether another upstream fails over to one: that logs in to it by
// connections of its own.
func (g *gateway) takesOver(name string) bool {
	for _, u := range g.cfg.Upstreams {
		if u.Failover.To == name {
			return true
		}
	}
	return false
}

// signerOf is what signs an upstream's logins, nil when nothing does.
func signerOf(u configs.Upstream) *aws.Signer {
	region, signs := u.Signs()
	if !signs {
		return nil
	}
	return aws.NewSigner(u.AWS, region)
}

// requestSigner is a signer of requests, nil for none.
func requestSigner(s *aws.Signer) https.Signer {
	if s == nil {
		return nil
	}
	return s
}

// checkLogin logs in to an upstream once, as the gateway would, by one way. topic
// is one that it may publish to, or a filter of such.
func checkLogin(ctx context.Context, u configs.Upstream, topic string) error {
	if o, ok := u.HTTPS(); ok {
		return https.Check(ctx, o, requestSigner(signerOf(u)), topic)
	}
	if s := signerOf(u); s != nil {
		return mqtt.Check(ctx, u.MQTT, u.MQTT.ClientID, s)
	}
	return mqtt.Check(ctx, u.MQTT, u.MQTT.ClientID, nil)
}
