package scenario

import (
	varint "encoding/binary"
	"fmt"
	"strings"
	"testing"
	"time"

	mqtt "github.com/eclipse/paho.mqtt.golang"

	"github.com/ebbgate/ebbgate/internal/peers"
)

// TestBatchesSurviveKills is the main promise for a route that makes batches.
// Twenty devices publish while the gateway is killed at random moments, in open
// batches and between the commits that close them, and the link is cut. Every
// message that got a PUBACK arrives in a batch, in order per device, and there are
// far fewer batches than messages.
func TestBatchesSurviveKills(t *testing.T) {
	t.Parallel()
	const kills, cuts = 3, 1
	rnd := dice(t)
	broker := peers.Mosquitto(t, peers.MosquittoOptions{})
	proxy := peers.NewProxy(t, broker.Addr)
	consumer := watchUnpacked(t, broker.Addr, unpackPrefixed)
	g := newGateway(t, site{
		Endpoint: "mqtt://" + proxy.Addr,
		Set:      []string{"routes.up[0].batch={format: length_prefixed, age: 300ms}"},
	})
	g.start()

	f := &fleet{devices: 20, messages: scaled(5000, 300), window: 20, size: 200}
	endure(t, f, g, proxy, consumer, troubles(rnd, kills, cuts))
	batches := consumer.total.Load()
	t.Logf("%d messages arrived in %d batches, %d twice", consumer.arrived.Len(), batches, consumer.duplicates.Load())
	if total := f.acked.Len(); batches > total/3 {
		t.Errorf("%d messages took %d batches: they are hardly filled", total, batches)
	}
}

// unpackPrefixed undoes the batches of format length_prefixed.
func unpackPrefixed(b []byte) (out [][]byte) {
	for len(b) > 0 {
		n, used := varint.Uvarint(b)
		if used <= 0 || n > uint64(len(b)-used) {
			return append(out, b) // foreign
		}
		out = append(out, b[used:used+int(n)])
		b = b[used+int(n):]
	}
	return out
}

// TestStepsAreAccounted publishes readings that hardly change through a deadband
// and then counts: what is consumed, delivered and held is what was accepted, and
// the metrics say which step has kept it.
func TestStepsAreAccounted(t *testing.T) {
	t.Parallel()
	broker := peers.Mosquitto(t, peers.MosquittoOptions{})
	consumer := watch(t, broker.Addr)
	g := newGateway(t, site{
		Endpoint: "mqtt://" + broker.Addr,
		Set:      []string{"routes.up[0].deadband={field: v, absolute: 5}"},
	})
	g.start()
	c := mqtt.NewClient(mqtt.NewClientOptions().AddBroker("tcp://" + g.Listen).SetClientID("sensor"))
	if tok := c.Connect(); !tok.WaitTimeout(10*time.Second) || tok.Error() != nil {
		t.Fatal(tok.Error())
	}
	defer c.Disconnect(100)
	const messages = 100
	for i := range messages {
		tok := c.Publish("dt/sensor", 1, false, fmt.Sprintf(`{"v":%d}`, i/10)) // 0 to 9
		if !tok.WaitTimeout(10*time.Second) || tok.Error() != nil {
			t.Fatal(tok.Error())
		}
	}
	want := []string{
		fmt.Sprintf(`ebbgate_queue_accepted_messages_total{queue="raw/up/cloud/telemetry"} %d`, messages),
		fmt.Sprintf(`ebbgate_queue_messages_total{fate="consumed",queue="raw/up/cloud/telemetry"} %d`, messages),
		fmt.Sprintf(`ebbgate_step_held_messages_total{queue="up/cloud/telemetry",step="deadband"} %d`, messages-2),
		`ebbgate_queue_messages_total{fate="delivered",queue="up/cloud/telemetry"} 2`,
	}
	said := ""
	if !until(20*time.Second, func() bool {
		_, said, _ = g.get("/metrics")
		for _, line := range want {
			if !strings.Contains(said, line) {
				return false
			}
		}
		return true
	}) {
		t.Errorf("the metrics lack one of\n%s\nthey are\n%s", strings.Join(want, "\n"), said)
	}
	if n := consumer.total.Load(); n != 2 {
		t.Errorf("%d messages arrived, want the first and the one with 6", n)
	}
}
