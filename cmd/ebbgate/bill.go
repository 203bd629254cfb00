package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/ebbgate/ebbgate/configs"
	"github.com/ebbgate/ebbgate/upstream/billing"
)

// The values of bill's flag --by.
const (
	byDevice   = "device"
	byThing    = "thing"
	byTopic    = "topic"
	byRoute    = "route"
	byPriority = "priority"

	byDirection = "direction"
	byUpstream  = "upstream"
	byRegion    = "region"
	byAccount   = "account"
	byHour      = "hour"
	byDay       = "day"
)

// billOptions are the flags of bill.
type billOptions struct {
	config   string
	sets     []string
	month    bool
	period   string
	at       string
	by       string
	json     bool
	csv      bool
	explain  string
	forecast bool
}

func newBillCommand() *cobra.Command {
	var o billOptions
	cmd := &cobra.Command{
		Use:   "bill",
		Short: "Show what the clouds bill: metered here, estimated, and what nobody here sees",
		Long: `Show the metered messages of today and of this month (UTC) and what they cost,
in three columns: what was metered here; what is estimated from the rules and
subscribers that the configuration declares (billing.declared_rules); and what
else the cloud may bill, which no gateway can see, by name.

"metered" messages were acknowledged by the cloud, or at QoS 0 something that was
sent after them was; "uncertain" ones were sent, no acknowledgement came, and
those of QoS 1 were sent again: the cloud may have billed them, or not. A running
gateway is asked; else its spool is read.`,
		Example: `  ebbgate bill --config ebbgate.yaml --by topic
  ebbgate bill --period day --at 2026-11-20 --by hour
  ebbgate bill --by route --explain telemetry
  ebbgate bill advise                      what would save most
  ebbgate bill what-if --routes new.yaml   what other routes would have cost
  ebbgate bill reconcile report.csv.gz     why AWS's report says something else`,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			spans, err := o.spans(time.Now())
			if err != nil {
				return &exitError{exitInvalid, err}
			}
			cfg, err := configs.LoadToAsk(o.config, os.Environ(), o.sets)
			if err != nil {
				return err
			}
			return withLedger(cmd.Context(), cfg, func(l *billing.Ledger) error {
				if o.config == "" {
					l.StoresUnknown("without --config it is not known where files go")
				}
				return o.show(cmd, cfg, l, spans)
			})
		},
	}
	f := cmd.Flags()
	o.configFlags(cmd)
	f.BoolVar(&o.month, "month", false, "only this month (short for --period month)")
	o.periodFlags(cmd, "today and this month")
	f.StringVar(&o.by, "by", "", "group by "+strings.Join(groupings, ", ")+" (default device and topic)")
	f.BoolVar(&o.json, "json", false, "print the whole ledger as JSON, with --by its groups as well")
	f.BoolVar(&o.csv, "csv", false, "print the lines as CSV, with --by its groups instead; of one period, this month by default")
	f.StringVar(&o.explain, "explain", "", "explain one line of --by, down to its metered messages")
	f.BoolVar(&o.forecast, "forecast", false, "say what the month will cost, and why")
	cmd.AddCommand(newWhatIfCommand(), newAdviseCommand(), newReconcileCommand())
	return cmd
}

// periodFlags choose a span; they are shared with the commands below bill.
func (o *billOptions) periodFlags(cmd *cobra.Command, fallback string) {
	cmd.Flags().StringVar(&o.period, "period", "", "month, day or hour (default "+fallback+")")
	cmd.Flags().StringVar(&o.at, "at", "", "which one: 2026-11, 2026-11-20 or 2026-11-20T13, in UTC (default now)")
}

// configFlags are the flags by which every command of the bill finds the
// configuration.
func (o *billOptions) configFlags(cmd *cobra.Command) {
	cmd.Flags().StringVarP(&o.config, "config", "c", os.Getenv("EBBGATE_CONFIG"), "configuration file; without one the defaults hold (EBBGATE_CONFIG)")
	cmd.Flags().StringArrayVar(&o.sets, "set", nil, "override a setting, such as admin.address=127.0.0.1:9900")
}

