package main

import (
	"bytes"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ebbgate/ebbgate/bridge"
	"github.com/ebbgate/ebbgate/configs"
	"github.com/ebbgate/ebbgate/upstream/billing"
)

// What a kill has left on the way to an upstream that is called otherwise since is on its
// bill, once; and an endpoint that a reload changes is known to the bill.
func TestTheBillOfAStartUnderAnotherName(t *testing.T) {
	dir := t.TempDir()
	load := func(upstream, endpoint string) *configs.Config {
		path := filepath.Join(dir, "ebbgate.yaml")
		text := fmt.Sprintf(`gateway: {id: gw}
admin: {address: ""}
spool: {dir: data}
policy: {things: "", policies: ""}
listeners: [{name: lan, type: tcp, address: "127.0.0.1:0"}]
routes: {up: [{name: all, from: "dt/#", upstream: %s}]}
upstreams: {%[1]s: {endpoint: "mqtts://%s", username: pump}}
`, upstream, endpoint)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		cfg, err := configs.Load(path, nil, nil)
		if err != nil {
			t.Fatal(err)
		}
		return cfg
	}
	open := func(cfg *configs.Config) *gateway {
		g, err := openGateway(cfg, slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		return g
	}
	end := func(g *gateway) {
		if err := g.close(); err != nil {
			t.Fatal(err)
		}
	}
	g := open(load("aws", "127.0.0.1:1"))
	r := &bridge.Record{Message: bridge.Message{Topic: "dt/a"}, Origin: bridge.Origin{Device: "pump"}, Receivers: []bridge.Receiver{{Queue: "up/aws/all", Topic: "dt/a", QoS: 1}}}
	b := bridge.Batch{Appends: []*bridge.Record{r}}
	b.Put("sent", "up/aws/all", []byte("9"))
	commit(t, g.spool, &b)
	end(g)
	for range 2 {
		g = open(load("cloud", "127.0.0.1:1"))
		bill, err := g.ledger.Load().Bill(billing.Month(time.Now()))
		if err != nil || len(bill.Totals) != 2 || bill.Totals[0].Upstream != "aws" || bill.Totals[0].Uncertain != 1 || bill.Totals[1].Uncertain != 0 {
			t.Errorf("%+v, %v", bill, err)
		}
		if _, err := g.reload(load("cloud", "127.0.0.1:2")); err != nil {
			t.Fatal(err)
		}
		tables := map[string]string{}
		if err := g.spool.Scan(billing.Namespace, "places", func(key string, value []byte) bool {
			tables[key] = string(value)
			return true
		}); err != nil {
			t.Fatal(err)
		}
		if text := tables["places\x00cloud"]; !strings.Contains(text, `"endpoint":"127.0.0.1:2"`) || !strings.Contains(tables["places\x00aws"], `"127.0.0.1:1"`) {
			t.Errorf("%q", tables)
		}
		end(g)
	}
}

// Neither a terminal nor a spreadsheet obeys the names of regions and accounts, which stand
// in the spool; and the heading of a part names its account once.
func TestNamesOfPlacesAreHarmless(t *testing.T) {
	total := billing.Total{Upstream: "aws (x\x1b[31m, account =1+1)", Of: "aws", Region: "x\x1b[31m", Account: "=1+1"}
	if got := priced(total); strings.ContainsRune(got, '\x1b') || strings.Count(got, "account") != 1 {
		t.Errorf("%q", got)
	}
	if got := priced(billing.Total{Upstream: "aws", Region: "us-east-1", Account: "1"}); !strings.HasPrefix(got, "aws (account 1)") {
		t.Errorf("%q", got)
	}
	var lines, groups bytes.Buffer
	if err := writeCSV(&lines, &billing.Bill{Totals: []billing.Total{total}, Lines: []billing.Line{{Upstream: total.Upstream}}}); err != nil {
		t.Fatal(err)
	}
	if err := writeGroups(&groups, &billing.Bill{}, "region", []billGroup{{Upstream: total.Upstream, Region: total.Region, Account: total.Account}}); err != nil {
		t.Fatal(err)
	}
	for _, out := range []string{lines.String(), groups.String()} {
		if strings.ContainsRune(out, '\x1b') || strings.Contains(out, ",=") || !strings.Contains(out, "'=1+1") {
			t.Errorf("%q", out)
		}
	}
}
