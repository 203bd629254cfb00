package main

import (
	"encoding/csv"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ebbgate/ebbgate/bridge"
	"github.com/ebbgate/ebbgate/configs"
)

// What was metered before an upstream moved stays priced and shown where it was, in
// every form that the bill has, and a filter by the upstream's name takes all of it.
func TestTheBillOfAnUpstreamThatHasMoved(t *testing.T) {
	config, _ := billed(t)
	day := time.Now().UTC().Format(time.DateOnly)
	report := filepath.Join(t.TempDir(), "report.csv")
	lines := "lineItem/LineItemType,lineItem/UsageStartDate,lineItem/UsageEndDate,lineItem/ProductCode,lineItem/UsageAccountId,lineItem/UsageType,lineItem/UsageAmount,lineItem/UnblendedCost\n" +
		"Usage," + day + "T00:00:00Z," + day + "T23:59:59Z,AWSIoT,1,EUC1-Messages,2,0.0000024\n"
	if err := os.WriteFile(report, []byte(lines), 0o600); err != nil {
		t.Fatal(err)
	}
	moved := []string{"--config", config, "--set", "upstreams.aws.billing.region=us-east-1"}
	for _, c := range []struct {
		name      string
		args      []string
		want, not []string
	}{
		{"the table", []string{"--month"}, []string{
			"aws: prices of us-east-1", "aws (eu-central-1), where aws is not any more: prices of eu-central-1", "total 2 0.000002"}, nil},
		{"by region", []string{"--month", "--by", "region"}, []string{"eu-central-1 2 0.000002"}, nil},
		{"by upstream", []string{"--month", "--by", "upstream"}, []string{"aws 2 0.000002"}, nil},
		{"explained", []string{"--month", "--by", "upstream", "--explain", "aws"}, []string{
			"aws of aws (eu-central-1)", "$1.20 per million from 0", "as its part of aws (eu-central-1)'s $0.000002"}, nil},
		{"forecast", []string{"--forecast"}, []string{"nothing can be told yet", "so far this month: 2 metered messages"}, []string{"(eu-central-1) in"}},
		{"advice", []string{"advise"}, []string{"what the bill has as aws (eu-central-1) is in it as if it had gone where aws is now: us-east-1"}, nil},
		{"what if", []string{"what-if", "--unit", "5000B"}, []string{"as if it had gone where aws is now: us-east-1"}, nil},
		{"reconciled", []string{"reconcile", report}, []string{"eu-central-1 Messages 2 2 0.000002"}, []string{"did not send", "us-east-1"}},
		{"it was a mistake", []string{"--month", "--set", "upstreams.aws.billing.past=as_now"}, []string{"aws: prices of us-east-1", "total 2 0.000002"}, []string{"eu-central-1"}},
		{"an account is said", []string{"--month", "--set", "upstreams.aws.billing.region=", "--set", "upstreams.aws.billing.account=1"}, []string{"aws (account 1): prices of eu-central-1", "total 2 0.000002"}, []string{"any more"}},
	} {
		out := strings.Join(strings.Fields(runBill(t, append(c.args, moved...)...)), " ")
		if c.name == "an account is said" { // the last of two settings counts
			out = strings.Join(strings.Fields(runBill(t, append(append([]string{}, moved...), c.args...)...)), " ")
		}
		for _, want := range c.want {
			if !strings.Contains(out, want) {
				t.Errorf("%s: no %q in\n%s", c.name, want, out)
			}
		}
		for _, not := range c.not {
			if strings.Contains(out, not) {
				t.Errorf("%s: %q in\n%s", c.name, not, out)
			}
		}
	}
	var b bills
	if err := json.Unmarshal([]byte(runBill(t, append(moved, "--json", "--month", "--by", "topic")...)), &b); err != nil {
		t.Fatal(err)
	}
	if all := b.Month.Totals; len(all) != 2 || all[0].Units != 0 || all[0].Of != "" || all[1].Units != 2 || all[1].Of != "aws" || all[1].Region != "eu-central-1" {
		t.Errorf("JSON: %+v", all)
	}
	if all := b.Month.Groups; len(all) == 0 || all[0].Of != "aws" || all[0].Region != "eu-central-1" {
		t.Errorf("JSON by topic: %+v", all)
	}
	rows, err := csv.NewReader(strings.NewReader(runBill(t, append(moved, "--csv", "--month")...))).ReadAll()
	if err != nil || len(rows) < 2 || rows[1][2] != "aws (eu-central-1)" || rows[1][3] != "eu-central-1" {
		t.Errorf("CSV: %v, %v", rows, err)
	}
}

// An endpoint may change in a reload unless the bill goes by it.
func TestWhatTheBillGoesByNeedsARestart(t *testing.T) {
	at := func(endpoint, region string) *configs.Config {
		cfg := configs.Default()
		u := configs.Upstream{}
		u.MQTT.Endpoint, u.Billing.Region = endpoint, region
		cfg.Upstreams = map[string]configs.Upstream{"aws": u}
		return cfg
	}
	const frankfurt, ohio = "mqtts://x-ats.iot.eu-central-1.amazonaws.com:8883", "mqtts://x-ats.iot.us-east-2.amazonaws.com:8883"
	for _, c := range []struct {
		name     string
		was, now *configs.Config
		restart  bool
	}{
		{"another host", at("mqtt://10.0.0.1:1883", ""), at("mqtt://10.0.0.2:1883", ""), false},
		{"the same region", at(frankfurt, ""), at("mqtts://iot.example.com:8883", "eu-central-1"), false},
		{"another region", at(frankfurt, ""), at(ohio, ""), true},
		{"another region, which was said", at(frankfurt, "eu-central-1"), at(ohio, "us-east-2"), true},
	} {
		if got := needsRestart(c.was, c.now) != ""; got != c.restart {
			t.Errorf("%s: needs a restart: %v (%s)", c.name, got, needsRestart(c.was, c.now))
		}
	}
}

var _ bridge.PlaceMeter = byTaker{}
