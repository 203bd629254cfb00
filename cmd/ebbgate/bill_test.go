package main

import (
	"bytes"
	"context"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/ebbgate/ebbgate/bridge"
	"github.com/ebbgate/ebbgate/configs"
	"github.com/ebbgate/ebbgate/spool"
	"github.com/ebbgate/ebbgate/upstream/billing"
)

// billed is a configuration whose spool has the bill of one message.
func billed(t *testing.T) (config string, cfg *configs.Config) {
	t.Helper()
	config = filepath.Join(t.TempDir(), "ebbgate.yaml")
	text := "spool: {dir: data}\npolicy: {things: \"\", policies: \"\"}\n" +
		"routes: {up: [{name: telemetry, from: \"dt/#\", upstream: aws, priority: 7}]}\n" +
		"upstreams: {aws: {endpoint: \"mqtts://x-ats.iot.eu-central-1.amazonaws.com:443\", username: pump}}\nadmin: {address: \"127.0.0.1:1\"}\n"
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	cfg, err := configs.Load(config, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	s, err := spool.Open(cfg.Spool, spool.Deps{Log: slog.New(slog.DiscardHandler), Health: &bridge.Health{}})
	if err != nil {
		t.Fatal(err)
	}
	clock := bridge.NewClock(s.Age, func() bool { return true })
	m, err := billing.NewMeter(s, billingOf(cfg), clock.Now)
	if err != nil {
		t.Fatal(err)
	}
	var b bridge.Batch
	m.Opened("aws", "plant7", billing.Connection{})
	r := &bridge.Record{Message: bridge.Message{Topic: "dt/a"}, Origin: bridge.Origin{Device: "pump", Thing: "thing-1"}, Receivers: []bridge.Receiver{{Queue: "up/aws/telemetry", Topic: "dt/a"}}}
	m.Delivered(&b, "aws", &bridge.Stored{Record: r, Receiver: &r.Receivers[0]}, bridge.Outcome{Wire: 30})
	commit(t, s, &b)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := m.Run(ctx); err != nil { // writes the sizes
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	return config, cfg
}

// runBill runs a command line that must succeed, and returns what it printed.
func runBill(t *testing.T, args ...string) string {
	t.Helper()
	var stdout, stderr bytes.Buffer
	if code := execute(append([]string{"bill"}, args...), &stdout, &stderr); code != exitOK {
		t.Fatalf("%v: exit %d: %s", args, code, stderr.String())
	}
	return stdout.String()
}

func TestBillReadsTheSpoolWhenNoGatewayRuns(t *testing.T) {
	config, _ := billed(t)
	var b bills
	if err := json.Unmarshal([]byte(runBill(t, "--config", config, "--json")), &b); err != nil {
		t.Fatal(err)
	}
	if b.Today.Totals[0].Units != 2 || b.Month.Totals[0].USD != "0.000002" || b.Today.Lines[0].Device != "pump" || b.Today.Lines[0].Route != "telemetry" {
		t.Errorf("%+v", b.Today)
	}
	if s := runBill(t, "--config", config, "--month", "--by", "topic"); !strings.Contains(s, "dt/a") || strings.Contains(s, "Today") || strings.Contains(s, "device ") {
		t.Errorf("%s", s)
	}
	rows, err := csv.NewReader(strings.NewReader(runBill(t, "--config", config, "--csv", "--by", "hour"))).ReadAll()
	if err != nil || len(rows) != 2 || len(rows[0]) != len(rows[1]) || rows[1][6] != time.Now().UTC().Format("2006-01-02 15h") || rows[1][7] != "2" {
		t.Errorf("%v, %v", rows, err)
	}
}

func TestBillTableFitsTheTerminal(t *testing.T) {
	config, _ := billed(t)
	for _, by := range append(groupings, "") {
		s := runBill(t, "--config", config, "--by", by)
		for line := range strings.Lines(s) {
			if n := utf8.RuneCountInString(strings.TrimRight(line, "\n")); n > columns {
				t.Errorf("--by %s: %d columns: %s", by, n, line)
			}
		}
		for _, want := range []string{"USD, here", "USD, est.", "not visible here", "(M13", "of 5,120 B used", "1 connects", "minutes of connectivity"} {
			if !strings.Contains(s, want) {
				t.Errorf("--by %s: no %q in\n%s", by, want, s)
			}
		}
	}
}

// A region that the list does not have is metered; that there are no dollars is said,
// and what to do: GovCloud's and China's among them, which have prices of their own.
// With a file that has them, there are.
func TestBillOfARegionWithoutPrices(t *testing.T) {
	for region, about := range map[string]struct{ host, words string }{
		"eu-north-1":     {"amazonaws.com", "regions differ by half and more. It has"},
		"us-gov-west-1":  {"amazonaws.com", "GovCloud has prices of its own and no free tier. It has"},
		"us-gov-east-1":  {"amazonaws.com", "GovCloud has prices of its own and no free tier. It has"},
		"cn-north-1":     {"amazonaws.com.cn", "in China AWS bills in yuan: write them in dollars, at your rate. It has"},
		"cn-northwest-1": {"amazonaws.com.cn", "in China AWS bills in yuan: write them in dollars, at your rate. It has"},
	} {
		t.Run(region, func(t *testing.T) {
			config, _ := billed(t)
			change := func(from, to string) {
				t.Helper()
				text, err := os.ReadFile(config)
				if err == nil {
					err = os.WriteFile(config, bytes.ReplaceAll(text, []byte(from), []byte(to)), 0o600)
				}
				if err != nil {
					t.Fatal(err)
				}
			}
			says := func(what string, args ...string) {
				t.Helper()
				if out := strings.Join(strings.Fields(runBill(t, append(args, "--config", config)...)), " "); !strings.Contains(out, what) {
					t.Errorf("no %q in\n%s", what, out)
				}
			}
			change("eu-central-1.amazonaws.com", region+"."+about.host)
			says("no prices for " + region + " are known, and none are guessed: what it costs is not told; give a list that has it (billing.price_list)")
			for _, unpriced := range []string{"nothing can be ranked: no prices: " + region + " may well be a region of AWS", about.words} {
				says(unpriced, "advise")
			}
			prices := filepath.Join(t.TempDir(), "prices.json")
			if err := os.WriteFile(prices, fmt.Appendf(nil, ownPrices, region), 0o600); err != nil {
				t.Fatal(err)
			}
			change("username: pump", "username: pump, billing: {past: as_now, price_list: "+prices+"}")
			says("prices of " + region + " as of 2026-11-22 (unverified)")
			says("metered here between $0.000002 and $0.000003: prices that no source says")
		})
	}
}

// ownPrices is the least that a price list of one's own has to have.
const ownPrices = `{"schema": "aws-iot-core-prices/1", "currency": "USD", "as_of": "2026-11-22", "regions": {%q: {
  "connectivity_per_million_minutes": {"usd": 0.1, "low": 0.08, "high": 0.12, "status": "unverified"},
  "messages_per_million_tiers": [{"usd": 1.26, "low": 1, "high": 1.5, "status": "unverified"}],
  "shadow_registry_per_million_ops": {"usd": 1.57, "status": "unverified"},
  "rules_triggered_per_million": {"usd": 0.19, "status": "unverified"},
  "rule_actions_per_million": {"usd": 0.19, "status": "unverified"}}}}`

func TestForecastInWords(t *testing.T) {
	_, cfg := billed(t)
	later := time.Now().UTC().Add(4 * time.Hour)
	want := "aws will cost $"
	if later.Month() != time.Now().UTC().Month() { // of which nothing is known
		want = "nothing can be told yet"
	}
	var out bytes.Buffer
	err := withLedger(t.Context(), cfg, func(l *billing.Ledger) error { return printForecast(&out, l, later) })
	if err != nil || !strings.Contains(out.String(), want) {
		t.Errorf("%s, %v", out.String(), err)
	}
}

func TestBillGroupsAndPeriods(t *testing.T) {
	config, _ := billed(t)
	now := time.Now().UTC()
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{"--by", "device"}, "pump"},
		{[]string{"--by", "thing"}, "thing-1"},
		{[]string{"--by", "route"}, "telemetry"},
		{[]string{"--by", "priority"}, "7 "},
		{[]string{"--by", "hour"}, now.Format("2006-01-02 15h")},
		{[]string{"--by", "day"}, now.Format(time.DateOnly)},
		{[]string{"--period", "hour"}, now.Format("2006-01-02T15")},
		{[]string{"--at", now.Format("2006-01-02"), "--by", "device"}, "pump"},
		{[]string{"--by", "topic", "--explain", "dt/a"}, "1 of about"},
		{[]string{"--by", "device", "--explain", "(the connections)"}, "M01"},
		{[]string{"--forecast"}, "nothing can be told yet"},
	} {
		if s := runBill(t, append([]string{"--config", config}, c.args...)...); !strings.Contains(s, c.want) {
			t.Errorf("%v: no %q in\n%s", c.args, c.want, s)
		}
	}
	for _, args := range [][]string{
		{"--by", "colour"}, {"--period", "year"}, {"--at", "yesterday"}, {"--at", "2026-11", "--period", "day"},
		{"--explain", "dt/a"}, {"--by", "topic", "--explain", "nothing"}, {"--json", "--csv"},
		{"--forecast", "--by", "topic"}, {"--forecast", "--period", "day"}, {"--csv", "--by", "colour"}, {"--json", "--by", "colour"},
	} {
		var stdout, stderr bytes.Buffer
		if code := execute(append([]string{"bill", "--config", config}, args...), &stdout, &stderr); code != exitInvalid {
			t.Errorf("%v: exit %d", args, code)
		}
	}
}

