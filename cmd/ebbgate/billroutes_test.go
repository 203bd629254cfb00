package main

import (
	"fmt"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ebbgate/ebbgate/bridge"
	"github.com/ebbgate/ebbgate/configs"
	"github.com/ebbgate/ebbgate/rules"
	"github.com/ebbgate/ebbgate/upstream/billing"
)

// What passes through is no route of the file, and has no steps: it is priced as it was,
// and only of a file whose devices ask no services any more that is said.
func TestWhatIfOfWhatPassesThrough(t *testing.T) {
	dir := t.TempDir()
	file := func(name, through string) string {
		path := filepath.Join(dir, name)
		text := "spool: {dir: data}\npolicy: {things: \"\", policies: \"\"}\n" + through +
			"upstreams: {cloud: {endpoint: \"mqtts://x-ats.iot.eu-central-1.amazonaws.com:443\", username: pump}}\n"
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	with, without := file("with.yaml", "routes: {pass_through: {upstream: cloud}}\n"), file("without.yaml", "")
	cfg, err := configs.Load(with, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{with: "", without: without + " has no route pass-through: its messages are priced as they were"} {
		f := &billing.Fleet{Upstream: "cloud", Region: "eu-central-1", Traffic: []billing.Traffic{{Route: rules.PassThroughRoute}}}
		notes, err := (&whatIfOptions{routes: path}).fromFile(cfg, f, &billing.Plan{Treatments: make([]billing.Treatment, 1)})
		if err != nil || strings.Join(notes, "; ") != want {
			t.Errorf("%s: %q, %v", path, notes, err)
		}
	}
}

// Whoever asks a running gateway for the ledger has the sizes of what was sent until
// then: they are written once a minute.
func TestTheLedgerHasTheSizesOfTheLastMinute(t *testing.T) {
	_, cfg := spooled(t)
	g := opened(t, cfg)
	var b bridge.Batch
	r := bridge.Record{Message: bridge.Message{Topic: "dt/a", QoS: 1}, Receivers: []bridge.Receiver{{Queue: "up/cloud/all", Topic: "dt/a", QoS: 1}}}
	g.meter.Delivered(&b, "cloud", &bridge.Stored{Record: &r, Receiver: &r.Receivers[0]}, bridge.Outcome{})
	commit(t, g.spool, &b)
	server := httptest.NewServer(g.exportLedger())
	defer server.Close()
	far := billing.Remote{Context: t.Context(), Client: server.Client(), URL: server.URL}
	n := 0
	if err := far.Scan(billing.SizesNamespace, "", func(string, []byte) bool { n++; return true }); err != nil || n == 0 {
		t.Errorf("%d histograms, %v", n, err)
	}
}

// A route that sends all to one topic brings the devices together that the ledger has apart,
// a message in two minutes each: what the documentation recommends saves what it says.
func TestWhatIfOfOneTopicForAllDevices(t *testing.T) {
	dir := t.TempDir()
	file := func(name, more string) string {
		path := filepath.Join(dir, name)
		text := "spool: {dir: data}\npolicy: {things: \"\", policies: \"\"}\n" +
			"upstreams: {cloud: {endpoint: \"mqtts://x-ats.iot.eu-central-1.amazonaws.com:443\", username: pump}}\n" +
			"routes: {up: [{name: plain, from: \"dt/#\", upstream: cloud" + more + "}]}\n"
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	cfg, err := configs.Load(file("now.yaml", ""), nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	const devices, each = 200, 60
	f := &billing.Fleet{Upstream: "cloud", Options: billing.DefaultOptions(), Span: 2 * time.Hour, Rules: make([][]billing.DeclaredRule, devices)}
	for i := range devices {
		tr := billing.Traffic{Route: "plain", Topic: fmt.Sprintf("dt/%d", i), Days: 1, Hours: 2}
		for range each {
			tr.Sizes.Named(tr.Topic + "/temp")
			tr.Sizes.Add(60, 11, 170, false)
		}
		f.Traffic = append(f.Traffic, tr)
	}
	for more, want := range map[string][2]int64{
		", topic: site1/telemetry, origin: envelope, batch: {format: json, size: 5000B, age: 1m}": {300, 1_000},
		", origin: envelope, batch: {format: json, size: 5000B, age: 1m}":                         {devices * each, devices * each},
	} {
		p := f.Plan(nil)
		if _, err := (&whatIfOptions{routes: file("then.yaml", more)}).fromFile(cfg, f, &p); err != nil {
			t.Fatal(err)
		}
		if got := f.Counted(p).Messages; got < want[0] || got > want[1] {
			t.Errorf("%s: %d of %d metered messages, want %d to %d", more, got, devices*each, want[0], want[1])
		}
	}
}
