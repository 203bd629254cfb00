package scenario

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	mqtt "github.com/eclipse/paho.mqtt.golang"

	"github.com/ebbgate/ebbgate/internal/peers"
)

// recording notes what arrives at a broker, one line a message as
// mosquitto_sub -F '%t %x' writes it.
type recording struct {
	mu    sync.Mutex
	lines []string
}

func tape(t *testing.T, addr string) *recording {
	t.Helper()
	r := &recording{}
	c := mqtt.NewClient(mqtt.NewClientOptions().AddBroker("tcp://" + addr).SetClientID("recorder").SetOrderMatters(true).SetAutoReconnect(false))
	if tok := c.Connect(); !tok.WaitTimeout(10*time.Second) || tok.Error() != nil {
		t.Fatalf("recorder: %v", tok.Error())
	}
	t.Cleanup(func() { c.Disconnect(100) })
	tok := c.Subscribe("#", 1, func(_ mqtt.Client, m mqtt.Message) {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.lines = append(r.lines, fmt.Sprintf("%s %x", m.Topic(), m.Payload()))
	})
	if !tok.WaitTimeout(10*time.Second) || tok.Error() != nil {
		t.Fatalf("recorder: %v", tok.Error())
	}
	return r
}

func (r *recording) all() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.lines)
}

// publishSurely publishes until there is a PUBACK, through kills of the gateway.
func publishSurely(t *testing.T, g *gateway, client, topic string, payloads [][]byte) {
	for len(payloads) > 0 {
		c := mqtt.NewClient(mqtt.NewClientOptions().AddBroker("tcp://" + g.Listen).SetClientID(client).SetAutoReconnect(false).SetConnectTimeout(5 * time.Second))
		if tok := c.Connect(); !tok.WaitTimeout(10*time.Second) || tok.Error() != nil {
			if t.Context().Err() != nil {
				return
			}
			<-time.After(20 * time.Millisecond)
			continue
		}
		for len(payloads) > 0 {
			if tok := c.Publish(topic, 1, false, payloads[0]); !tok.WaitTimeout(10*time.Second) || tok.Error() != nil {
				break
			}
			payloads = payloads[1:]
		}
		c.Disconnect(50)
	}
}

// rest waits until nothing has come for a while.
func (r *recording) rest(t *testing.T) {
	t.Helper()
	n, since := -1, time.Now()
	if !until(30*time.Second, func() bool {
		if now := len(r.all()); now != n {
			n, since = now, time.Now()
		}
		return time.Since(since) > time.Second
	}) {
		t.Error("messages come and come")
	}
}

// delivered waits until nothing waits in the gateway any more.
func delivered(t *testing.T, g *gateway) {
	t.Helper()
	said := ""
	if !until(2*time.Minute, func() bool {
		_, said, _ = g.get("/api/v1/status")
		var s struct {
			Spool struct{ Depth *int64 }
		}
		return json.Unmarshal([]byte(said), &s) == nil && s.Spool.Depth != nil && *s.Spool.Depth == 0
	}) {
		t.Fatalf("messages wait still: %s", said)
	}
}

// decoded runs "ebbgate decode" on lines and counts the payloads.
func decoded(t *testing.T, lines []string) (payloads map[string]int, code int, errs string) {
	t.Helper()
	dir := t.TempDir()
	g := &gateway{tb: t, dir: dir}
	g.write("received", strings.Join(lines, "\n"))
	code, out, errs := cli(t, dir, "decode", "--batch", "none", filepath.Join(dir, "received"))
	payloads = map[string]int{}
	for line := range strings.Lines(out) {
		var one struct{ Payload json.RawMessage }
		if err := json.Unmarshal([]byte(line), &one); err != nil {
			t.Fatalf("%.200q: %v", line, err)
		}
		payloads[string(one.Payload)]++
	}
	return payloads, code, errs
}

// Payloads above the upstream's limit go in parts, over two connections, while the
// gateway is killed and the link is cut, and "ebbgate decode" makes of what came what
// the devices have published: with the parts of several messages among each other, in
// any order, twice. When one part is lost that message is missing, and said to be,
// and no other.
func TestSplitThroughTheCloud(t *testing.T) {
	t.Parallel()
	const devices, messages, kills = 4, 10, 2
	rnd := dice(t)
	broker := peers.Mosquitto(t, peers.MosquittoOptions{})
	proxy := peers.NewProxy(t, broker.Addr)
	cloud := tape(t, broker.Addr)
	g := newGateway(t, site{
		Endpoint: "mqtt://" + proxy.Addr,
		Set:      []string{"routes.up[0].split=8KiB", "upstreams.cloud.connections=2"},
	})
	g.start()

	want := map[string]bool{}
	var fleet sync.WaitGroup
	for d := range devices {
		payloads := make([][]byte, messages)
		for i := range payloads {
			data := make([]byte, 1000+rnd.IntN(40_000))
			for j := range data {
				data[j] = "0123456789abcdef"[rnd.IntN(16)]
			}
			payloads[i] = fmt.Appendf(nil, `{"d":%d,"n":%d,"data":"%s"}`, d, i, data)
			want[string(payloads[i])] = true
		}
		client := fmt.Sprintf("device-%02d", d)
		fleet.Go(func() { publishSurely(t, g, client, "dt/"+client, payloads) })
	}
	for i := range kills {
		n := 20 + 40*i
		if !until(time.Minute, func() bool { return len(cloud.all()) >= n }) {
			t.Fatalf("only %d parts arrived before kill %d", len(cloud.all()), i)
		}
		g.kill()
		g.start()
		proxy.Reset()
	}
	fleet.Wait()
	delivered(t, g)
	cloud.rest(t)

	lines := cloud.all()
	compareDecoded(t, "as they came", lines, want, "")
	shuffled := append(slices.Clone(lines), lines...)
	rand.Shuffle(len(shuffled), func(i, j int) { shuffled[i], shuffled[j] = shuffled[j], shuffled[i] })
	compareDecoded(t, "twice and in any order", shuffled, want, "")

	lost := lines[slices.IndexFunc(lines, isPart)]
	missing := slices.DeleteFunc(slices.Clone(lines), func(l string) bool { return l == lost }) // its repetitions too
	compareDecoded(t, "without one part", missing, want, "parts of 1 messages are missing")
}

// isPart reports whether a line of a recording is a part.
func isPart(line string) bool { return strings.Contains(line, fmt.Sprintf(" %x", "EBBP\x01")) }

// compareDecoded decodes lines. With a complaint one message may be missing.
func compareDecoded(t *testing.T, how string, lines []string, want map[string]bool, complaint string) {
	t.Helper()
	got, code, errs := decoded(t, lines)
	for p := range got {
		if !want[p] {
			t.Errorf("%s: %.60s… came out, and nobody has published it", how, p)
		}
	}
	switch missing := len(want) - len(got); {
	case complaint == "" && (missing != 0 || code != 0):
		t.Errorf("%s: %d of %d messages are missing, exit %d: %s", how, missing, len(want), code, errs)
	case complaint != "" && (missing != 1 || code != 1 || !strings.Contains(errs, complaint)):
		t.Errorf("%s: %d messages are missing, exit %d: %s", how, missing, code, errs)
	}
}
