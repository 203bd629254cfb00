package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ebbgate/ebbgate/bridge"
	"github.com/ebbgate/ebbgate/configs"
	"github.com/ebbgate/ebbgate/upstream/billing"
)

// A price list whose content is wrong is named by config check and at a reload, and no
// start fails for it: what devices send is not to wait for a bill.
func TestAPriceListThatIsWrong(t *testing.T) {
	_, cfg := spooled(t)
	list := filepath.Join(t.TempDir(), "prices.json")
	if err := os.WriteFile(list, []byte(`{"schema":"x"}`), 0o600); err != nil {
		t.Fatal(err)
	}
	const want = "upstreams.cloud.billing.price_list: billing: "
	config := filepath.Join(t.TempDir(), "ebbgate.yaml")
	text := "spool: {dir: data}\npolicy: {things: \"\", policies: \"\"}\n" +
		"upstreams: {cloud: {endpoint: \"mqtts://x-ats.iot.eu-central-1.amazonaws.com:443\", username: pump, billing: {price_list: " + list + "}}}\n"
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if code := execute([]string{"config", "check", config}, &out, &out); code != exitInvalid || !strings.Contains(out.String(), want) {
		t.Errorf("config check: exit %d, %s", code, out.String())
	}

	with := *cfg
	u := with.Upstreams["cloud"]
	u.Billing.PriceList, u.Billing.Region = list, "eu-central-1"
	with.Upstreams = map[string]configs.Upstream{"cloud": u}
	g := opened(t, &with)
	told := false
	for _, w := range g.health.Warnings() {
		told = told || w.Code == "price-list-cloud" && strings.Contains(w.Text, list)
	}
	if !told {
		t.Errorf("a start does not warn: %+v", g.health.Warnings())
	}
	now := g.clock.Now().Wall
	bill, err := g.ledger.Load().Bill(billing.Today(now))
	if err != nil || len(bill.Totals) != 1 || bill.Totals[0].USD != "" {
		t.Errorf("priced by no list: %+v, %v", bill.Totals, err)
	}
	same := with
	if _, err := g.reload(&same); err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("a reload: %v", err)
	}

	// When it is right the reload takes it, and what is metered is priced by it: once, and
	// by other prices again.
	cost := func(usd string) string {
		t.Helper()
		text := `{"schema": "aws-iot-core-prices/1", "currency": "USD", "as_of": "2026-11-22", "regions": {"eu-central-1": {` +
			`"connectivity_per_million_minutes": {"usd": 0.1, "status": "unverified"}, "messages_per_million_tiers": [{"usd": ` + usd + `, "status": "unverified"}],` +
			`"shadow_registry_per_million_ops": {"usd": 1, "status": "unverified"}, "rules_triggered_per_million": {"usd": 1, "status": "unverified"},` +
			`"rule_actions_per_million": {"usd": 1, "status": "unverified"}}}}`
		if err := os.WriteFile(list, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := g.reload(&same); err != nil {
			t.Fatal(err)
		}
		totals, err := g.ledger.Load().Totals(g.clock.Now().Wall, g.meter.Pace)
		if err != nil {
			t.Fatal(err)
		}
		return billing.Dollars(totals["cloud"].USDToday)
	}
	var b bridge.Batch
	record := bridge.Record{Message: bridge.Message{Topic: "dt/a", QoS: 1}, Receivers: []bridge.Receiver{{Queue: "up/cloud/all", Topic: "dt/a", QoS: 1}}}
	for range 1000 {
		g.meter.Delivered(&b, "cloud", &bridge.Stored{Record: &record, Receiver: &record.Receivers[0]}, bridge.Outcome{})
	}
	commit(t, g.spool, &b)
	if first, second := cost("1"), cost("10"); first != "0.001000" || second != "0.010000" {
		t.Errorf("1000 messages at $1 and $10 a million cost $%s and $%s", first, second)
	}
	for _, w := range g.health.Warnings() {
		if w.Code == "price-list-cloud" {
			t.Errorf("still warned of: %s", w.Text)
		}
	}
}
