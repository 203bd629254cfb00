package scenario

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	mqtt "github.com/eclipse/paho.mqtt.golang"

	"github.com/ebbgate/ebbgate/internal/peers"
)

// billed is the part of GET /api/v1/bill that is compared.
type billed struct {
	Lines []struct {
		Direction string `json:"direction"`
		Units     int64  `json:"units"`
		Uncertain int64  `json:"uncertain_units"`
		Socket    int64  `json:"socket_bytes"`
	} `json:"lines"`
}

// billRoutes adds a way down, QoS 0 and retained messages to the site.
func billRoutes(g *gateway) {
	before, err := os.ReadFile(g.configFile())
	if err != nil {
		g.tb.Fatal(err)
	}
	g.write("policies/fleet.json", `{"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "iot:*", "Resource": "*"}]}`)
	text := strings.Replace(string(before), `    - {name: telemetry, from: "dt/#", upstream: cloud, topic: "${topic}"}
`, `    - {name: quick, from: "dt/quick/#", upstream: cloud, qos: "0", origin: none}
    - {name: telemetry, from: "dt/#", upstream: cloud, retain: keep}
  down:
    - {name: commands, from: "cmd/#", upstream: cloud}
`, 1)
	// A machine that is busy must not look like a link that is dead.
	text = strings.NewReplacer("ack_timeout: 3s", "ack_timeout: 60s", "connect_timeout: 3s", "connect_timeout: 60s").Replace(text)
	g.write("ebbgate.yaml", text)
}

// bill reads the units and the uncertain ones by direction.
func (g *gateway) bill(t *testing.T) (units, uncertain map[string]int64) {
	t.Helper()
	_, body, err := g.get("/api/v1/bill?period=month")
	var b billed
	if err == nil {
		err = json.Unmarshal([]byte(body), &b)
	}
	if err != nil {
		t.Fatalf("the bill: %v", err)
	}
	units, uncertain = map[string]int64{}, map[string]int64{}
	for _, n := range b.Lines {
		units[n.Direction] += n.Units
		uncertain[n.Direction] += n.Uncertain
	}
	return units, uncertain
}

// talker connects to a broker and stays. Its messages are kept in files: a
// message that the client keeps in memory it marks as sent again while it may
// still be writing it, which the race detector sees on a busy machine.
func talker(t *testing.T, addr, id string) mqtt.Client {
	t.Helper()
	c := mqtt.NewClient(mqtt.NewClientOptions().AddBroker("tcp://" + addr).SetClientID(id).SetConnectRetry(true).
		SetAutoReconnect(true).SetStore(mqtt.NewFileStore(t.TempDir())).SetConnectRetryInterval(100 * time.Millisecond).SetMaxReconnectInterval(200 * time.Millisecond))
	if tok := c.Connect(); !tok.WaitTimeout(10*time.Second) || tok.Error() != nil {
		t.Fatalf("%s: %v", id, tok.Error())
	}
	t.Cleanup(func() { c.Disconnect(100) })
	return c
}

// takeAll takes what comes and looks at none of it.
func takeAll(t *testing.T, c mqtt.Client, filter string) {
	t.Helper()
	if tok := c.Subscribe(filter, 1, func(mqtt.Client, mqtt.Message) {}); !tok.WaitTimeout(10*time.Second) || tok.Error() != nil {
		t.Fatalf("subscribe to %s: %v", filter, tok.Error())
	}
}

// chatter is random traffic in both directions: sizes around the ends of metered
// messages, retained or not.
func chatter(t *testing.T, rnd *rand.Rand, device, cloud mqtt.Client, messages int) {
	t.Helper()
	var sent sync.WaitGroup
	for i := range messages {
		size := []int{0, 1, 240, 4900 + rnd.IntN(300), 10_100 + rnd.IntN(300), rnd.IntN(20_000)}[rnd.IntN(6)]
		topic, from := fmt.Sprintf("dt/a/%d", rnd.IntN(5)), device
		switch rnd.IntN(4) {
		case 0:
			topic = "dt/quick/b"
		case 1:
			topic, from = "cmd/x", cloud
		}
		retain := topic[:4] == "dt/a" && rnd.IntN(8) == 0
		tok := from.Publish(topic, 1, retain, make([]byte, size))
		sent.Go(func() { tok.WaitTimeout(time.Minute) })
		if i%50 == 0 {
			tok.WaitTimeout(time.Minute) // the two clients stay near each other
		}
	}
	sent.Wait()
}

