package main

import (
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"testing"

	"github.com/ebbgate/ebbgate/bridge"
	"github.com/ebbgate/ebbgate/configs"
	"github.com/ebbgate/ebbgate/localbroker"
)

// TestPassThroughIsReloaded: which services devices reach follows the routes,
// and so do the answers; the warning of a rule without a route is over when the
// routes are new.
func TestPassThroughIsReloaded(t *testing.T) {
	path := filepath.Join(t.TempDir(), "ebbgate.yaml")
	load := func(passThrough string) *configs.Config {
		t.Helper()
		text := fmt.Sprintf(`gateway: {id: gw}
admin: {address: ""}
spool: {dir: data}
policy: {things: "", policies: ""}
listeners:
  - {name: lan, type: tcp, address: "127.0.0.1:0"}
routes: {pass_through: {%s}}
upstreams:
  cloud: {endpoint: "mqtt://127.0.0.1:1"}
  other: {endpoint: "mqtt://127.0.0.1:2"}
`, passThrough)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		cfg, err := configs.Load(path, nil, nil)
		if err != nil {
			t.Fatal(err)
		}
		return cfg
	}
	g, err := openGateway(load("upstream: cloud, services: [shadow]"), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := g.close(); err != nil {
			t.Error(err)
		}
	}()
	const shadow, jobs = "$aws/things/p/shadow/get", "$aws/things/p/jobs/get"
	check := func(when, topic, from string, want bool) {
		t.Helper()
		if routed, connected := g.cloudOf(topic); routed != want || connected {
			t.Errorf("%s: %s goes up: %v, connected: %v", when, topic, routed, connected)
		}
		metered := make(chan error, 1)
		m := &bridge.Message{Topic: topic + "/accepted", Payload: []byte("{}")}
		if got := g.answered(from, m, 40, func(err error) { metered <- err }); got != want {
			t.Errorf("%s: an answer of %s on %s is taken: %v", when, from, topic, got)
		} else if got {
			if err := <-metered; err != nil {
				t.Errorf("%s: %v", when, err)
			}
		}
	}
	check("shadows", shadow, "cloud", true)
	check("shadows", jobs, "cloud", false)
	if g.answered("other", &bridge.Message{Topic: shadow + "/accepted"}, 40, func(error) {}) {
		t.Error("an upstream answers what another was asked")
	}
	g.health.Raise(bridge.Warning{Code: localbroker.WarningNoRuleRoute})
	if _, err := g.reload(load("upstream: cloud, services: [jobs]")); err != nil {
		t.Fatal(err)
	}
	check("jobs", shadow, "cloud", false)
	check("jobs", jobs, "cloud", true)
	if g.health.Clear(localbroker.WarningNoRuleRoute) {
		t.Error("the warning outlives the reload")
	}
	if _, err := g.reload(load("")); err != nil {
		t.Fatal(err)
	}
	check("nothing", shadow, "cloud", false)
	check("nothing", jobs, "cloud", false)
}
