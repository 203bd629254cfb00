package main

import (
	"log/slog"

	"github.com/ebbgate/ebbgate/bridge"
	"github.com/ebbgate/ebbgate/configs"
	"github.com/ebbgate/ebbgate/upstream"
	"github.com/ebbgate/ebbgate/upstream/billing"
	"github.com/ebbgate/ebbgate/upstream/failover"
	"github.com/ebbgate/ebbgate/upstream/https"
	"github.com/ebbgate/ebbgate/upstream/mqtt"
)

// uplink is a sender that tells how it is.
type uplink interface {
	bridge.Sender
	Status() upstream.Status
}

// openUplink makes one sender to an upstream, by its way. What comes in unasked
// is offered as if the upstream that name means had said it.
func (g *gateway) openUplink(name string, u configs.Upstream, o mqtt.Options, id string, shared upstream.Shared, log *slog.Logger, hooks upstream.Hooks) (uplink, error) {
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
	up.Unasked(func(m *bridge.Message, wire int) bool {
		g.overhear(m)
		return g.answered(name, m, wire, func(error) {})
	})
	return up, nil
}

// withFailover puts the upstream that takes over beside the i-th sender, if there
// is one.
func (g *gateway) withFailover(name string, u configs.Upstream, up uplink, i int, shared upstream.Shared, hooks upstream.Hooks) (uplink, error) {
	to := u.Failover.To
	if to == "" {
		return up, nil
	}
	other := g.cfg.Upstreams[to]
	own, raise, over := hooks, hooks.Raise, hooks.Clear
	own.Raise = func(w bridge.Warning) {
		w.Code += "-failover"
		raise(w)
	}
	own.Clear = func(code string) { over(code + "-failover") }
	own.Opened = func(clientID string) upstream.Connection {
		return g.meter.Opened(to, clientID, billing.Connection{})
	}
	log := g.log.With("upstream", to, "for", name)
	second, err := g.openUplink(name, other, other.MQTT, upstream.ClientID(configs.FailoverID(other, name), i), shared, log, own)
	if err != nil {
		return nil, err
	}
	s := failover.New(u.Failover, failover.Member{Name: name, Sender: up}, failover.Member{Name: to, Sender: second}, hooks)
	return pair{s, up, second}, nil
}

// pair is an uplink with the one that takes over from it.
type pair struct {
	*failover.Sender
	first, second uplink
}

// Status is the first's, unless only the second is up.
func (p pair) Status() upstream.Status {
	if s := p.second.Status(); s.Up && !p.first.Status().Up {
		return s
	}
	return p.first.Status()
}

// meter is what the forwarder of an upstream tells what crossed.
type meter interface {
	bridge.Meter
	bridge.RefusalMeter
}

// byTaker meters what another upstream took, or refused, as that one's.
type byTaker struct{ meter }

// Delivered implements bridge.Meter.
func (m byTaker) Delivered(b *bridge.Batch, up string, s *bridge.Stored, o bridge.Outcome) {
	m.meter.Delivered(b, takerOf(up, o), s, o)
}

// Refused implements bridge.RefusalMeter.
func (m byTaker) Refused(b *bridge.Batch, up string, s *bridge.Stored, o bridge.Outcome) {
	m.meter.Refused(b, takerOf(up, o), s, o)
}

func takerOf(up string, o bridge.Outcome) string {
	if o.Via != "" {
		return o.Via
	}
	return up
}
