package main

import (
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ebbgate/ebbgate/bridge"
	"github.com/ebbgate/ebbgate/configs"
)

// TestARenamedRouteKeepsItsPlace: what a route leaves behind goes with the priority
// that it had, so with what the new one takes of the same devices, also when nothing
// has come to it yet while its table is in force; after a start it does, too.
func TestARenamedRouteKeepsItsPlace(t *testing.T) {
	b := &batching{t: t, dir: t.TempDir()}
	if err := os.WriteFile(filepath.Join(b.dir, "users.yaml"), []byte("{}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	config := func(name, priority string) *configs.Config {
		b.config(false)
		path := filepath.Join(b.dir, "ebbgate.yaml")
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		text = []byte(strings.NewReplacer("name: all", "name: "+name, "upstream: cloud}", "upstream: cloud, priority: "+priority+"}").Replace(string(text)))
		if err := os.WriteFile(path, text, 0o600); err != nil {
			t.Fatal(err)
		}
		cfg, err := configs.Load(path, nil, nil)
		if err != nil {
			t.Fatal(err)
		}
		return cfg
	}
	priorities := func() map[string]int {
		out := map[string]int{}
		for _, q := range b.clouds[0].allUpQueues() {
			out[q.Name] = q.Priority
		}
		return out
	}
	open := func(cfg *configs.Config) {
		t.Helper()
		var err error
		if b.gateway, err = openGateway(cfg, slog.New(slog.DiscardHandler)); err != nil {
			t.Fatal(err)
		}
	}
	check := func(when string, want map[string]int) {
		t.Helper()
		got := priorities()
		for name, n := range want {
			if p, ok := got[name]; !ok || p != n {
				t.Errorf("%s: %s has priority %d (%v), want %d", when, name, p, ok, n)
			}
		}
	}
	open(config("all", "7"))
	if _, err := b.reload(config("some", "2")); err != nil {
		t.Fatal(err)
	}
	check("renamed before anything came", map[string]int{"up/cloud/all": 7, "up/cloud/some": 2})
	b.publish()
	b.shut()
	open(config("most", "3"))
	check("renamed at a start", map[string]int{"up/cloud/some": 2, "up/cloud/most": 3})
	if n, known, err := bridge.PriorityOf(b.spool, "up/cloud/nobody's"); known || err != nil {
		t.Errorf("a queue that never was has priority %d, %v", n, err)
	}
	b.shut()
}
