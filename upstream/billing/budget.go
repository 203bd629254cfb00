package billing

import (
	"fmt"
	"math/big"
	"time"

	"github.com/ebbgate/ebbgate/bridge"
)

// The values of Budget.Period.
const (
	PerDay   = "day"
	PerMonth = "month"
)

// Budget is what an upstream may cost in a day or a month.
type Budget struct {
	Name      string        `koanf:"name" doc:"Name of the budget, unique for its upstream: it stands in warnings. 1 to 64 of a-z, 0-9, - and _."`
	Period    string        `koanf:"period" enum:"day,month" doc:"What the limit is for: a UTC day or a UTC month."`
	USD       string        `koanf:"usd" doc:"Limit in dollars, such as 25 or 0.50, of what is metered here; empty: none. Needs a region with prices."`
	Messages  int64         `koanf:"metered_messages" doc:"Limit in metered messages, 0 or more; 0: none."`
	WarnAt    int           `koanf:"warn_at" min:"1" max:"100" doc:"Share of the limit at which a warning begins, 1 to 100 percent."`
	BatchAt   int           `koanf:"batch_at" min:"1" max:"100" doc:"Share of the limit from which on batch_age holds, 1 to 100 percent."`
	BatchAge  time.Duration `koanf:"batch_age" doc:"From batch_at on, and until the period ends, how long a message may wait for others in the batches of this upstream's routes, up to half of a route's ttl, 100ms to 24h; fuller batches cost less. Routes without batch stay as they are. 0: nothing changes."`
	DropBelow int           `koanf:"drop_below" min:"0" max:"9" doc:"Once the limit is reached, new messages of routes with a priority below this are dropped and counted in the drop log as over-budget, until the period ends, 0 to 9; 0 drops none."`

	PauseFilesAt int `koanf:"pause_files_at" min:"0" max:"100" doc:"Share of the limit from which on files wait until the period ends, so that the rest is for messages: those that are exported to this upstream, and streams of its cloud that are not in the cache yet. 0 to 100 percent; 0: they never wait."`
}

// DefaultBudget warns at four fifths of a month's limit, and does nothing else.
func DefaultBudget() Budget { return Budget{Period: PerMonth, WarnAt: 80, BatchAt: 90} }

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
	switch {
	case b.BatchAt < 1 || b.BatchAt > 100:
		add("batch_at", fmt.Sprintf("%d is out of range", b.BatchAt), "set it between 1 and 100")
	case b.BatchAge == 0 && b.BatchAt != DefaultBudget().BatchAt:
		add("batch_at", "does nothing without batch_age", "set batch_age, or take it out")
	}
	if b.BatchAge != 0 && (b.BatchAge < 100*time.Millisecond || b.BatchAge > 24*time.Hour) {
		add("batch_age", fmt.Sprintf("%v is out of range", b.BatchAge), "set it between 100ms and 24h, or to 0")
	}
	if b.PauseFilesAt < 0 || b.PauseFilesAt > 100 {
		add("pause_files_at", fmt.Sprintf("%d is out of range", b.PauseFilesAt), "set it between 0 and 100")
	}
	if b.DropBelow < 0 || b.DropBelow > 9 {
		add("drop_below", fmt.Sprintf("%d is out of range", b.DropBelow), "set it between 0 and 9")
	}
	return out
}

// Verdict is how a budget stands.
type Verdict struct {
	Budget
	Warn  bool
	Batch bool // batches are to wait for BatchAge
	Files bool // files are to wait
	Over  bool
	Text  string // for a person
}

// At is the name of the period that a moment is in: "2026-11-21" or "2026-11".
// Names of one budget compare as their periods do.
func (b Budget) At(now time.Time) string {
	if b.Period == PerDay {
		return now.UTC().Format(time.DateOnly)
	}
	return now.UTC().Format("2006-01")
}

// End is when the period ends that a moment is in.
func (b Budget) End(now time.Time) (end time.Time) {
	if b.Period == PerDay {
		_, end = Today(now)
		return end
	}
	_, end = Month(now)
	return end
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
		v.Batch = b.BatchAge > 0 && used.Cmp(big.NewRat(int64(b.BatchAt), 100)) >= 0
		v.Files = b.PauseFilesAt > 0 && used.Cmp(big.NewRat(int64(b.PauseFilesAt), 100)) >= 0
		v.Over = used.Cmp(big.NewRat(1, 1)) >= 0
		out = append(out, v)
	}
	return out
}
