package scenario

import (
	"encoding/json"
	"fmt"
	"syscall"
	"testing"
	"time"

	"github.com/ebbgate/ebbgate/internal/peers"
)

// A site that moves to another region: what went to the old one stays on its bill, with
// what was on the way there when the gateway was killed; the rest is billed in the new
// one.
func TestTheBillOfASiteThatMoves(t *testing.T) {
	t.Parallel()
	const before, onTheWay, after = 50, 20, 7
	broker := peers.Mosquitto(t, peers.MosquittoOptions{})
	g := newGateway(t, site{Endpoint: "mqtt://" + broker.Addr})
	at := func(region string) {
		g.Set = []string{"upstreams.cloud.ack_timeout=60s", "upstreams.cloud.billing.region=" + region}
	}
	say := func(n int) {
		device := talker(t, g.Listen, "dev")
		for i := range n {
			must(t, "a message", device.Publish("dt/dev", 1, false, fmt.Sprint(i)))
		}
		device.Disconnect(100)
	}
	type counts struct{ units, uncertain int64 }
	var got map[string]counts
	billed := func(when string, want map[string]counts) {
		t.Helper()
		if !until(time.Minute, func() bool {
			got = map[string]counts{}
			readParts(t, g, func(of string, u, x int64) { c := got[of]; got[of] = counts{c.units + u, c.uncertain + x} })
			return fmt.Sprint(got) == fmt.Sprint(want)
		}) {
			t.Errorf("%s: up there are %v, want %v", when, got, want)
		}
	}
	at("us-east-1")
	g.start()
	say(before)
	billed("before", map[string]counts{"cloud in us-east-1": {before, 0}})
	if err := syscall.Kill(broker.PID, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	say(onTheWay)
	if !until(time.Minute, func() bool { return g.inFlight(t) == onTheWay }) {
		t.Errorf("%d are on the way, want %d", g.inFlight(t), onTheWay)
	}
	g.kill()
	if err := syscall.Kill(broker.PID, syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	at("eu-central-1")
	g.start()
	moved := map[string]counts{"cloud in us-east-1": {before, onTheWay}, "cloud in eu-central-1": {onTheWay, 0}}
	billed("after the move", moved)
	say(after)
	moved["cloud in eu-central-1"] = counts{onTheWay + after, 0}
	billed("and later", moved)
	if code := g.stop(); code != 0 {
		t.Errorf("exit code %d", code)
	}
}

// readParts reads what went up by upstream and region.
func readParts(t *testing.T, g *gateway, each func(of string, units, uncertain int64)) {
	t.Helper()
	var b struct {
		Totals []struct{ Upstream, Of, Region string }
		Lines  []struct {
			Upstream, Direction string
			Units               int64
			Uncertain           int64 `json:"uncertain_units"`
		}
	}
	_, body, err := g.get("/api/v1/bill?period=month")
	if err == nil {
		err = json.Unmarshal([]byte(body), &b)
	}
	if err != nil {
		t.Fatalf("the bill: %v", err)
	}
	for _, total := range b.Totals {
		name := total.Upstream
		if total.Of != "" {
			name = total.Of
		}
		for _, n := range b.Lines {
			if n.Upstream == total.Upstream && n.Direction == "up" {
				each(name+" in "+total.Region, n.Units, n.Uncertain)
			}
		}
	}
}

// inFlight is how many messages are on their way to the cloud.
func (g *gateway) inFlight(t *testing.T) int64 {
	t.Helper()
	var s struct {
		Upstreams []struct {
			InFlight int64 `json:"in_flight"`
		}
	}
	_, body, err := g.get("/api/v1/status")
	if err == nil {
		err = json.Unmarshal([]byte(body), &s)
	}
	if err != nil || len(s.Upstreams) != 1 {
		t.Fatalf("the status: %v", err)
	}
	return s.Upstreams[0].InFlight
}
