package scenario

import (
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ebbgate/ebbgate/internal/peers"
)

// life is what a Sparkplug node publishes: births, data, a rebirth, data, a death.
// Every payload is different, and none is JSON.
func life() (topics []string, payloads [][]byte) {
	add := func(n int, kinds ...string) {
		for range n {
			for _, k := range kinds {
				topics = append(topics, "spBv1.0/plant/"+k)
				payloads = append(payloads, fmt.Appendf(nil, "\x08\x96\x01%04d", len(payloads)))
			}
		}
	}
	add(1, "NBIRTH/node", "DBIRTH/node/press")
	add(30, "NDATA/node", "DDATA/node/press")
	add(1, "DBIRTH/node/press")
	add(30, "DDATA/node/press", "NDATA/node")
	add(1, "NDEATH/node")
	return topics, payloads
}

const sparkplugPolicy = `{"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "iot:*", "Resource": "*"}]}`

// A node lives while the cloud is away, and the gateway is killed twice meanwhile.
// When the cloud returns every message of the node is there, and none has overtaken a
// birth or a death: on a route of everything, whose steps leave Sparkplug alone, each
// as it was published and in its order; on a route that names Sparkplug in batches.
func TestSparkplugThroughAnOutage(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		set     []string
		batched bool
	}{
		"not named": {set: []string{"routes.up[0].from=#", "routes.up[0].sample={one_in: 5}", "routes.up[0].deadband={field: v}", "routes.up[0].batch={format: json, age: 200ms}", "routes.up[0].compress=gzip", `routes.up[0].where=client_id == "nobody"`, "routes.up[0].on_error=drop"}},
		"named":     {set: []string{"routes.up[0].from=spBv1.0/#", "routes.up[0].batch={format: length_prefixed, age: 200ms}"}, batched: true},
	} {
		t.Run(name, func(t *testing.T) {
			broker := peers.Mosquitto(t, peers.MosquittoOptions{})
			proxy := peers.NewProxy(t, broker.Addr)
			cloud := tape(t, broker.Addr)
			g := newGateway(t, site{Endpoint: "mqtt://" + proxy.Addr, Set: c.set})
			g.write("policies/fleet.json", sparkplugPolicy)
			proxy.Cut()
			g.start()
			topics, payloads := life()
			for i, topic := range topics {
				if i == 20 || i == 80 {
					g.kill()
					g.start()
				}
				publishSurely(t, g, "node", topic, payloads[i:i+1])
			}
			proxy.Restore()
			delivered(t, g)
			if !until(10*time.Second, func() bool { return len(arrivedOnce(t, cloud, c.batched)) == len(payloads) }) {
				t.Errorf("%d of %d messages arrived", len(arrivedOnce(t, cloud, c.batched)), len(payloads))
			}
			got, want := arrivedOnce(t, cloud, c.batched), make([]string, len(topics))
			for i := range topics {
				want[i] = topics[i] + " " + string(payloads[i])
			}
			if c.batched { // between births and deaths topics may pass each other
				if n := len(cloud.all()); n >= len(topics) {
					t.Errorf("%d messages took %d batches", len(topics), n)
				}
				got, want = lives(got), lives(want)
			}
			if !slices.Equal(got, want) {
				t.Errorf("arrived\n%q\npublished\n%q", got, want)
			}
		})
	}
}

// arrivedOnce are the messages in the order of their first arrival.
func arrivedOnce(t *testing.T, cloud *recording, batched bool) (out []string) {
	t.Helper()
	for _, line := range cloud.all() {
		topic, text, _ := strings.Cut(line, " ")
		payload, err := hex.DecodeString(text)
		if err != nil {
			t.Fatal(err)
		}
		all := [][]byte{payload}
		if batched && strings.Contains(topic, "DATA/") {
			all = unpackPrefixed(payload)
		}
		for _, p := range all {
			if m := topic + " " + string(p); !slices.Contains(out, m) {
				out = append(out, m)
			}
		}
	}
	return out
}

// lives puts the data between two births or deaths into one fixed order.
func lives(messages []string) []string {
	out := slices.Clone(messages)
	from := 0
	for i, m := range append(slices.Clone(messages), "the end") {
		if !strings.Contains(m, "DATA/") {
			slices.Sort(out[from:i])
			from = i + 1
		}
	}
	return out
}
