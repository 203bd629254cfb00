package main

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ebbgate/ebbgate/bridge"
	"github.com/ebbgate/ebbgate/configs"
)

// withRoute is a configuration whose one route is written as in a file.
func withRoute(t *testing.T, dir, route string) *configs.Config {
	t.Helper()
	sandboxed(t, dir, 10, "users.yaml")
	path := filepath.Join(dir, "ebbgate.yaml")
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	const plain = `{name: all, from: "dt/#", upstream: cloud}`
	if err := os.WriteFile(path, []byte(strings.Replace(string(text), plain, route, 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	cfg, err := configs.Load(path, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	return cfg
}

// inQueue is what waits in a queue, in that order.
func (g *gateway) inQueue(t *testing.T, queue string) (out []*bridge.Stored) {
	t.Helper()
	c := g.spool.Cursor(queue)
	defer c.Close()
	for {
		r, err := c.Next()
		if err != nil {
			t.Fatal(err)
		}
		if r == nil {
			return out
		}
		out = append(out, r)
	}
}

// shapeUntil runs the stage of a queue until that is so.
func (g *gateway) shapeUntil(t *testing.T, products string, so func() bool) {
	t.Helper()
	c := g.clouds[0]
	i := slices.Index(c.rawQueues, bridge.RawQueue(products))
	if i < 0 {
		t.Fatalf("nobody shapes what waits for the steps of %s, but %q", products, c.rawQueues)
	}
	ctx, end := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- c.shapers[i].Run(ctx) }()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for !so() {
		<-tick.C
	}
	end()
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
}

// TestAWindowOfARouteThatIsGone: what a route has summed up that is renamed or taken out
// goes as the message of a window, and not as the record that the spool has of it.
func TestAWindowOfARouteThatIsGone(t *testing.T) {
	const (
		queue    = "up/cloud/all"
		windows  = `{name: %s, from: "dt/#", upstream: cloud, window: {every: 24h, fields: [n]}}`
		messages = 2*256 + 2 // one half is summed up, also when midnight is between them
		partial  = "application/x-ebb-window"
	)
	parts := func(list []*bridge.Stored) (n int) {
		for _, r := range list {
			if r.ContentType == partial {
				n++
			}
		}
		return n
	}
	for _, c := range []struct {
		name, then string
		start      bool
	}{
		{"renamed, with the same windows", fmt.Sprintf(windows, "other"), false},
		{"renamed, with none", `{name: other, from: "dt/#", upstream: cloud}`, false},
		{"taken out", `{name: other, from: "cmd/#", upstream: cloud}`, false},
		{"taken out at a start", `{name: other, from: "cmd/#", upstream: cloud}`, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			if err := os.WriteFile(filepath.Join(dir, "users.yaml"), []byte("{}\n"), 0o600); err != nil {
				t.Fatal(err)
			}
			g, err := openGateway(withRoute(t, dir, fmt.Sprintf(windows, "all")), slog.New(slog.DiscardHandler))
			if err != nil {
				t.Fatal(err)
			}
			done := make(chan error, messages)
			for i := range messages {
				m := &bridge.Message{Topic: "dt/x", Payload: fmt.Appendf(nil, `{"n":%d}`, i), QoS: 1}
				g.ingest.Authorized(&bridge.Principal{ClientID: "d"}, m, nil, func(err error) { done <- err })
			}
			for range messages {
				if err := <-done; err != nil {
					t.Fatal(err)
				}
			}
			raw := bridge.RawQueue(queue)
			g.shapeUntil(t, queue, func() bool { return parts(g.inQueue(t, raw)) > 0 })
			if c.start {
				if err := g.close(); err != nil {
					t.Fatal(err)
				}
				g, err = openGateway(withRoute(t, dir, c.then), slog.New(slog.DiscardHandler))
			} else {
				_, err = g.reload(withRoute(t, dir, c.then))
			}
			if err != nil {
				t.Fatal(err)
			}
			var sent []string
			for _, q := range g.clouds[0].upQueues {
				sent = append(sent, q.Name)
			}
			if slices.Contains(sent, raw) || !slices.Contains(sent, queue) {
				t.Fatalf("sent is %q", sent)
			}
			g.shapeUntil(t, queue, func() bool { return g.spool.Depth(raw).Records == 0 })
			list := g.inQueue(t, queue)
			if n := parts(list); n > 0 {
				t.Errorf("%d records of the spool's own are sent", n)
			}
			var read, summed int64
			for _, r := range list {
				var sum struct{ Count int64 }
				if err := json.Unmarshal(r.Payload, &sum); err != nil {
					t.Fatal(err)
				}
				read += max(sum.Count, 1)
				summed += sum.Count
			}
			if read != messages || summed < 256 {
				t.Errorf("%d messages are told of, %d of them summed up, want %d", read, summed, messages)
			}
			if err := g.close(); err != nil {
				t.Fatal(err)
			}
		})
	}
}