var groupings = []string{byDevice, byThing, byTopic, byRoute, byPriority, byDirection, byUpstream, byRegion, byAccount, byHour, byDay}

// span is one period that is shown.
type span struct {
	title    string
	from, to time.Time
}

// spans are the periods that the flags ask for, checked.
func (o *billOptions) spans(now time.Time) ([]span, error) {
	if o.by != "" && !slices.Contains(groupings, o.by) {
		return nil, fmt.Errorf("--by %s: write one of %s", o.by, strings.Join(groupings, ", "))
	}
	asked := 0
	for _, form := range []bool{o.json, o.csv, o.explain != "", o.forecast} {
		if form {
			asked++
		}
	}
	if o.forecast && (o.by != "" || o.month || o.period != "" || o.at != "") {
		return nil, errors.New("--forecast is of this month, and of an upstream as a whole: leave out --by, --month, --period and --at")
	}
	if asked > 1 {
		return nil, errors.New("--json, --csv, --explain and --forecast exclude each other: give one")
	}
	if o.explain != "" && o.by == "" {
		return nil, fmt.Errorf("--explain %s: say with --by what that is", o.explain)
	}
	if o.month && o.period == "" {
		o.period = "month"
	}
	at, layouts := now, map[string]string{"month": "2006-01", "day": time.DateOnly, "hour": "2006-01-02T15"}
	if o.at != "" {
		for _, period := range []string{"month", "day", "hour"} {
			t, err := time.Parse(layouts[period], o.at)
			if err == nil && (o.period == "" || o.period == period) {
				at, o.period = t, period
			} else if err == nil {
				return nil, fmt.Errorf("--at %s is a %s, and --period says %s", o.at, period, o.period)
			}
		}
		if at.Equal(now) {
			return nil, fmt.Errorf("--at %s: write 2026-11, 2026-11-20 or 2026-11-20T13", o.at)
		}
	}
	make := func(title, period string) span {
		from, to := map[string]func(time.Time) (time.Time, time.Time){"month": billing.Month, "day": billing.Today, "hour": billing.Hour}[period](at)
		return span{strings.TrimPrefix(title+", ", ", ") + from.Format(layouts[period]), from, to}
	}
	switch o.period {
	case "":
		return []span{make("Today", "day"), make("This month", "month")}, nil
	case "month", "day", "hour":
		return []span{make("", o.period)}, nil
	}
	return nil, fmt.Errorf("--period %s: write month, day or hour", o.period)
}

// bills are what --json prints.
type bills struct {
	Today *groupedBill `json:"today,omitempty"`
	Month *groupedBill `json:"month,omitempty"`
	Span  *groupedBill `json:"span,omitempty"` // the period that was asked for
}

// groupedBill is a bill, and its lines summed up by what --by says.
type groupedBill struct {
	*billing.Bill
	By     string      `json:"by,omitempty"`
	Groups []billGroup `json:"groups,omitempty"`
}

// billGroup is one row of a table: the lines of one total that have one name.
type billGroup struct {
	Upstream string `json:"upstream"`
	Of       string `json:"of,omitempty"`
	Region   string `json:"region,omitempty"`
	Account  string `json:"account,omitempty"`
	billing.Sum
}

