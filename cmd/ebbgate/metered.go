package main

import (
	"fmt"
	"time"

	"github.com/ebbgate/ebbgate/bridge"
	"github.com/ebbgate/ebbgate/internal/telemetry"
	"github.com/ebbgate/ebbgate/upstream/metered"
)

// openGate makes the gate of an upstream that has windows or a budget.
func (g *gateway) openGate(c *cloud, o metered.Options) (bridge.Gate, error) {
	if !o.Restricts() {
		return nil, nil
	}
	var err error
	c.gate, err = metered.New(c.name, o, g.spool, g.clock.Now)
	if err != nil {
		return nil, err
	}
	if err := c.gate.Forget(); err != nil {
		g.log.Warn("old counters of the budget cannot be removed", "upstream", c.name, "error", err)
	}
	return c.gate, nil
}

// metered is how a gate stands, nil without one.
func (c *cloud) metered() *telemetry.Metered {
	if c.gate == nil {
		return nil
	}
	s := c.gate.State()
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
