package main

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/ebbgate/ebbgate/configs"
)

// sandboxed loads a configuration whose cloud runs in this process.
func sandboxed(t *testing.T, dir string, inFlight int, users string) *configs.Config {
	t.Helper()
	path := filepath.Join(dir, "ebbgate.yaml")
	text := fmt.Sprintf(`gateway: {id: gw}
admin: {address: ""}
spool: {dir: data}
policy: {things: "", policies: ""}
listeners:
  - {name: lan, type: tcp, address: "127.0.0.1:0", auth: password, users: %s}
routes:
  up: [{name: all, from: "dt/#", upstream: cloud}]
upstreams:
  cloud: {type: sandbox, limits: {in_flight: %d}}
`, users, inFlight)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	cfg, err := configs.Load(path, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	return cfg
}

// TestReloadsCloseWhatTheyReplace: every cloud that a reload has replaced or
// opened for nothing is closed, once, whether it runs, has run or never ran.
func TestReloadsCloseWhatTheyReplace(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{"good.yaml": "{}\n", "bad.yaml": "ann: no hash\n"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	g, err := openGateway(sandboxed(t, dir, 1, "good.yaml"), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	closed := map[int]int{} // generation of clouds → how often closed
	generation := 0
	count := func() {
		generation++
		n, stop := generation, g.clouds[0].stop
		g.clouds[0].stop = func() error {
			if closed[n]++; closed[n] > 1 {
				return nil // a second time would wait for ever
			}
			return stop()
		}
	}
	count()
	reload := func(inFlight int) {
		t.Helper()
		if _, err := g.reload(sandboxed(t, dir, inFlight, "good.yaml")); err != nil {
			t.Fatal(err)
		}
		count()
	}
	want := func(when string, all ...int) {
		t.Helper()
		for n := 1; n <= generation; n++ {
			if closed[n] != all[n-1] {
				t.Errorf("%s: the clouds of generation %d were closed %d times, want %d", when, n, closed[n], all[n-1])
			}
		}
	}

	reload(2)
	before := g.clouds
	if _, err := g.reload(sandboxed(t, dir, 9, "bad.yaml")); err == nil {
		t.Fatal("a users file without hashes was taken")
	}
	if len(g.clouds) != 1 || g.clouds[0] != before[0] {
		t.Error("a reload that was refused changed the clouds")
	}
	reload(3)
	ended, end := context.WithCancel(t.Context())
	end()
	if err := g.runClouds(ended); err != nil {
		t.Fatal(err)
	}
	want("two reloads while nothing ran", 1, 1, 0)
	reload(4) // between the end of the senders and that of the gateway
	if err := g.close(); err != nil {
		t.Fatal(err)
	}
	want("at the end", 1, 1, 1, 1)
}

// TestDelayedReloadsAreBounded: with policy_change aws a reload every second keeps
// few states, each takes effect or a later one in its place, and none much later
// than it should.
func TestDelayedReloadsAreBounded(t *testing.T) {
	start := time.Date(2026, 11, 21, 0, 0, 0, 0, time.UTC)
	for _, delay := range []time.Duration{0, time.Second, 6 * time.Minute, time.Hour} {
		var q queue
		var due, applied []time.Time // when each was to take effect; and what did, in this order
		most := 0
		for second := range 3 * 3600 {
			now := start.Add(time.Duration(second) * time.Second)
			for len(q) > 0 && !q[0].at.After(now) {
				applied = append(applied, q[0].at)
				q = q[1:]
			}
			due = append(due, now.Add(delay))
			q = q.add(delayed{at: now.Add(delay)}, delay)
			most = max(most, len(q))
		}
		if most > apart+2 {
			t.Errorf("delay %s: %d states wait", delay, most)
		}
		for _, at := range due {
			i, _ := slices.BinarySearchFunc(applied, at, time.Time.Compare)
			if i == len(applied) {
				break // still waits
			}
			if late := applied[i].Sub(at); late > delay/apart+2*time.Second {
				t.Fatalf("delay %s: due at %s, in force %s later", delay, at.Format(time.TimeOnly), late)
			}
		}
		if !slices.IsSortedFunc(applied, time.Time.Compare) || len(applied) < 3 {
			t.Errorf("delay %s: %d took effect", delay, len(applied))
		}
	}
}
