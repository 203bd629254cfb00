package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/ebbgate/ebbgate/bridge"
	"github.com/ebbgate/ebbgate/configs"
	"github.com/ebbgate/ebbgate/upstream"
	"github.com/ebbgate/ebbgate/upstream/billing"
	"github.com/ebbgate/ebbgate/upstream/mqtt"
)

// thingLink is the connection of one thing to a cloud: a sender and a forwarder of
// its own, so that nothing that happens to it keeps anybody else back.
type thingLink struct {
	name   string
	uplink *mqtt.Uplink
	up     *bridge.Forwarder
	queues []bridge.QueueRef
}

// openThings makes the connections of the things of an upstream that have one of
// their own. Nothing connects before there is something to send.
func (g *gateway) openThings(c *cloud, u configs.Upstream, q cloudQueues, hooks upstream.Hooks, account *upstream.Bucket, metered bridge.Gate) {
	if len(u.AsThings.Things) == 0 {
		return
	}
	c.thingPrice = priceThings(c.name, g.cfg)
	c.trouble = &thingTrouble{upstream: c.name, health: g.health, of: map[string]map[string]map[string]string{}}
	// The things have a gate of their own: however many are refused, their attempts
	// take no turn of the connections that all others share.
	shared := upstream.Shared{Account: account, Gate: g.gateOf(c.name + " (things)"), Paces: c.paces}
	for _, thing := range u.AsThings.Things {
		t := &thingLink{name: thing.Name, queues: q.own[thing.Name]}
		var moved []bridge.Successor
		for _, x := range t.queues {
			moved = append(moved, bridge.Successor{Queue: x.Name, Priority: x.Priority, Inherited: q.inherited[x.Name]})
		}
		gate := bridge.NewSuccession(g.spool, moved, q.before, metered)
		own := c.trouble.hooks(thing.Name, hooks)
		own.Opened = func(string) upstream.Connection {
			return g.meter.OpenedAs(c.name, thing.Name, billing.Connection{})
		}
		t.uplink = mqtt.NewUplink(u.AsThing(thing), thing.Name, g.log.With("upstream", c.name), own)
		t.uplink.Share(shared)
		t.uplink.OnDemand(g.demand(t.queues, gate), u.AsThings.IdleAfter)
		t.uplink.Unasked(func(m *bridge.Message, wire int) bool { return g.answered(c.name, m, wire, func(error) {}) })
		t.up = bridge.NewForwarder(bridge.ForwarderConfig{
			Upstream: c.name, Queues: t.queues, Weight: u.Pool.PriorityWeight, Gate: gate,
			Window: u.MQTT.Limits.InFlight,
		}, g.spool, []bridge.Sender{t.uplink}, g.meter, g.drops, g.health, g.log.With("thing", thing.Name))
		c.things = append(c.things, t)
	}
}

// forgetThings forgets what was known of the queues of things that have no
// connection of their own any more.
func (g *gateway) forgetThings() {
	known := map[string]bool{}
	for _, q := range g.table.Queues() {
		known[q.Name] = true
	}
	if err := bridge.ForgetSuccessions(g.spool, func(queue string) bool { return known[queue] }); err != nil {
		g.log.Warn("what is known of things that had connections of their own cannot be forgotten", "error", err)
	}
}

