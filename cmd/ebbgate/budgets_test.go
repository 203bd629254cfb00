package main

import (
	"errors"
	"math/big"
	"slices"
	"testing"
	"time"

	"github.com/ebbgate/ebbgate/bridge"
	"github.com/ebbgate/ebbgate/rules"
	"github.com/ebbgate/ebbgate/upstream/billing"
)

func TestBudgetsWarnThenDropTheLowest(t *testing.T) {
	o := rules.DefaultOptions()
	o.Match = "all"
	for name, priority := range map[string]int{"telemetry": 2, "alarms": 7} {
		r := rules.DefaultUpRoute()
		r.Name, r.Upstream, r.From, r.Priority = name, "aws", "dt/#", priority
		if name == "telemetry" { // its messages wait for a step first
			r.Steps.Compress = "gzip"
		}
		o.Up = append(o.Up, r)
	}
	elsewhere := rules.DefaultUpRoute()
	elsewhere.Name, elsewhere.Upstream, elsewhere.From, elsewhere.Priority = "site", "lan", "dt/#", 0
	o.Up = append(o.Up, elsewhere)
	table, err := rules.Compile(o)
	if err != nil {
		t.Fatal(err)
	}
	var spent billing.Totals
	var failed error
	b := &budgets{
		Router: rules.NewRouter(table), health: new(bridge.Health),
		totals: func(time.Time) (map[string]billing.Totals, error) {
			return map[string]billing.Totals{"aws": spent}, failed
		},
		of: map[string]billing.Options{"aws": {Budgets: []billing.Budget{
			{Name: "monthly", Period: billing.PerMonth, USD: "10", WarnAt: 80, DropBelow: 5},
			{Name: "daily", Period: billing.PerDay, Messages: 1000, WarnAt: 100},
		}}},
	}
	var dropped []bridge.Turned
	routed := func() int {
		t.Helper()
		to, turned, err := b.Up(&bridge.Principal{ClientID: "pump"}, &bridge.Message{Topic: "dt/a"})
		if err != nil {
			t.Fatal(err)
		}
		dropped = append(dropped, turned...)
		return len(to)
	}
	state := func() (severity bridge.Severity, warnings int) {
		b.judge(time.Now())
		for _, w := range b.health.Warnings() {
			severity = max(severity, w.Severity)
			warnings++
		}
		return severity, warnings
	}
	for _, c := range []struct {
		usd      int64
		today    int64
		warnings int
		severity bridge.Severity
		routed   int
	}{
		{7, 0, 0, bridge.Notice, 3},
		{8, 0, 1, bridge.Degraded, 3},
		{10, 0, 1, bridge.Critical, 2}, // telemetry is dropped; alarms and the other upstream are not
		{10, 1000, 2, bridge.Critical, 2},
		{0, 1000, 1, bridge.Critical, 3}, // a new month; the day's budget only warns
		{0, 0, 0, bridge.Notice, 3},
	} {
		spent = billing.Totals{USDMonth: big.NewRat(c.usd, 1), UnitsToday: c.today}
		severity, warnings := state()
		if n := routed(); severity != c.severity || warnings != c.warnings || n != c.routed {
			t.Errorf("$%d, %d today: severity %v, %d warnings, %d receivers", c.usd, c.today, severity, warnings, n)
		}
	}
	want := bridge.Turned{Queue: "raw/up/aws/telemetry", Fate: bridge.Dropped, Why: "over-budget"}
	if !slices.Equal(dropped, []bridge.Turned{want, want}) {
		t.Errorf("%+v", dropped)
	}
	spent = billing.Totals{USDMonth: big.NewRat(10, 1)}
	state()
	spent, failed = billing.Totals{}, errors.New("damaged")
	if state(); routed() != 2 {
		t.Error("a ledger that cannot be read ended a budget")
	}
}