// show prints what the flags ask for.
func (o *billOptions) show(cmd *cobra.Command, cfg *configs.Config, l *billing.Ledger, spans []span) error {
	out := cmd.OutOrStdout()
	if o.forecast {
		return printForecast(out, l, time.Now())
	}
	var all []*billing.Bill
	step := map[string]time.Duration{byHour: time.Hour, byDay: 24 * time.Hour}[o.by]
	read := l.Detail
	if step > 0 && !o.json && o.explain == "" { // nobody sees which device it was
		read = l.Course
	}
	for _, s := range spans {
		b, err := read(s.from, s.to, step)
		if err != nil {
			return err
		}
		withPriorities(cfg, b)
		all = append(all, b)
	}
	name := naming(l)
	switch {
	case o.explain != "":
		return printExplained(out, l, all[len(all)-1], o.explain, name(o.by))
	case o.csv && o.by != "":
		b := all[len(all)-1]
		return writeGroups(out, b, o.by, groupsOf(b, o.by, name(o.by)))
	case o.csv:
		return writeCSV(out, all[len(all)-1])
	case o.json:
		var b bills
		grouped := func(b *billing.Bill) *groupedBill {
			if o.by == "" {
				return &groupedBill{Bill: b}
			}
			return &groupedBill{b, o.by, groupsOf(b, o.by, name(o.by))}
		}
		if len(all) == 2 {
			b.Today, b.Month = grouped(all[0]), grouped(all[1])
		} else if b.Span = grouped(all[0]); o.period == "month" {
			b.Month, b.Span = b.Span, nil
		}
		return json.NewEncoder(out).Encode(b)
	}
	t := &billTable{out: out, name: name, by: o.by}
	for i, b := range all {
		t.print(spans[i].title, b)
	}
	t.paragraph("", "not visible here: "+strings.Join(billing.NotVisible(), "; "))
	return t.err
}

// groupsOf sums the lines of each total by their names, all of them.
func groupsOf(b *billing.Bill, by string, name func(billing.Line) string) []billGroup {
	var out []billGroup
	for _, total := range b.Totals {
		for _, s := range tableRows(linesOf(b, total.Upstream), len(b.Lines), by, name) {
			out = append(out, billGroup{total.Upstream, total.Of, total.Region, total.Account, s})
		}
	}
	return out
}

// linesOf are those of one total.
func linesOf(b *billing.Bill, upstream string) []billing.Line {
	return slices.DeleteFunc(slices.Clone(b.Lines), func(n billing.Line) bool { return n.Upstream != upstream })
}

// withPriorities notes of each line the priority of its route.
func withPriorities(cfg *configs.Config, b *billing.Bill) {
	priorities := map[string]string{}
	for _, r := range cfg.Routes.Up {
		priorities[r.Name] = fmt.Sprint(r.Priority)
	}
	for i := range b.Lines {
		if n := &b.Lines[i]; n.Direction == billing.Up {
			n.Priority = priorities[n.Route]
		}
	}
}

// naming is how a line is called in each grouping.
func naming(l *billing.Ledger) func(by string) func(billing.Line) string {
	special := func(n billing.Line) string {
		switch {
		case n.Direction == billing.Down:
			return "(from the cloud)"
		case n.Direction == billing.Link:
			return "(the connections)"
		}
		return ""
	}
	or := func(texts ...string) string {
		for _, t := range texts {
			if t != "" {
				return t
			}
		}
		return "(none)"
	}
	return func(by string) func(billing.Line) string {
		return map[string]func(billing.Line) string{
			byDevice: func(n billing.Line) string { return or(special(n), n.Device) },
			byThing:  func(n billing.Line) string { return or(special(n), n.Thing, "(no thing)") },
			byTopic: func(n billing.Line) string {
				if n.Direction == billing.Link {
					return "(" + or(n.Topic, "connected minutes") + ")"
				}
				return n.Topic
			},
			byRoute:    func(n billing.Line) string { return or(special(n), n.Route, "(not recorded)") },
			byPriority: func(n billing.Line) string { return or(special(n), n.Priority, "(route has gone)") },

			byDirection: func(n billing.Line) string { return n.Direction },
			byUpstream:  func(n billing.Line) string { return n.Name() },
			byRegion:    func(n billing.Line) string { region, _ := l.Where(n.Upstream); return or(region) },
			byAccount:   func(n billing.Line) string { _, account := l.Where(n.Upstream); return or(account) },

			byHour: func(n billing.Line) string { return n.Start.Format("2006-01-02 15h") },
			byDay:  func(n billing.Line) string { return n.Start.Format(time.DateOnly) },
		}[by]
	}
}
