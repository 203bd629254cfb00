package billing

import (
	"fmt"
	"math/big"

	"github.com/ebbgate/ebbgate/bridge"
)

// The values of Budget.Period.
const (
	PerDay   = "day"
	PerMonth = "month"
)

// Budget is what an upstream may cost in a day or a month.
type Budget struct {
	Name      string `koanf:"name" doc:"Name of the budget, unique for its upstream: it stands in warnings. 1 to 64 of a-z, 0-9, - and _."`
	Period    string `koanf:"period" enum:"day,month" doc:"What the limit is for: a UTC day or a UTC month."`
	USD       string `koanf:"usd" doc:"Limit in dollars, such as 25 or 0.50, of what is metered here; empty: none. Needs a region with prices."`
	Messages  int64  `koanf:"metered_messages" doc:"Limit in metered messages, 0 or more; 0: none."`
	WarnAt    int    `koanf:"warn_at" min:"1" max:"100" doc:"Share of the limit at which a warning begins, 1 to 100 percent."`
	DropBelow int    `koanf:"drop_below" min:"0" max:"9" doc:"Once the limit is reached, new messages of routes with a priority below this are dropped and counted in the drop log as over-budget, until the period ends, 0 to 9; 0 drops none."`
}

// DefaultBudget warns at four fifths of a month's limit, and drops nothing.
func DefaultBudget() Budget { return Budget{Period: PerMonth, WarnAt: 80} }

// Validate lists what is wrong with a budget.
func (b Budget) Validate() (out []bridge.Problem) {
	add := func(path, text, remedy string) {
		out = append(out, bridge.Problem{Path: path, Text: text, Remedy: remedy})
	}
	if b.Name == "" {
		add("name", "is missing", "name the budget, such as monthly")
	}
	if _, ok := linkPrice(b.USD); !ok {
		add("usd", fmt.Sprintf("%q is not an amount", b.USD), "write dollars, such as 25 or 0.50")
	}
	if b.Messages < 0 {
		add("metered_messages", fmt.Sprintf("%d is below 0", b.Messages), "write 0 or more")
	}
	if b.USD == "" && b.Messages == 0 {
		add("usd", "and metered_messages are both missing: the budget has no limit", "set one of them")
	}
	if b.WarnAt < 1 || b.WarnAt > 100 {
		add("warn_at", fmt.Sprintf("%d is out of range", b.WarnAt), "set it between 1 and 100")
	}
	if b.DropBelow < 0 || b.DropBelow > 9 {
		add("drop_below", fmt.Sprintf("%d is out of range", b.DropBelow), "set it between 0 and 9")
	}
	return out
}

// Verdict is how a budget stands.
type Verdict struct {
	Budget
	Warn bool
	Over bool
	Text string // for a person
}

// Judge says how the budgets of an upstream stand.
func (o Options) Judge(t Totals) []Verdict {
	out := make([]Verdict, 0, len(o.Budgets))
	for _, b := range o.Budgets {
		units, usd := t.UnitsMonth, t.USDMonth
		if b.Period == PerDay {
			units, usd = t.UnitsToday, t.USDToday
		}
		v := Verdict{Budget: b}
		used := new(big.Rat)
		if b.Messages > 0 {
			used = big.NewRat(units, b.Messages)
			v.Text = fmt.Sprintf("%d of %d metered messages of this %s", units, b.Messages, b.Period)
		}
		if limit, _ := linkPrice(b.USD); limit != nil {
			spent := known(usd)
			share := big.NewRat(1, 1)
			if limit.Sign() > 0 {
				share = new(big.Rat).Quo(spent, limit)
			}
			if v.Text == "" || share.Cmp(used) > 0 {
				used, v.Text = share, fmt.Sprintf("$%s of $%s of this %s", spent.FloatString(2), limit.FloatString(2), b.Period)
			}
		}
		v.Warn = used.Cmp(big.NewRat(int64(b.WarnAt), 100)) >= 0
		v.Over = used.Cmp(big.NewRat(1, 1)) >= 0
		out = append(out, v)
	}
	return out
}
