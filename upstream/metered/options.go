package metered

import (
	"fmt"
	"time"
	_ "time/tzdata" // a small box may have no time zones of its own

	"github.com/ebbgate/ebbgate/bridge"
)

// Options say when, and how much, a link may carry.
type Options struct {
	Windows  []string    `koanf:"windows" doc:"When messages, or files, may go up, such as \"daily 01:00-05:00\", \"mon-fri 22:00-06:00\" or \"sat,sun 00:00-24:00\"; none: always."`
	TimeZone string      `koanf:"time_zone" doc:"Time zone of windows and of the budget's days and months, such as Europe/Berlin; empty: the system's."`
	Budget   bridge.Size `koanf:"budget" doc:"Bytes of a day or month on the wire, both directions, TLS included, TCP and IP not; when they are used up, messages, or files, wait for the next. 0 is no budget, else at least 1MB."`
	Per      string      `koanf:"per" enum:"day,month" doc:"What the budget is for: a day or a calendar month."`
	Override int         `koanf:"override" min:"0" max:"10" doc:"Messages of this priority and above go at any time, and whatever the budget says; 10: none. Of files it means nothing, since they have no priority."`
}

// The values of Options.Per.
const (
	perDay   = "day"
	perMonth = "month"
)

const (
	leastBudget = 1_000_000
	maxWindows  = 100
	noOverride  = 10
)

// DefaultOptions let everything through.
func DefaultOptions() Options { return Options{Per: perMonth, Override: noOverride} }

// Restricts reports whether there is a window or a budget at all.
func (o Options) Restricts() bool { return len(o.Windows) > 0 || o.Budget > 0 }

// Validate lists everything that is wrong with the options.
func (o Options) Validate() (out []bridge.Problem) {
	add := func(path, text, remedy string) {
		out = append(out, bridge.Problem{Path: path, Text: text, Remedy: remedy})
	}
	if len(o.Windows) > maxWindows {
		add("windows", fmt.Sprintf("%d windows are more than %d", len(o.Windows), maxWindows), "write days that are alike together: mon-fri")
	}
	for i, w := range o.Windows[:min(len(o.Windows), maxWindows)] {
		if _, err := parseWindow(w); err != nil {
			add(fmt.Sprintf("windows[%d]", i), err.Error(), "write days and times, such as \"mon-fri 22:00-06:00\" or \"daily 01:00-05:00\"")
		}
	}
	if _, err := o.location(); err != nil {
		add("time_zone", fmt.Sprintf("%q is no time zone", o.TimeZone), "write a name of the IANA database, such as Europe/Berlin, or leave it empty for the system's")
	}
	if o.Budget < 0 || o.Budget > 0 && o.Budget < leastBudget {
		add("budget", fmt.Sprintf("%v does not even carry the connection", o.Budget), "set it to 1MB or more, or to 0 for no budget")
	}
	if o.Per != perDay && o.Per != perMonth {
		add("per", fmt.Sprintf("%q is not a period", o.Per), "write day or month")
	}
	if o.Override < 0 || o.Override > noOverride {
		add("override", fmt.Sprintf("%d is out of range", o.Override), "set it to a priority, 0 to 9, or to 10 for none")
	}
	return out
}

func (o Options) location() (*time.Location, error) {
	if o.TimeZone == "" {
		return time.Local, nil
	}
	return time.LoadLocation(o.TimeZone)
}
