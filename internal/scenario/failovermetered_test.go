package scenario

import (
	"encoding/json"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/ebbgate/ebbgate/internal/peers"
)

// used is how the metered link of an upstream stands.
func (g *gateway) used(t *testing.T, name string) (open bool, bytes int64) {
	t.Helper()
	var s struct {
		Upstreams []struct {
			Name    string
			Metered *struct {
				Open bool
				Used int64 `json:"used_bytes"`
			}
		}
	}
	if _, body, err := g.get("/api/v1/status"); err != nil || json.Unmarshal([]byte(body), &s) != nil {
		return false, 0 // it is between two configurations
	}
	for _, u := range s.Upstreams {
		if u.Name == name && u.Metered != nil {
			return u.Metered.Open, u.Metered.Used
		}
	}
	return false, 0
}

// The cable first, the satellite behind it: what takes over keeps to its own windows
// and its own budget, and what may not go by it waits for the first.
func TestWhatTakesOverKeepsToItsOwnMeter(t *testing.T) {
	t.Parallel()
	first, second := peers.Mosquitto(t, peers.MosquittoOptions{}), peers.Mosquitto(t, peers.MosquittoOptions{})
	proxy := peers.NewProxy(t, first.Addr)
	both, atSecond := watch(t, first.Addr), &cloud{}
	both.alsoAt(t, second.Addr)
	atSecond.hears(t, second.Addr, "counter")
	proxy.Cut()
	g := newGateway(t, site{Endpoint: "mqtt://" + proxy.Addr, Set: []string{
		"upstreams.cloud.failover.to=satellite", "upstreams.cloud.failover.after=1s", "upstreams.cloud.failover.back_after=1s",
		"upstreams.satellite.endpoint=mqtt://" + second.Addr,
		"upstreams.satellite.limits.messages_per_second=0", "upstreams.satellite.limits.bytes_per_second=0",
	}})
	const metered = "    ack_timeout: 3s\n  satellite:\n    metered: {time_zone: UTC, "
	shut := map[bool]string{true: "mon", false: "thu"}[time.Now().UTC().Weekday() >= time.Wednesday]
	g.edit(replace("    ack_timeout: 3s\n", metered+"windows: ["+shut+" 00:00-24:00]}\n"))
	g.start()
	f := &fleet{devices: 5, messages: 1000, window: 20, size: 1000}
	f.start(t, g.Listen)
	if !f.wait(time.Minute) {
		t.Fatalf("only %d messages were taken", f.acked.Len())
	}
	g.awaitSaid(t, "what takes over is closed", func(s said) bool { return s.warns("failover-closed-cloud") })
	if open, bytes := g.used(t, "satellite"); open || bytes > 0 || atSecond.total.Load() > 0 {
		t.Errorf("outside of its windows %d messages went by it, %d bytes were used", atSecond.total.Load(), bytes)
	}
	g.edit(replace("windows: ["+shut+" 00:00-24:00]}", "budget: 1MB}"))
	g.signal(syscall.SIGHUP)
	if !until(time.Minute, func() bool { _, bytes := g.used(t, "satellite"); return bytes >= 1_000_000 }) {
		t.Errorf("its budget was not used: %d messages", atSecond.total.Load())
	}
	g.awaitSaid(t, "its budget is used up", func(s said) bool { return s.warns("failover-closed-cloud") })
	const over = 512 + 100 // given to the connection, and in flight
	if _, bytes := g.used(t, "satellite"); bytes > 1_000_000+over*1300 || atSecond.total.Load() == 0 {
		t.Errorf("%d bytes and %d messages went by a budget of 1,000,000", bytes, atSecond.total.Load())
	}
	g.edit(replace("budget: 1MB}", "budget: 1MB, override: 9}"))
	g.signal(syscall.SIGHUP)
	g.awaitSaid(t, "only what overrides goes", func(s said) bool { return s.warns("failover-held-cloud") && s.warns("failed-over-cloud") })
	proxy.Restore()
	if d := both.await(&f.acked, time.Minute); d.Lost > 0 {
		t.Errorf("%d acknowledged messages are at neither, such as %v", d.Lost, d.Sample)
	}
}

// A reload while another cloud takes the messages is no reason to wait for the first one
// again: from then on that would take a day.
func TestAReloadStaysWithWhatTookOver(t *testing.T) {
	t.Parallel()
	first, second := peers.Mosquitto(t, peers.MosquittoOptions{}), peers.Mosquitto(t, peers.MosquittoOptions{})
	proxy := peers.NewProxy(t, first.Addr)
	atSecond := &cloud{}
	atSecond.hears(t, second.Addr, "counter")
	proxy.Cut()
	g := newGateway(t, site{Endpoint: "mqtt://" + proxy.Addr, Set: []string{"upstreams.standby.endpoint=mqtt://" + second.Addr}})
	g.edit(replace("    ack_timeout: 3s\n", "    ack_timeout: 3s\n    failover: {to: standby, after: 1s}\n"))
	g.start()
	f := &fleet{devices: 1, window: 5, size: 100}
	f.start(t, g.Listen)
	defer f.stop()
	arrives := func(when string, after int64) {
		t.Helper()
		if !until(time.Minute, func() bool { return atSecond.total.Load() > after }) {
			t.Fatalf("nothing arrives %s", when)
		}
	}
	arrives("when it has taken over", 0)
	const up = `msg="uplink is up"`
	links := strings.Count(g.log(), up)
	g.edit(replace("after: 1s", "after: 24h"))
	g.signal(syscall.SIGHUP)
	if !until(time.Minute, func() bool { return strings.Count(g.log(), up) > links }) {
		t.Fatalf("there is no other link after the reload:\n%s", g.log())
	}
	arrives("after the reload", atSecond.total.Load())
}