// settled waits until nothing waits and the bill stands still at the end of it.
func (g *gateway) settled(t *testing.T, enough func() bool) {
	t.Helper()
	empty := func() bool {
		_, body, err := g.get("/api/v1/status")
		var s struct {
			Spool struct {
				Depth int64 `json:"depth"`
			} `json:"spool"`
			Upstreams []struct {
				InFlight int64 `json:"in_flight"`
			} `json:"upstreams"`
		}
		return err == nil && json.Unmarshal([]byte(body), &s) == nil && s.Spool.Depth == 0 && s.Upstreams[0].InFlight == 0
	}
	if !until(2*time.Minute, func() bool { return empty() && enough() }) {
		t.Error("the bill did not settle")
	}
}

// U1: where nothing crashed, the bill is what a recorder between gateway and
// cloud counts, to the unit, in both directions and for the connections.
func TestTheBillIsWhatARecorderCounts(t *testing.T) {
	t.Parallel()
	rnd := dice(t)
	broker := peers.Mosquitto(t, peers.MosquittoOptions{})
	r := newBillRecorder(t, broker.Addr)
	g := newGateway(t, site{Endpoint: "mqtt://" + r.Addr})
	billRoutes(g)
	g.start()
	lan := talker(t, g.Listen, "device-1")
	takeAll(t, lan, "cmd/#")
	r.linked(t)
	chatter(t, rnd, lan, talker(t, broker.Addr, "operator"), scaled(5000, 800))
	var units, uncertain map[string]int64
	g.settled(t, func() bool {
		units, uncertain = g.bill(t)
		return units["up"] == r.counted("up") && units["down"] == r.counted("down")
	})
	for _, direction := range []string{"up", "down", "link"} {
		if got, want := units[direction], r.counted(direction); got != want || got == 0 || uncertain[direction] != 0 {
			t.Errorf("%s: %d units and %d uncertain, the recorder counted %d", direction, got, uncertain[direction], want)
		}
	}
	t.Logf("%v", units)
	if code := g.stop(); code != 0 {
		t.Fatalf("exit %d", code)
	}
	r.settled(t)
	if got, want := g.socketBytes(t), r.carried(); got != want {
		t.Errorf("%d bytes at the sockets, the recorder carried %d", got, want)
	}
}

// socketBytes reads the bytes at the sockets from the spool of a gateway that has
// stopped.
func (g *gateway) socketBytes(t *testing.T) (n int64) {
	t.Helper()
	out, err := exec.Command(binary(t), "bill", "--config", g.configFile(), "--json", "--month").Output()
	var b struct{ Month billed }
	if err == nil {
		err = json.Unmarshal(out, &b)
	}
	if err != nil {
		t.Fatalf("the bill of the spool: %v", err)
	}
	for _, l := range b.Month.Lines {
		n += l.Socket
	}
	return n
}

// U1: with kills and cuts the recorder's count lies between what was delivered
// and that with what is uncertain.
func TestTheBillBoundsWhatARecorderCounts(t *testing.T) {
	t.Parallel()
	rnd := dice(t)
	broker := peers.Mosquitto(t, peers.MosquittoOptions{})
	r := newBillRecorder(t, broker.Addr)
	g := newGateway(t, site{Endpoint: "mqtt://" + r.Addr})
	billRoutes(g)
	g.start()
	lan := talker(t, g.Listen, "device-1")
	takeAll(t, lan, "cmd/#")
	r.linked(t)
	operator := talker(t, broker.Addr, "operator")
	for range scaled(10, 3) {
		var talk sync.WaitGroup
		own := rand.New(rand.NewPCG(rnd.Uint64(), 0))
		talk.Go(func() { chatter(t, own, lan, operator, 600) })
		before := r.counted("up")
		until(20*time.Second, func() bool { return r.counted("up") > before+int64(100+rnd.IntN(100)) })
		r.cut()
		before = r.counted("up")
		until(20*time.Second, func() bool { return r.counted("up") > before+50 })
		g.kill()
		g.start()
		talk.Wait()
	}
	var units, uncertain map[string]int64
	within := func(direction string) bool {
		n := r.counted(direction)
		return units[direction] <= n && n <= units[direction]+uncertain[direction]
	}
	g.settled(t, func() bool {
		units, uncertain = g.bill(t)
		return within("up") && within("down") && within("link")
	})
	for _, direction := range []string{"up", "down", "link"} {
		if !within(direction) {
			t.Errorf("%s: the recorder counted %d, outside %d to %d", direction, r.counted(direction), units[direction], units[direction]+uncertain[direction])
		}
		t.Logf("%s: %d delivered, %d counted, %d uncertain", direction, units[direction], r.counted(direction), uncertain[direction])
	}
}
