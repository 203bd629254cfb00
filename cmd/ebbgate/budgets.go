package main

import (
	"context"
	"fmt"
	"maps"
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

// budgets warn before an upstream costs more than it may, and then act: batches
// wait longer, files wait, and while a budget is used up, what routes of low priority
// would send is dropped where it comes in. It is the gateway's router, with that in
// front.
type budgets struct {
	*rules.Router
	spool  bridge.Spool
	health *bridge.Health
	now    func() bridge.Instant
	totals func(time.Time) (map[string]billing.Totals, error)
	of     map[string]billing.Options

	kept      map[string]standing                 // by key: those that act
	unwritten atomic.Bool                         // the spool does not have them
	acts      atomic.Pointer[map[string][]acting] // by upstream; nil: none
}

// acting is a budget that does something, and how it stands.
type acting struct {
	billing.Budget
	standing
}

// action is what the budgets of one upstream do now.
type action struct {
	below int           // messages of routes with a priority below this are dropped
	age   time.Duration // that messages may wait for others in batches
	files bool          // they wait
}

// open finds how the budgets stood when the gateway ended, and judges them.
func (b *budgets) open() error {
	if err := b.load(); err != nil {
		return err
	}
	b.judge()
	return nil
}

// overBudget is the reason of what no budget is left for.
const overBudget = "over-budget"

// Up routes what a device published, but for what no budget is left for.
func (b *budgets) Up(p *bridge.Principal, m *bridge.Message) ([]bridge.Receiver, []bridge.Turned, error) {
	to, turned, err := b.Router.Up(p, m)
	if b.acts.Load() == nil || len(to) == 0 || err != nil {
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
		if i >= 0 && queues[i].Priority < b.action(queues[i].Upstream).below {
			turned = append(turned, bridge.Turned{Queue: r.Queue, Fate: bridge.Dropped, Why: overBudget})
			continue
		}
		kept = append(kept, r)
	}
	return kept, turned, nil
}

// pausesFiles reports whether files to an upstream wait for its budgets.
func (b *budgets) pausesFiles(upstream string) bool { return b.action(upstream).files }

// patience is how long messages to an upstream may wait for others in batches, 0
// when no budget says so.
func (b *budgets) patience(upstream string) time.Duration { return b.action(upstream).age }

// action is what the budgets of an upstream do now. It ends with the period that they were
// judged in, not when they are judged the next time.
func (b *budgets) action(upstream string) (a action) {
	acts := b.acts.Load()
	if acts == nil {
		return action{}
	}
	at := b.now()
	for _, v := range (*acts)[upstream] {
		if !v.actsAt(at, v.At(at.Wall)) {
			continue
		}
		if v.Batch {
			a.age = max(a.age, v.BatchAge)
		}
		a.files = a.files || v.Files && v.PauseFilesAt > 0
		if v.Over {
			a.below = max(a.below, v.DropBelow)
		}
	}
	return a
}

// run judges the budgets now and then, until ctx ends.
func (b *budgets) run(ctx context.Context) {
	tick := time.NewTicker(judgeEvery)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			b.judge()
		case <-ctx.Done():
			return
		}
	}
}

// judge raises and clears the warnings, and says what is done from now on. When
// the ledger cannot be read, what was judged last stays; so it does while the
// clock is not to be believed that it is an earlier period ([standing.holdsAt]).
func (b *budgets) judge() {
	at := b.now()
	totals, err := b.totals(at.Wall)
	if err != nil {
		b.act(b.kept)
		return
	}
	stand := map[string]standing{}
	for _, name := range slices.Sorted(maps.Keys(b.of)) {
		for _, v := range b.of[name].Judge(totals[name]) {
			id := budgetKey(name, v.Name)
			was := b.kept[id]
			s := judged(v, at, was)
			if was.holdsAt(at, s.Period) {
				s = was
				v.Batch, v.Files, v.Over = was.Batch && v.BatchAge > 0, was.Files && v.PauseFilesAt > 0, was.Over
				v.Text = "as it was in " + was.Period + ", which the clock is behind"
			}
			if s.Batch || s.Files || s.Over {
				stand[id] = s
			}
			b.tell(name, v)
		}
	}
	b.act(stand)
	b.keep(stand)
}

// tell raises, or clears, the warning of a budget.
func (b *budgets) tell(name string, v billing.Verdict) {
	code := strings.ToLower("budget-" + name + "-" + v.Name)
	var done []string
	if v.Batch {
		done = append(done, fmt.Sprintf("batches of its routes wait up to %v until the %s ends", v.BatchAge, v.Period))
	}
	if v.Files {
		done = append(done, fmt.Sprintf("files wait until the %s ends", v.Period))
	}
	if v.Over && v.DropBelow > 0 {
		done = append(done, fmt.Sprintf("messages of routes with a priority below %d are dropped until the %s ends", v.DropBelow, v.Period))
	}
	severity, text := bridge.Degraded, ""
	switch {
	case v.Over:
		severity, text = bridge.Critical, fmt.Sprintf("budget %s of %s is used up (%s)", v.Name, name, v.Text)
		if v.DropBelow == 0 {
			done = append(done, "nothing is dropped")
		}
	case v.Batch || v.Files:
		at := v.BatchAt
		if !v.Batch || v.Files && v.PauseFilesAt > at {
			at = v.PauseFilesAt
		}
		text = fmt.Sprintf("budget %s of %s has reached %d %% (%s)", v.Name, name, at, v.Text)
	case v.Warn:
		text = fmt.Sprintf("budget %s of %s has reached %d %% (%s)", v.Name, name, v.WarnAt, v.Text)
		done = append(done, "nothing is changed")
	default:
		b.health.Clear(code)
		return
	}
	text += ": " + strings.Join(done, ", ") + "; raise the budget, or see ebbgate bill --forecast and ebbgate bill advise"
	b.health.Raise(bridge.Warning{Code: code, Severity: severity, Text: text})
}

// act does what the budgets that stand so say.
func (b *budgets) act(stand map[string]standing) {
	acts := map[string][]acting{}
	for name, o := range b.of {
		for _, v := range o.Budgets {
			if s, ok := stand[budgetKey(name, v.Name)]; ok {
				acts[name] = append(acts[name], acting{v, s})
			}
		}
	}
	if len(acts) == 0 {
		b.acts.Store(nil)
		return
	}
	b.acts.Store(&acts)
}
