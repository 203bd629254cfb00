package main

import (
	"bytes"
	"context"
	"encoding/json"
	"log/slog"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ebbgate/ebbgate/bridge"
	"github.com/ebbgate/ebbgate/configs"
	"github.com/ebbgate/ebbgate/spool"
	"github.com/ebbgate/ebbgate/upstream/billing"
)

func TestBillTable(t *testing.T) {
	at := time.Date(2026, 11, 20, 0, 0, 0, 0, time.UTC)
	b := &bills{Today: &billing.Bill{
		From: at, To: at.AddDate(0, 0, 1),
		Totals: []billing.Total{{
			Upstream: "aws", Region: "eu-central-1", Unit: 5120, PricesAsOf: "2026-11-20", PriceStatus: "sourced",
			Counts: billing.Counts{Units: 1234567, Uncertain: 2, Messages: 3, Wire: 4}, Unsynchronised: 5, USD: "1.481480", USDUncertain: "0.000002",
		}},
		Lines: []billing.Line{
			{Upstream: "aws", Direction: billing.Up, Device: "pump", Topic: "dt/a", Counts: billing.Counts{Units: 1234560}, USD: "1.481472000"},
			{Upstream: "aws", Direction: billing.Down, Topic: "cmd/a", Counts: billing.Counts{Units: 7}, USD: "0.000008400"},
		},
		Unknown: billing.Counts{Units: 9},
	}}
	want := `Today, 2026-11-20 (UTC)
aws: prices of eu-central-1 as of 2026-11-20 (sourced), metered in units of 5120 bytes; $0.000002 more if every uncertain one was billed
            device    metered  uncertain  messages  wire bytes       USD
              pump  1,234,560          0         0           0  1.481472
  (from the cloud)          7          0         0           0  0.000008
             total  1,234,567          2         3           4  1.481480
5 of them in hours that an unsynchronised clock told.
9 metered messages were counted while the clock was wrong, and belong to no day.

`
	var out bytes.Buffer
	if err := printBills(&out, b, byDevice); err != nil {
		t.Fatal(err)
	}
	if out.String() != want {
		t.Errorf("got\n%s\nwant\n%s", out.String(), want)
	}
	out.Reset()
	if err := printBills(&out, b, ""); err != nil {
		t.Fatal(err)
	}
	for _, word := range []string{"device", "topic", "dt/a", "cmd/a"} {
		if !strings.Contains(out.String(), word) {
			t.Errorf("no %q in\n%s", word, out.String())
		}
	}
}

// billed is a configuration whose spool has the bill of one message.
func billed(t *testing.T) (config string, cfg *configs.Config) {
	t.Helper()
	config = filepath.Join(t.TempDir(), "ebbgate.yaml")
	text := "spool: {dir: data}\npolicy: {things: \"\", policies: \"\"}\n" +
		"upstreams: {aws: {endpoint: \"mqtts://x-ats.iot.eu-central-1.amazonaws.com:8883\", username: pump}}\nadmin: {address: \"127.0.0.1:1\"}\n"
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
	r := &bridge.Record{Message: bridge.Message{Topic: "dt/a"}, Origin: bridge.Origin{Device: "pump"}, Receivers: []bridge.Receiver{{Topic: "dt/a"}}}
	m.Delivered(&b, "aws", &bridge.Stored{Record: r, Receiver: &r.Receivers[0]}, bridge.Outcome{Wire: 30})
	done := make(chan error, 1)
	s.Commit(&b, func(_ bridge.Seq, err error) { done <- err })
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	return config, cfg
}

func TestBillReadsTheSpoolWhenNoGatewayRuns(t *testing.T) {
	config, _ := billed(t)
	var stdout, stderr bytes.Buffer
	if code := execute([]string{"bill", "--config", config, "--json"}, &stdout, &stderr); code != exitOK {
		t.Fatalf("exit %d: %s", code, stderr.String())
	}
	var b bills
	if err := json.Unmarshal(stdout.Bytes(), &b); err != nil {
		t.Fatal(err)
	}
	if b.Today.Totals[0].Units != 1 || b.Month.Totals[0].USD != "0.000001" || b.Today.Lines[0].Device != "pump" {
		t.Errorf("%s", stdout.String())
	}
	stdout.Reset()
	if code := execute([]string{"bill", "--config", config, "--month", "--by", "topic"}, &stdout, &stderr); code != exitOK {
		t.Fatalf("exit %d: %s", code, stderr.String())
	}
	if s := stdout.String(); !strings.Contains(s, "dt/a") || strings.Contains(s, "Today") || strings.Contains(s, "device") {
		t.Errorf("%s", s)
	}
	if code := execute([]string{"bill", "--config", config, "--by", "colour"}, &stdout, &stderr); code == exitOK {
		t.Error("--by colour was taken")
	}
}

func TestBillAsksARunningGateway(t *testing.T) {
	_, cfg := billed(t)
	s, err := spool.Open(cfg.Spool, spool.Deps{Log: slog.New(slog.DiscardHandler), Health: &bridge.Health{}})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	ledger, err := billing.NewLedger(s, billingOf(cfg))
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(ledger)
	defer server.Close()
	cfg.Admin.Address = server.Listener.Addr().String()
	b, err := readBills(context.Background(), cfg, true) // the spool is held: only the gateway can say
	if err != nil || b.Today.Totals[0].Units != 1 {
		t.Errorf("%+v, %v", b, err)
	}
}
