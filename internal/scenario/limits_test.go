package scenario

import (
	"bufio"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	mqtt "github.com/eclipse/paho.mqtt.golang"

	"github.com/ebbgate/ebbgate/internal/peers"
	"github.com/ebbgate/ebbgate/internal/tally"
)

// sandboxed starts "ebbgate sandbox", which discards what AWS discards.
func sandboxed(t *testing.T) (addr string) {
	t.Helper()
	cmd := exec.Command(binary(t), "sandbox", "--anonymous", "--listen", "127.0.0.1:0")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM) // fails only when it has ended
		_ = cmd.Wait()
	})
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimPrefix(strings.TrimSpace(line), "mqtt://")
}

// TestLimits is the replay of a backlog at the cloud's limits: eight connections,
// each of which may carry 100 messages a second in both directions, before a
// cloud that discards what is more (Q06), behind a network that holds bytes back
// for up to 200 ms and while the cloud sends messages as well. Nothing is
// discarded, each device stays in order and on its connection, and alarms that
// are published meanwhile overtake.
//
// How fast it goes depends on the machine, so that is judged in a soak only: 97
// of a hundred tokens are used, no second at the gateway's socket has more than
// 100 messages, and 99 of a hundred alarms are with the cloud in a second.
func TestLimits(t *testing.T) {
	t.Parallel()
	const connections, rate, inbound = 8, 95, 9
	messages := scaled(100_000, 5_000)
	devices := scaled(400, 50) // the more, the more even their shares
	r := record(t, sandboxed(t), 200*time.Millisecond, inbound)
	away := peers.FreeAddr(t)
	g := newGateway(t, site{Endpoint: "mqtt://" + away, Set: []string{
		fmt.Sprintf("upstreams.cloud.connections=%d", connections),
		fmt.Sprintf("upstreams.cloud.limits.messages_per_second=%d", rate),
		"upstreams.cloud.limits.bytes_per_second=448KiB",
		"upstreams.cloud.ack_timeout=20s",
	}})
	text, err := os.ReadFile(g.configFile())
	if err != nil {
		t.Fatal(err)
	}
	const routes = "  up:\n"
	config := strings.Replace(string(text), routes, routes+
		`    - {name: alarms, from: "dt/alarm-01", upstream: cloud, topic: "${topic}", priority: 9}`+"\n", 1)
	g.write("ebbgate.yaml", config)
	g.start()
	f := &fleet{devices: devices, messages: messages / devices, window: 20, size: 200}
	f.start(t, g.Listen)
	if !f.wait(5 * time.Minute) {
		t.Fatalf("only %d messages were taken", f.acked.Len())
	}
	if code := g.stop(); code != 0 {
		t.Fatalf("exit code %d", code)
	}
	g.write("ebbgate.yaml", strings.Replace(config, away, r.Addr, 1))
	g.start()
	began := time.Now()
	a := startAlarms(t, g.Listen)
	if !until(scaled(10*time.Minute, 2*time.Minute), func() bool { return tally.Compare(&f.acked, &r.arrived).Lost == 0 }) {
		t.Errorf("not all arrived: %+v", tally.Compare(&f.acked, &r.arrived))
	}
	took := time.Since(began)
	a.stop()
	if !until(10*time.Second, func() bool { return tally.Compare(&a.acked, &r.arrived).Lost == 0 }) {
		t.Errorf("alarms did not arrive: %+v", tally.Compare(&a.acked, &r.arrived))
	}
	judge(t, r, a, connections, rate, took)
	if code := g.stop(); code != 0 {
		t.Errorf("exit code %d", code)
	}
}

// judge looks at what a recorder has written down.
func judge(t *testing.T, r *recorder, a *alarms, connections int, rate float64, took time.Duration) {
	t.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	most, share := 0, 1.0
	for client, at := range r.crossings {
		n := busiest(at, time.Second)
		busy := at[:0:0] // while it had a backlog
		for _, x := range at {
			if !x.After(r.last[client]) {
				busy = append(busy, x)
			}
		}
		lasted := r.last[client].Sub(at[0])
		most, share = max(most, n), min(share, float64(len(busy)-1)/lasted.Seconds()/rate)
		if n > 100 && soak() {
			t.Errorf("%s: %d messages within a second", client, n)
		}
	}
	waits := a.waits(r.at["alarm-01"])
	p99 := waits[len(waits)*99/100]
	t.Logf("%d transmissions in %v on %d connections: at least %.1f %% of the allowance of each; at most %d in a second; answers %v; %d alarms, median %v, p99 %v; %d CONNECTs",
		r.times, took.Round(time.Millisecond), len(r.crossings), 100*share, most, r.answers, len(waits), waits[len(waits)/2].Round(time.Millisecond), p99.Round(time.Millisecond), len(r.connects))
	if soak() && share < 0.97 {
		t.Errorf("%.1f %% of the allowance were used", 100*share)
	}
	if soak() && p99 > time.Second {
		t.Errorf("99 of 100 alarms took up to %v", p99)
	}
	if len(r.crossings) != connections {
		t.Errorf("%d connections", len(r.crossings))
	}
	for code, n := range r.answers {
		if code >= 0x80 {
			t.Errorf("%d messages were answered with 0x%02X", n, code)
		}
	}
	if r.late > 0 {
		t.Errorf("%d messages were sent for the first time after a later one of their device", r.late)
	}
}

// alarms are published one by one while a backlog is sent.
type alarms struct {
	acked tally.Set
	stop  func()

	mu        sync.Mutex
	published map[uint64]time.Time
}

func startAlarms(t *testing.T, addr string) *alarms {
	t.Helper()
	a := &alarms{published: map[uint64]time.Time{}}
	c := mqtt.NewClient(mqtt.NewClientOptions().AddBroker("tcp://" + addr).SetClientID("alarm-01").SetAutoReconnect(false))
	must(t, "alarms", c.Connect())
	ended, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		tick := time.NewTicker(50 * time.Millisecond)
		defer tick.Stop()
		for n := uint64(1); ; n++ {
			a.mu.Lock()
			a.published[n] = time.Now()
			a.mu.Unlock()
			if tok := c.Publish("dt/alarm-01", 1, false, payload("alarm-01", n, 100)); tok.WaitTimeout(10*time.Second) && tok.Error() == nil {
				a.acked.Add("alarm-01", n)
			}
			select {
			case <-ended:
				return
			case <-tick.C:
			}
		}
	}()
	a.stop = sync.OnceFunc(func() {
		close(ended)
		<-done
		c.Disconnect(100)
	})
	t.Cleanup(a.stop)
	return a
}

// waits are the times from publishing to the cloud's acknowledgement, sorted.
func (a *alarms) waits(arrived map[uint64]time.Time) []time.Duration {
	a.mu.Lock()
	defer a.mu.Unlock()
	var out []time.Duration
	for n, at := range maps.All(arrived) {
		out = append(out, at.Sub(a.published[n]))
	}
	slices.Sort(out)
	return out
}