func TestBillAsksARunningGateway(t *testing.T) {
	_, cfg := billed(t)
	s, err := spool.Open(cfg.Spool, spool.Deps{Log: slog.New(slog.DiscardHandler), Health: &bridge.Health{}})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	mux := http.NewServeMux()
	mux.Handle("/api/v1/ledger", billing.Export(s))
	server := httptest.NewServer(mux)
	defer server.Close()
	cfg.Admin.Address = server.Listener.Addr().String()
	units := int64(0)
	err = withLedger(context.Background(), cfg, func(l *billing.Ledger) error { // the spool is held: only the gateway can say
		b, err := l.Bill(billing.Today(time.Now()))
		if err == nil {
			units = b.Totals[0].Units
		}
		return err
	})
	if err != nil || units != 2 {
		t.Errorf("%d units, %v", units, err)
	}
}

func TestNamesAreHarmlessWhereverTheyAreShown(t *testing.T) {
	for name, want := range map[string]string{
		"=HYPERLINK(1)": "'=HYPERLINK(1)", "dt/a;=1+1;b": "dt/a;'=1+1;b", "dt/\x1b[2J\u202ea\t=1": "dt/?[2J?a?=1", "": "", "a=b": "a=b",
		"＝1+1": "'＝1+1", "a;＠b": "a;'＠b", "\u00e9=1": "\u00e9=1",
	} {
		if got := harmless(name); got != want {
			t.Errorf("%q: %q, want %q", name, got, want)
		}
	}
	if got := cut("a\x1b[2Jb\n", 24); got != "a?[2Jb?" {
		t.Errorf("%q", got)
	}
	if got := cut("sensors/building-7/floor-3/temperature", 24); utf8.RuneCountInString(got) != 24 || !strings.HasSuffix(got, "temperature") {
		t.Errorf("%q", got)
	}
}
