package main

import (
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

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
