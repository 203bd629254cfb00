package main

import (
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"github.com/ebbgate/ebbgate/bridge"
	"github.com/ebbgate/ebbgate/internal/telemetry"
	"github.com/ebbgate/ebbgate/upstream"
	"github.com/ebbgate/ebbgate/upstream/metered"
)

// commons is what all connections to an upstream share, whoever's messages they carry,
// by its name: the gate of its metered link, and the bucket of its account, if it has
// any.
type commons struct {
	gates    map[string]*metered.Gate
	accounts map[string]*upstream.Bucket
}

func (g *gateway) openCommons() (*commons, error) {
	c := &commons{gates: map[string]*metered.Gate{}, accounts: map[string]*upstream.Bucket{}}
	for name, u := range g.cfg.Upstreams {
		c.accounts[name] = u.Pool.Account.Bucket()
		if !u.Metered.Restricts() {
			continue
		}
		gate, err := metered.New(name, u.Metered, g.spool, g.clock.Now)
		if err != nil {
			return nil, err
		}
		if err := gate.Forget(); err != nil {
			g.log.Warn("old counters of the budget cannot be removed", "upstream", name, "error", err)
		}
		c.gates[name] = gate
	}
	return c, nil
}

// usedGate is the gate of whoever takes an upstream's messages. That is the upstream's own
// while one of its connections reaches it: what may not go there waits, and the others do
// not carry it elsewhere. Else it is that of who has taken over, or the upstream's when it
// has none; of several it is open when one is, see [chain.Open].
type usedGate struct {
	own     *metered.Gate // nil: none
	chains  []*chain
	all     []*metered.Gate
	began   time.Time
	reached atomic.Int64 // so long after it a connection reached the upstream itself; 0: none did
}

// lately is how long an upstream that was reached counts as reached: its connections may
// only come again.
const lately = 30 * time.Second

// usedGateOf is the gate of an upstream's forwarder, nil when nothing is ever closed.
func usedGateOf(own *metered.Gate, uplinks []uplink) bridge.Gate {
	u := &usedGate{own: own, began: time.Now()}
	u.count(own)
	for _, up := range uplinks {
		c, ok := up.(*chain)
		if !ok {
			continue
		}
		u.chains = append(u.chains, c)
		for _, gate := range c.gates {
			u.count(gate)
		}
	}
	if len(u.all) == 0 {
		return nil
	}
	return u
}

func (u *usedGate) count(gate *metered.Gate) {
	if gate != nil && !slices.Contains(u.all, gate) {
		u.all = append(u.all, gate)
	}
}

// Open implements [bridge.Gate].
func (u *usedGate) Open(priority int) bool {
	own := u.own == nil || u.own.Open(priority)
	if u.atHome() {
		return own
	}
	used, open := false, false
	for _, c := range u.chains {
		if i := c.Using(); i >= 0 {
			used, open = true, open || c.Open(priority)
		}
	}
	if !used {
		return own
	}
	return open && (own || !u.wasAtHome())
}

// atHome reports whether a connection reaches the upstream itself.
func (u *usedGate) atHome() bool {
	for _, c := range u.chains {
		if c.atHome() {
			u.reached.Store(int64(time.Since(u.began)))
			return true
		}
	}
	return false
}

// wasAtHome reports whether one did a moment ago.
func (u *usedGate) wasAtHome() bool {
	at := time.Duration(u.reached.Load())
	return at > 0 && time.Since(u.began) < at+lately
}

// Account implements [bridge.Gate].
func (u *usedGate) Account(b *bridge.Batch) {
	for _, gate := range u.all {
		gate.Account(b)
	}
}

// tellHeld tells when whoever takes a cloud's messages lets only urgent ones pass.
func (g *gateway) tellHeld(c *cloud) {
	code := "failover-held-" + c.name
	why, byOther := c.held()
	if !byOther {
		g.health.Clear(code)
		return
	}
	g.health.Raise(bridge.Warning{Code: code, Severity: bridge.Notice, Text: c.heldByOther(why)})
}

// held says what lets only urgent messages of a cloud pass, empty when all may, and
// whether that is the link of another that has taken over.
func (c *cloud) held() (why string, byOther bool) {
	u, ok := c.open.(*usedGate)
	if !ok || u.Open(0) {
		return "", false
	}
	if why = u.held(); why != "" {
		return why, true
	}
	return closedText(c.metered()), false
}

// heldByOther is that in words.
func (c *cloud) heldByOther(why string) string {
	return fmt.Sprintf("another upstream takes the messages of %s, and lets only those pass that override its metered (%s): the others wait", c.name, why)
}

// held says what keeps messages from a member that has taken over, empty for nothing.
func (u *usedGate) held() string {
	if u.atHome() {
		return ""
	}
	for _, c := range u.chains {
		if i := c.Using(); i >= c.own && c.gates[i] != nil && c.gates[i] != u.own && !c.gates[i].Open(0) {
			return closedText(meteredBy(c.gates[i]))
		}
	}
	return ""
}

// mostUrgent is the highest priority that a message may have.
const mostUrgent = 9

// closedTo says why nothing at all may pass a gate now, empty when something may; nil for
// no gate. One that lets urgent messages pass is connected to for them.
func closedTo(gate *metered.Gate) func() string {
	if gate == nil {
		return nil
	}
	return func() string {
		if gate.Open(mostUrgent) {
			return ""
		}
		return closedText(meteredBy(gate))
	}
}

// metered is how a gate stands, nil without one.
func (c *cloud) metered() *telemetry.Metered {
	if c.gate == nil {
		return nil
	}
	return meteredBy(c.gate)
}

func meteredBy(gate *metered.Gate) *telemetry.Metered {
	s := gate.State()
	m := &telemetry.Metered{Open: s.Open, Budget: s.Budget, Used: s.Used, Period: s.Period, Why: s.Why}
	if !s.Next.IsZero() {
		m.Next = &s.Next
	}
	return m
}

// closedText says that a gate is closed, and when it opens; empty when it is open.
func closedText(m *telemetry.Metered) string {
	switch {
	case m == nil || m.Open:
		return ""
	case m.Next == nil:
		return "not before somebody opens it: " + m.Why
	}
	return fmt.Sprintf("not before %s: %s", m.Next.Format(time.RFC3339), m.Why)
}
