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

	"github.com/ebbgate/ebbgate/bridge"
	"github.com/ebbgate/ebbgate/configs"
)

// batching is a gateway whose one route may have a batch.
type batching struct {
	*gateway
	t   *testing.T
	dir string
	n   int // messages so far
}

const batchedQueue = "up/cloud/all"

func (b *batching) config(batch bool) *configs.Config {
	b.t.Helper()
	cfg := sandboxed(b.t, b.dir, 10, "users.yaml")
	if !batch {
		return cfg
	}
	path := filepath.Join(b.dir, "ebbgate.yaml")
	text, err := os.ReadFile(path)
	if err != nil {
		b.t.Fatal(err)
	}
	text = []byte(strings.Replace(string(text), "upstream: cloud}", "upstream: cloud, batch: {format: ndjson, age: 1h}}", 1))
	if err := os.WriteFile(path, text, 0o600); err != nil {
		b.t.Fatal(err)
	}
	if cfg, err = configs.Load(path, nil, nil); err != nil {
		b.t.Fatal(err)
	}
	return cfg
}

func (b *batching) open(batch bool) {
	b.t.Helper()
	g, err := openGateway(b.config(batch), slog.New(slog.DiscardHandler))
	if err != nil {
		b.t.Fatal(err)
	}
	b.gateway = g
}

func (b *batching) reloadAs(batch bool) {
	b.t.Helper()
	if _, err := b.reload(b.config(batch)); err != nil {
		b.t.Fatal(err)
	}
}

func (b *batching) shut() {
	b.t.Helper()
	if err := b.close(); err != nil {
		b.t.Fatal(err)
	}
}

// publish gives the route a message.
func (b *batching) publish() {
	b.t.Helper()
	b.n++
	done := make(chan error, 1)
	m := &bridge.Message{Topic: "dt/x", Payload: fmt.Appendf(nil, `{"n":%d}`, b.n), QoS: 1}
	b.ingest.Authorized(&bridge.Principal{ClientID: "d"}, m, nil, func(err error) { done <- err })
	if err := <-done; err != nil {
		b.t.Fatal(err)
	}
}

// shape runs the stages of the route until so many wait raw.
func (b *batching) shape(left int64) {
	b.t.Helper()
	ctx, end := context.WithCancel(b.t.Context())
	ended := make(chan error, 1)
	go func() { ended <- b.clouds[0].shapers[0].Run(ctx) }()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for b.spool.Depth(bridge.RawQueue(batchedQueue)).Records != left {
		<-tick.C
	}
	end()
	if err := <-ended; err != nil {
		b.t.Fatal(err)
	}
}

// waits is what waits to be sent, in that order.
func (b *batching) waits() string {
	b.t.Helper()
	c := b.spool.Cursor(batchedQueue)
	defer c.Close()
	var out []string
	for {
		r, err := c.Next()
		if err != nil {
			b.t.Fatal(err)
		}
		if r == nil {
			return strings.Join(out, " ")
		}
		out = append(out, strings.TrimSpace(string(r.Payload)))
	}
}

func (b *batching) raw() int64 { return b.spool.Depth(bridge.RawQueue(batchedQueue)).Records }

// A route that loses its batch, at a reload or at a start, sends what waits in the
// open batch before what comes: that waits behind it, through however many reloads
// and kills, until a start finds nothing there. One that gets a batch sends what waits
// without it first.
func TestARouteThatLosesItsStepsKeepsItsOrder(t *testing.T) {
	for _, at := range []string{"a reload", "a start"} {
		t.Run(at, func(t *testing.T) {
			b := &batching{t: t, dir: t.TempDir()}
			if err := os.WriteFile(filepath.Join(b.dir, "users.yaml"), []byte("{}\n"), 0o600); err != nil {
				t.Fatal(err)
			}
			b.open(false)
			b.publish() // 1
			if b.raw() != 0 {
				t.Fatal("a route without steps has a raw queue")
			}
			b.reloadAs(true)
			b.publish() // 2
			if at == "a reload" {
				b.reloadAs(false)
			} else {
				b.shut()
				b.open(false)
			}
			b.publish() // 3
			if n := b.raw(); n != 2 {
				t.Fatalf("%d wait behind each other, want 2", n)
			}
			b.reloadAs(false) // a second one, while the first is not through
			b.publish()       // 4
			b.shape(0)
			b.publish() // 5: what was routed a moment ago may still be on its way to the raw queue
			b.shut()
			b.open(false)
			b.publish() // 6
			b.shape(0)
			const want = `{"n":1} {"n":2} {"n":3} {"n":4} {"n":5} {"n":6}`
			if got := b.waits(); got != want {
				t.Errorf("waits %s, want %s", got, want)
			}
			b.shut()
			b.open(false)
			b.publish() // 7
			if n := b.raw(); n != 0 {
				t.Errorf("%d messages go through the raw queue for ever", n)
			}
			if got := b.waits(); got != want+` {"n":7}` {
				t.Errorf("waits %s at the end", got)
			}
			b.shut()
		})
	}
}