// demand waits until queues hold something that may be sent.
func (g *gateway) demand(queues []bridge.QueueRef, gate bridge.Gate) func(context.Context) error {
	names := make([]string, len(queues))
	for i, q := range queues {
		names[i] = q.Name
	}
	wanted := func() bool {
		return slices.ContainsFunc(queues, func(q bridge.QueueRef) bool {
			return g.spool.Depth(q.Name).Records > 0 && gate.Open(q.Priority)
		})
	}
	return func(ctx context.Context) error {
		wake := make(chan struct{}, 1)
		defer g.spool.Watch(wake, names...)()
		tick := time.NewTicker(time.Second)
		defer tick.Stop()
		for !wanted() {
			select {
			case <-wake:
			case <-tick.C:
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		return nil
	}
}

// allUpQueues are the queues that all of a cloud's connections send, each once.
func (c *cloud) allUpQueues() []bridge.QueueRef {
	out := slices.DeleteFunc(slices.Clone(c.upQueues), func(q bridge.QueueRef) bool { return q.Until > 0 }) // a thing's as well
	for _, t := range c.things {
		out = append(out, t.queues...)
	}
	return out
}

// stats is what all of a cloud's forwarders have done; connected says whether one
// that all devices share is.
func (c *cloud) stats() bridge.ForwardStats {
	out := c.up.Stats()
	for _, t := range c.things {
		s := t.up.Stats()
		out.Sent, out.Acked, out.InFlight, out.Connects = out.Sent+s.Sent, out.Acked+s.Acked, out.InFlight+s.InFlight, out.Connects+s.Connects
	}
	return out
}

// thingTrouble gathers what keeps things' connections down, and which of their
// certificates end, so that a cloud that is away is one warning and not one for each
// thing.
type thingTrouble struct {
	upstream string
	health   *bridge.Health

	mu sync.Mutex
	of map[string]map[string]map[string]string // code of the gathered warning → thing → code → text
}

// What the gathered warnings are about; the upstream's name follows.
const (
	thingsDown  = "things-"
	thingsEnded = "things-certificates-"
)

// hooks are those of one thing's connection.
func (t *thingTrouble) hooks(thing string, h upstream.Hooks) upstream.Hooks {
	h.Raise = func(w bridge.Warning) { t.note(thing, w.Code, w.Text) }
	h.Clear = func(code string) { t.note(thing, code, "") }
	return h
}

// note takes what a thing's connection warns of; no text: it is over.
func (t *thingTrouble) note(thing, code, text string) {
	name, what := thingsDown, "the own connections of %s to %s do not come up (%s), and only their messages wait"
	if strings.HasSuffix(code, "-certificate") {
		name, what = thingsEnded, "the certificates of %s for %s end soon, or have ended (%s)"
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.of[name][thing][code] == text {
		return
	}
	if t.of[name] == nil {
		t.of[name] = map[string]map[string]string{}
	}
	if t.of[name][thing] == nil {
		t.of[name][thing] = map[string]string{}
	}
	t.of[name][thing][code] = text
	if text == "" {
		delete(t.of[name][thing], code)
	}
	if len(t.of[name][thing]) == 0 {
		delete(t.of[name], thing)
	}
	things := slices.Sorted(maps.Keys(t.of[name]))
	if len(things) == 0 {
		t.health.Clear(name + t.upstream)
		return
	}
	first := t.of[name][things[0]]
	t.health.Raise(bridge.Warning{Code: name + t.upstream, Severity: bridge.Degraded,
		Text: fmt.Sprintf(what+"; %s: %s", count(len(things), "thing"), t.upstream, someOf(things), things[0], first[slices.Min(slices.Collect(maps.Keys(first)))])})
}

// down lists the things whose connection does not come up.
func (t *thingTrouble) down() []string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return slices.AppendSeq([]string{}, slices.Values(slices.Sorted(maps.Keys(t.of[thingsDown]))))
}

// someOf names the first few.
func someOf(names []string) string {
	if len(names) <= 3 {
		return strings.Join(names, ", ")
	}
	return strings.Join(names[:3], ", ") + ", …"
}

// checkThings logs in as each thing that has a connection of its own.
func checkThings(ctx context.Context, u configs.Upstream, tell func(thing string)) error {
	var errs []error
	for _, t := range u.AsThings.Things {
		if err := mqtt.Check(ctx, u.AsThing(t), t.Name, nil); err != nil {
			errs = append(errs, fmt.Errorf("as thing %s: %w", t.Name, err))
			continue
		}
		tell(t.Name)
	}
	return errors.Join(errs...)
}
