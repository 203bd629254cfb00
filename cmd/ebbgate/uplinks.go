package main

import (
	"cmp"
	"fmt"
	"log/slog"
	"slices"

	"github.com/ebbgate/ebbgate/bridge"
	"github.com/ebbgate/ebbgate/configs"
	"github.com/ebbgate/ebbgate/upstream"
	"github.com/ebbgate/ebbgate/upstream/billing"
	"github.com/ebbgate/ebbgate/upstream/failover"
	"github.com/ebbgate/ebbgate/upstream/https"
	"github.com/ebbgate/ebbgate/upstream/metered"
	"github.com/ebbgate/ebbgate/upstream/mqtt"
)

// uplink is a sender that tells how it is.
type uplink interface {
	bridge.Sender
	Status() upstream.Status
	Refresh() // takes a new client certificate up now
}

// openUplink makes one sender to an upstream, by one way, or by those of MQTT
// that it may choose among. What comes in unasked is offered as if the upstream
// that name means had said it.
func (g *gateway) openUplink(name string, l leg, id string, shared upstream.Shared, log *slog.Logger, hooks upstream.Hooks) (uplink, error) {
	u, o := l.Upstream, l.MQTT
	signer := signerOf(u)
	if h, ok := u.HTTPS(); ok {
		up, err := https.NewUplink(h, requestSigner(signer), log, hooks)
		if err != nil {
			return nil, err
		}
		up.Share(shared)
		return up, nil
	}
	up := mqtt.NewUplink(o, id, log, hooks)
	up.Share(shared)
	if signer != nil {
		up.Sign(signer)
	}
	if len(l.ways) > 1 {
		up.Choose(l.ways, l.known)
	}
	up.Unasked(func(m *bridge.Message, wire int) bool { return g.answered(name, m, wire, func(error) {}) })
	return up, nil
}

// counting meters a connection's life and bytes as those of an upstream. gate is
// told of the bytes too, unless it is nil.
func (g *gateway) counting(h upstream.Hooks, name string, gate *metered.Gate) upstream.Hooks {
	h.Connecting = func(clientID string) { g.meter.Connecting(name, clientID, billing.Connection{}) }
	h.Opened = func(clientID string) upstream.Connection {
		return g.meter.Opened(name, clientID, billing.Connection{})
	}
	carried := g.meter.Carrier(name)
	h.Carried = carried
	if gate != nil {
		h.Carried = func(bytes int) {
			carried(bytes)
			gate.Carried(bytes)
		}
	}
	return h
}

// withFailover puts those that take over behind the i-th sender to an upstream, if
// there are any: the upstream that its failover names, the one that that one's
// names, and so on. Each is bound by its own gate and its own limits of an account; one
// without goes by the upstream's, whose budget is the link's then, whoever is reached
// over it.
func (g *gateway) withFailover(name string, o mqtt.Options, i int, shared upstream.Shared, hooks upstream.Hooks, common *commons) (uplink, error) {
	c := &chain{}
	var members []failover.Member
	for step, at := range configs.Chain(g.cfg.Upstreams, name) {
		to, own, id := g.cfg.Upstreams[at], hooks, upstream.ClientID(o.ClientID, i)
		if step == 0 {
			to.MQTT = o // the endpoint of a sandbox is in it
		}
		log := g.log.With("upstream", at)
		gate, shared := cmp.Or(common.gates[at], common.gates[name]), shared
		shared.Account = cmp.Or(common.accounts[at], shared.Account)
		if step > 0 {
			own, id = g.onBehalf(hooks, step, at, gate), upstream.ClientID(configs.FailoverID(to, name), i)
			log = log.With("for", name)
		}
		legs := g.legs(at, to, shared.Gate)
		for n, l := range legs {
			member, hooks, shared := len(members), own, shared
			shared.Elsewhere = func() bool { return c.beyond(member) }
			if n > 0 {
				hooks = marked(own, fmt.Sprintf("-way-%d", n+1))
			}
			up, err := g.openUplink(name, l, id, shared, log, hooks)
			if err != nil {
				return nil, err
			}
			c.uplinks = append(c.uplinks, up)
			c.gates, c.names = append(c.gates, gate), append(c.names, at+": "+l.name)
			m := failover.Member{Name: l.name, Via: at, Sender: up, After: to.Failover.After, BackAfter: to.Failover.BackAfter}
			if step > 0 {
				m.Closed = closedTo(common.gates[at])
			}
			if n < len(legs)-1 {
				m.After = blocked
			}
			members = append(members, m)
		}
		if step == 0 {
			c.own = len(members)
		}
	}
	if len(members) == 1 {
		return c.uplinks[0], nil
	}
	c.Sender = failover.New(members, hooks)
	c.follow(g.chainBefore(name, i))
	return c, nil
}

