package main

import (
	"encoding/csv"
	"encoding/json"
	"errors"
	"log/slog"
	"math/big"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/ebbgate/ebbgate/bridge"
	"github.com/ebbgate/ebbgate/configs"
	"github.com/ebbgate/ebbgate/internal/telemetry"
	"github.com/ebbgate/ebbgate/spool"
	"github.com/ebbgate/ebbgate/upstream/billing"
)

// Table, CSV and JSON say the same of every grouping, and its rows are the total.
func TestEveryGroupingInEveryForm(t *testing.T) {
	config, _ := billed(t)
	var whole bills
	if err := json.Unmarshal([]byte(runBill(t, "--config", config, "--month", "--json")), &whole); err != nil {
		t.Fatal(err)
	}
	total := whole.Month.Totals[0]
	for _, by := range groupings {
		var b bills
		if err := json.Unmarshal([]byte(runBill(t, "--config", config, "--month", "--json", "--by", by)), &b); err != nil {
			t.Fatal(err)
		}
		rows, err := csv.NewReader(strings.NewReader(runBill(t, "--config", config, "--month", "--csv", "--by", by))).ReadAll()
		if err != nil || len(rows) != len(b.Month.Groups)+1 || rows[1][5] != by {
			t.Fatalf("--by %s: %v, %v", by, rows, err)
		}
		table := runBill(t, "--config", config, "--month", "--by", by)
		cell := func(row int, column string) string { return rows[row][slices.Index(rows[0], column)] }
		units, usd := int64(0), new(big.Rat)
		for i, g := range b.Month.Groups {
			units += g.Units
			part, _ := new(big.Rat).SetString(g.USD)
			usd.Add(usd, part)
			if cell(i+1, "name") != g.Name || cell(i+1, "metered_messages") != strconv.FormatInt(g.Units, 10) || cell(i+1, "usd") != g.USD || cell(i+1, "minutes") != strconv.FormatInt(g.Minutes, 10) {
				t.Errorf("--by %s: CSV %v, JSON %+v", by, rows[i+1], g)
			}
			found := false
			for line := range strings.Lines(table) {
				f := strings.Fields(strings.TrimPrefix(strings.TrimSpace(line), cut(g.Name, 20)))
				found = found || strings.HasPrefix(strings.TrimSpace(line), cut(g.Name, 20)) && len(f) > 2 && f[0] == thousands(g.Units) && f[1] == g.USD
			}
			if !found {
				t.Errorf("--by %s: no row of %+v in\n%s", by, g, table)
			}
		}
		if units != total.Units || usd.FloatString(6) != total.USD {
			t.Errorf("--by %s: the rows are %d units and $%s, the total %d and $%s", by, units, usd.FloatString(6), total.Units, total.USD)
		}
	}
	rows, err := csv.NewReader(strings.NewReader(runBill(t, "--config", config, "--csv"))).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	priority, direction := slices.Index(rows[0], "priority"), slices.Index(rows[0], "direction")
	for _, row := range rows[1:] {
		if want := map[string]string{billing.Up: "7", billing.Link: ""}[row[direction]]; row[priority] != want {
			t.Errorf("priority %q of %v", row[priority], row)
		}
	}
}

