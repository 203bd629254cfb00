package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/ebbgate/ebbgate/bridge"
	"github.com/ebbgate/ebbgate/rules"
	"github.com/ebbgate/ebbgate/upstream/billing"
)

// judgeEvery is how often budgets are looked at.
const judgeEvery = 10 * time.Second

// budgets warn before an upstream costs more than it may, and then act: while
// one is used up, what routes of low priority would send is dropped where it
// comes in. It is the gateway's router, with that in front.
type budgets struct {
	*rules.Router
	health *bridge.Health
	totals func(time.Time) (map[string]billing.Totals, error)
	of     map[string]billing.Options

	below atomic.Pointer[map[string]int] // upstream → priorities below are dropped; nil: none
}

// overBudget is the reason of what no budget is left for.
const overBudget = "over-budget"

// Up routes what a device published, but for what no budget is left for.
func (b *budgets) Up(p *bridge.Principal, m *bridge.Message) ([]bridge.Receiver, []bridge.Turned, error) {
	to, turned, err := b.Router.Up(p, m)
	below := b.below.Load()
	if below == nil || len(to) == 0 || err != nil {
		return to, turned, err
	}
	queues := b.Table().Queues()
	kept := make([]bridge.Receiver, 0, len(to))
	for _, r := range to {
		name := r.Queue
		if products, raw := bridge.IsRaw(name); raw {
			name = products
		}
		i := slices.IndexFunc(queues, func(q rules.Queue) bool { return q.Name == name })
		if i >= 0 && queues[i].Priority < (*below)[queues[i].Upstream] {
			turned = append(turned, bridge.Turned{Queue: r.Queue, Fate: bridge.Dropped, Why: overBudget})
			continue
		}
		kept = append(kept, r)
	}
	return kept, turned, nil
}

// run judges the budgets now and then, until ctx ends.
func (b *budgets) run(ctx context.Context) {
	tick := time.NewTicker(judgeEvery)
	defer tick.Stop()
	for {
		select {
		case now := <-tick.C:
			b.judge(now)
		case <-ctx.Done():
			return
		}
	}
}

// judge raises and clears the warnings, and says what is dropped from now on.
// When the ledger cannot be read, what was judged last stays.
func (b *budgets) judge(now time.Time) {
	totals, err := b.totals(now)
	if err != nil {
		return
	}
	below := map[string]int{}
	for name, o := range b.of {
		for _, v := range o.Judge(totals[name]) {
			code := "budget-" + name + "-" + v.Name
			switch {
			case v.Over && v.DropBelow > 0:
				below[name] = max(below[name], v.DropBelow)
				b.warn(code, bridge.Critical, fmt.Sprintf("budget %s of %s is used up (%s): messages of routes with a priority below %d are dropped until the %s ends; raise the budget, or see ebbgate bill advise", v.Name, name, v.Text, v.DropBelow, v.Period))
			case v.Over:
				b.warn(code, bridge.Critical, fmt.Sprintf("budget %s of %s is used up (%s): nothing is dropped; see ebbgate bill advise", v.Name, name, v.Text))
			case v.Warn:
				b.warn(code, bridge.Degraded, fmt.Sprintf("budget %s of %s has reached %d %% (%s); see ebbgate bill --forecast", v.Name, name, v.WarnAt, v.Text))
			default:
				b.health.Clear(code)
			}
		}
	}
	if len(below) == 0 {
		b.below.Store(nil)
		return
	}
	b.below.Store(&below)
}

func (b *budgets) warn(code string, severity bridge.Severity, text string) {
	b.health.Raise(bridge.Warning{Code: strings.ToLower(code), Severity: severity, Text: text})
}