// chainBefore is the chain that the i-th sender to an upstream was before a reload, nil
// for none.
func (g *gateway) chainBefore(name string, i int) *chain {
	for _, was := range g.clouds {
		if was.name == name && i < len(was.uplinks) {
			c, _ := was.uplinks[i].(*chain)
			return c
		}
	}
	return nil
}

// follow goes on where another chain is, if that went by the same members: who is away
// for long is not waited for again after each reload.
func (c *chain) follow(before *chain) {
	if before == nil {
		return
	}
	if n := before.Resumes(); n < len(c.names) && slices.Equal(before.names[:n+1], c.names[:n+1]) {
		c.Resume(n)
	}
}

// onBehalf are the hooks of the step-th upstream that takes over: its warnings are
// told from those of the others, and its connections are on its own bill.
func (g *gateway) onBehalf(h upstream.Hooks, step int, to string, gate *metered.Gate) upstream.Hooks {
	mark := "-failover"
	if step > 1 {
		mark = fmt.Sprintf("-failover-%d", step)
	}
	return g.counting(marked(h, mark), to, gate)
}

// marked tells a sender's warnings from those of the others of its chain.
func marked(h upstream.Hooks, mark string) upstream.Hooks {
	raise, over := h.Raise, h.Clear
	h.Raise = func(w bridge.Warning) {
		w.Code += mark
		raise(w)
	}
	h.Clear = func(code string) { over(code + mark) }
	return h
}

// chain is an uplink with those that take over from it.
type chain struct {
	*failover.Sender // nil for one that has none
	uplinks          []uplink
	names            []string        // of each
	gates            []*metered.Gate // of each; nil: none
	own              int             // of the uplinks, which are ways to the upstream itself
}

// beyond reports whether a later member than the step-th carries the messages.
func (c *chain) beyond(step int) bool { return c.Sender != nil && c.Using() > step }

// Open implements [bridge.GatedSender]: by the gate of the one in use. What waits for the
// upstream's own waits for it on all connections, see [usedGate]: none is avoided for that.
func (c *chain) Open(priority int) bool {
	i := c.Using()
	return i < c.own || c.gates[i] == nil || c.gates[i].Open(priority)
}

// atHome reports whether the upstream itself is in use, by whatever way.
func (c *chain) atHome() bool {
	i := c.Using()
	return i >= 0 && i < c.own
}

// Status is that of the one in use, else of the first, with all ways to the
// upstream itself.
func (c *chain) Status() upstream.Status {
	s := c.uplinks[max(c.Using(), 0)].Status()
	if c.own == 1 {
		return s
	}
	s.Ways = nil
	for _, u := range c.uplinks[:c.own] {
		one := u.Status()
		if s.Ways = append(s.Ways, one.Ways...); len(one.Ways) == 0 {
			s.Ways = append(s.Ways, upstream.WayStatus{Way: u.(named).Endpoint(), Err: one.Err, At: one.Since})
		}
	}
	return s
}

// Refresh implements uplink.
func (c *chain) Refresh() {
	for _, u := range c.uplinks {
		u.Refresh()
	}
}

// named is an uplink by one way.
type named interface{ Endpoint() string }

// meter is what the forwarder of an upstream tells what crossed.
type meter interface {
	bridge.Meter
	bridge.RefusalMeter
	bridge.PlaceMeter
}

// byTaker meters what another upstream took, refused, or has perhaps taken, as
// that one's.
type byTaker struct{ meter }

// Delivered implements bridge.Meter.
func (m byTaker) Delivered(b *bridge.Batch, up string, s *bridge.Stored, o bridge.Outcome) {
	m.meter.Delivered(b, takerOf(up, o), s, o)
}

// Refused implements bridge.RefusalMeter.
func (m byTaker) Refused(b *bridge.Batch, up string, s *bridge.Stored, o bridge.Outcome) {
	m.meter.Refused(b, takerOf(up, o), s, o)
}

// Uncertain implements bridge.Meter.
func (m byTaker) Uncertain(b *bridge.Batch, up string, s *bridge.Stored, o bridge.Outcome) {
	m.meter.Uncertain(b, takerOf(up, o), s, o)
}

func takerOf(up string, o bridge.Outcome) string {
	if o.Via != "" {
		return o.Via
	}
	return up
}