// forgetSizes is a kill before they were written.
func forgetSizes(t *testing.T, cfg *configs.Config) {
	t.Helper()
	s, err := spool.Open(cfg.Spool, spool.Deps{Log: slog.New(slog.DiscardHandler), Health: &bridge.Health{}})
	if err != nil {
		t.Fatal(err)
	}
	var b bridge.Batch
	err = s.Scan(billing.SizesNamespace, "", func(key string, _ []byte) bool {
		b.Put(billing.SizesNamespace, key, nil)
		return true
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(committed(s, &b), s.Close()); err != nil {
		t.Fatal(err)
	}
}

// What the sizes do not know of is said, and is in both columns.
func TestWhatIfSaysWhatItDoesNotKnow(t *testing.T) {
	config, cfg := billed(t)
	forgetSizes(t, cfg)
	for _, args := range [][]string{{"what-if", "--batch-age", "1m"}, {"advise"}} {
		out := strings.Join(strings.Fields(runBill(t, append(args, "--config", config)...)), " ")
		for _, want := range []string{"sizes are recorded of 0 of 1 messages (0.0 %) and 0 of 1 metered ones (0.0 %)", "a short past"} {
			if !strings.Contains(out, want) {
				t.Errorf("%v: no %q in %s", args, want, out)
			}
		}
		if args[0] == "what-if" && !strings.Contains(out, "of them without sizes") {
			t.Errorf("%s", out)
		}
	}
}

// A month is not told from the first minutes of a start, and else with its range and
// what it is told from.
func TestProjectionOfTheStatus(t *testing.T) {
	some := func(minutes time.Duration, usd int64) billing.Totals {
		p := billing.Projection{Window: minutes * time.Minute, USD: big.NewRat(usd, 1), Low: big.NewRat(usd, 2), High: big.NewRat(2*usd, 1)}
		p.Why, _ = billing.Pace{Window: p.Window}.Enough()
		return billing.Totals{Projected: p}
	}
	for _, c := range []struct {
		name   string
		totals map[string]billing.Totals
		want   telemetry.BillState
	}{
		{"no upstream", nil, telemetry.BillState{}},
		{"an hour", map[string]billing.Totals{"a": some(60, 10), "b": some(42, 20)},
			telemetry.BillState{USDProjected: "30.000000", USDProjectedLow: "15.000000", USDProjectedHigh: "60.000000", ProjectedFrom: "the last 42 minutes"}},
		{"one that has gone", map[string]billing.Totals{"a": some(60, 10), "b": {Gone: true}},
			telemetry.BillState{USDProjected: "10.000000", USDProjectedLow: "5.000000", USDProjectedHigh: "20.000000", ProjectedFrom: "the last 60 minutes"}},
		{"one that has just come", map[string]billing.Totals{"a": some(60, 10), "b": some(3, 20)},
			telemetry.BillState{ProjectedFrom: "too early: a month is told from 10 minutes or more, and there are 3"}},
	} {
		var got telemetry.BillState
		project(&got, c.totals)
		if got != c.want {
			t.Errorf("%s: %+v, want %+v", c.name, got, c.want)
		}
	}
}

// Upstreams of one region are three tables, and one row of what they have together.
func TestRegionsAndAccountsOfAllUpstreams(t *testing.T) {
	counters := func(units int64) billing.Counts { return billing.Counts{Units: units} }
	b := &billing.Bill{
		Totals: []billing.Total{{Upstream: "a", Counts: counters(1)}, {Upstream: "b", Counts: counters(20)}, {Upstream: "c", Counts: counters(300)}},
		Lines: []billing.Line{
			{Upstream: "a", Direction: billing.Up, Counts: counters(1), USD: "0.000001"}, {Upstream: "b", Direction: billing.Up, Counts: counters(20), USD: "0.00002"},
			{Upstream: "c", Direction: billing.Up, Counts: counters(300), USD: "0.0003"},
		},
	}
	in := func(region, account string) billing.Options {
		o := billing.DefaultOptions()
		o.Region, o.Account = region, account
		return o
	}
	l, err := billing.NewLedger(nothing{}, map[string]billing.Options{"a": in("us-east-1", "1"), "b": in("us-east-1", "2"), "c": in("eu-west-1", "1")})
	if err != nil {
		t.Fatal(err)
	}
	for by, want := range map[string][]string{
		byRegion:   {"eu-west-1 300 0.000300 -", "us-east-1 21 0.000021 -"},
		byAccount:  {"1 301 0.000301 -", "2 20 0.000020 -"},
		byUpstream: {"c 300 0.000300 -", "b 20 0.000020 -", "a 1 0.000001 -"},
		byRoute:    nil,
	} {
		var out strings.Builder
		table := &billTable{out: &out, name: naming(l), by: by}
		table.print("all", b)
		_, together, found := strings.Cut(out.String(), "all upstreams\n")
		var rows []string
		for line := range strings.Lines(together) {
			if f := strings.Fields(line); len(f) > 3 && f[0] != by {
				rows = append(rows, strings.Join(f[:4], " "))
			}
		}
		if found != (want != nil) || !slices.Equal(rows, want) {
			t.Errorf("--by %s: %q, want %q in\n%s", by, rows, want, out.String())
		}
	}
}

// nothing is a ledger without counters.
type nothing struct{}

func (nothing) Scan(string, string, func(string, []byte) bool) error { return nil }
