package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/eclipse/paho.golang/packets"

	"github.com/ebbgate/ebbgate/configs"
)

// A reload makes new connections, and each client id's CONNECT comes no sooner after its
// last for it: those of a pool, and of what
// comes down. The bounds are lower
// ones, of what we do ourselves.
func TestTheFloorOutlivesAReload(t *testing.T) {
	const floor = 2 * time.Second
	dir := t.TempDir()
	cloud := acceptingCloud(t)
	load := func(ttl string) *configs.Config {
		t.Helper()
		path := filepath.Join(dir, "ebbgate.yaml")
		text := fmt.Sprintf(`gateway: {id: gw}
admin: {address: ""}
spool: {dir: data}
policy: {things: "", policies: ""}
routes:
  up: [{name: all, from: "dt/#", upstream: cloud, ttl: %s}]
  down: [{name: back, from: "cmd/#", upstream: cloud}]
upstreams:
  cloud: {endpoint: "mqtt://%s", connections: 2, backoff: {spread: 0s, base: 1ms, floor: %v}}
`, ttl, cloud.addr, floor)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		cfg, err := configs.Load(path, nil, nil)
		if err != nil {
			t.Fatal(err)
		}
		return cfg
	}
	g, err := openGateway(load("1h"), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	ran := make(chan error, 1)
	begun := time.Now()
	go func() { ran <- g.runClouds(ctx) }()
	for i := range 3 {
		for range 3 { // gw, gw-2 and gw-down
			select {
			case id := <-cloud.connects:
				if passed := time.Since(begun); passed < time.Duration(i)*floor {
					t.Errorf("CONNECT %d of %s after %v", i+1, id, passed)
				}
			case <-time.After(30 * time.Second):
				t.Fatal("no CONNECT")
			}
		}
		if _, err := g.reload(load(fmt.Sprintf("%dh", i+2))); err != nil {
			t.Fatal(err)
		}
	}
	stop()
	if err := <-ran; err != nil {
		t.Error(err)
	}
	if err := g.close(); err != nil {
		t.Error(err)
	}
}

// accepting is a cloud that lets everybody in and says no more.
type accepting struct {
	addr     string
	connects chan string // client ids
}

func acceptingCloud(t *testing.T) *accepting {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	a := &accepting{addr: l.Addr().String(), connects: make(chan string, 100)}
	var all sync.WaitGroup
	all.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			all.Go(func() {
				defer c.Close()
				p, err := packets.ReadPacket(c)
				if err != nil {
					return
				}
				a.connects <- p.Content.(*packets.Connect).ClientID
				if _, err := packets.NewControlPacket(packets.CONNACK).WriteTo(c); err == nil {
					_, _ = io.Copy(io.Discard, c)
				}
			})
		}
	})
	t.Cleanup(func() { _ = l.Close(); all.Wait() })
	return a
}
