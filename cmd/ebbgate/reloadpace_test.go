package main

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ebbgate/ebbgate/configs"
)

// TestReloadOfThePace: bandwidth, windows and budget of exports are in force with a reload,
// what was used of the budget included; a reload that is refused changes none of them.
func TestReloadOfThePace(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{"good.yaml": "{}\n", "bad.yaml": "ann: no hash\n"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	load := func(users, pace string) *configs.Config {
		t.Helper()
		path := filepath.Join(dir, "ebbgate.yaml")
		text := fmt.Sprintf(`gateway: {id: gw}
admin: {address: ""}
spool: {dir: data}
policy: {things: "", policies: ""}
listeners:
  - {name: lan, type: tcp, address: "127.0.0.1:0", auth: password, users: %s}
upstreams:
  cloud: {type: sandbox}
file_transfer:
  enabled: true
  export:
    to: s3
    s3: {bucket: files, endpoint: "http://127.0.0.1:9", access_key_id: a, secret_access_key: b}
    %s
`, users, pace)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		cfg, err := configs.Load(path, nil, nil)
		if err != nil {
			t.Fatal(err)
		}
		return cfg
	}
	g, err := openGateway(load("good.yaml", "bandwidth: 0"), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := g.close(); err != nil {
			t.Error(err)
		}
	}()
	reload := func(users, pace string, good bool) {
		t.Helper()
		if _, err := g.reload(load(users, pace)); (err == nil) != good {
			t.Fatal(err)
		}
	}
	// An hour's worth of bytes cannot go before a deadline that is nearer: no machine is so
	// slow that it takes this long when nothing bounds it.
	want := func(when, held string, slow bool) {
		t.Helper()
		if why := g.files.pace.Held(); !strings.Contains(why, held) || held == "" && why != "" {
			t.Errorf("%s: held by %q, want %q", when, why, held)
		}
		if held != "" {
			return
		}
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		if err := g.files.pace.Wait(ctx, 3600<<10); (err != nil) != slow {
			t.Errorf("%s: slow is to be %v: %v", when, slow, err)
		}
	}
	want("at first", "", false)
	reload("good.yaml", "bandwidth: 1KiB", true)
	want("with a bandwidth", "", true)
	reload("bad.yaml", "bandwidth: 0", false)
	want("after what was refused", "", true)
	const budget = `metered: {budget: 1MB, per: month, time_zone: UTC}`
	reload("good.yaml", budget, true)
	want("with a budget", "", false)
	g.files.gate.Carried(999_000)
	g.files.gate.Carried(999) // too little for a commit of its own
	want("with a byte left", "", false)
	shut := strings.ToLower(time.Now().UTC().Add(3 * 24 * time.Hour).Weekday().String()[:3])
	window := fmt.Sprintf(`metered: {budget: 2MB, per: month, time_zone: UTC, windows: ["%s 00:00-00:01"]}`, shut)
	reload("bad.yaml", window, false)
	want("after a window that was refused", "", false)
	reload("good.yaml", window, true)
	want("outside of its windows", "outside of its windows", false)
	reload("good.yaml", budget, true)
	want("with the budget again", "", false)
	g.files.gate.Carried(1)
	want("with the budget used up", "the budget of this month is used up", false)
	reload("good.yaml", "bandwidth: 0", true)
	want("at last", "", false)
	cfg := load("good.yaml", "expire_at: remove")
	if _, err := g.reload(cfg); err == nil || !strings.Contains(err.Error(), "file_transfer.export.expire_at changed: restart the gateway") {
		t.Error(err)
	}
}
