package scenario

import (
	"encoding/json"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/eclipse/paho.golang/paho"
	mqtt "github.com/eclipse/paho.mqtt.golang"

	"github.com/ebbgate/ebbgate/internal/peers"
)

// alsoAt makes a consumer hear what arrives at a second broker, too.
func (w *cloud) alsoAt(t *testing.T, addr string) {
	t.Helper()
	w.hears(t, addr, "consumer")
}

// hears makes a consumer hear what arrives at a broker, by a client id.
func (w *cloud) hears(t *testing.T, addr, id string) {
	t.Helper()
	c := mqtt.NewClient(mqtt.NewClientOptions().AddBroker("tcp://" + addr).SetClientID(id).SetCleanSession(true).SetAutoReconnect(false))
	if tok := c.Connect(); !tok.WaitTimeout(10*time.Second) || tok.Error() != nil {
		t.Fatalf("%s: %v", id, tok.Error())
	}
	t.Cleanup(func() { c.Disconnect(100) })
	if tok := c.Subscribe("#", 1, w.take); !tok.WaitTimeout(10*time.Second) || tok.Error() != nil {
		t.Fatalf("%s: %v", id, tok.Error())
	}
}

// While one cloud is away another takes its messages, and gives them back: what
// was acknowledged is at one of the two.
func TestFailover(t *testing.T) {
	t.Parallel()
	first, second := peers.Mosquitto(t, peers.MosquittoOptions{}), peers.Mosquitto(t, peers.MosquittoOptions{})
	proxy := peers.NewProxy(t, first.Addr)
	both, atFirst, atSecond := watch(t, first.Addr), &cloud{}, &cloud{}
	both.alsoAt(t, second.Addr)
	atFirst.hears(t, first.Addr, "counter")
	atSecond.hears(t, second.Addr, "counter")
	g := newGateway(t, site{Endpoint: "mqtt://" + proxy.Addr, Set: []string{
		"upstreams.cloud.failover.to=standby", "upstreams.cloud.failover.after=1s", "upstreams.cloud.failover.back_after=1s",
		"upstreams.standby.endpoint=mqtt://" + second.Addr,
		"upstreams.standby.limits.messages_per_second=0", "upstreams.standby.limits.bytes_per_second=0",
	}})
	g.start()
	f := &fleet{devices: 5, window: 5, size: 100}
	f.start(t, g.Listen)
	more := func(w *cloud, what string) {
		t.Helper()
		from := w.total.Load()
		if !until(time.Minute, func() bool { return w.total.Load() > from+100 }) {
			t.Errorf("%s: nothing arrives", what)
		}
	}
	more(atFirst, "the first, at the start")
	proxy.Cut()
	more(atSecond, "the second, while the first is away")
	proxy.Restore()
	more(atFirst, "the first, when it is back")
	f.stop()
	if d := both.await(&f.acked, 20*time.Second); d.Lost > 0 {
		t.Errorf("%d acknowledged messages are at neither, such as %v", d.Lost, d.Sample)
	}
	if log := second.Log(); !strings.Contains(log, " as site-1-standby-for-cloud (") || strings.Contains(log, " as site-1-standby (") {
		t.Error("the second, to which no route leads, had a connection of its own, or not the one that takes over")
	}
	if code := g.stop(); code != 0 {
		t.Errorf("exit code %d after SIGTERM, want 0", code)
	}
}

// A gateway in a DMZ passes on what one behind it sends: the hops are counted,
// and with an envelope the first device stays known.
func TestGatewaysInAChain(t *testing.T) {
	t.Parallel()
	broker := peers.Mosquitto(t, peers.MosquittoOptions{})
	type arrival struct {
		payload []byte
		hops    string
	}
	arrived := make(chan arrival, 100)
	nc, err := net.Dial("tcp", broker.Addr)
	if err != nil {
		t.Fatal(err)
	}
	c := paho.NewClient(paho.ClientConfig{Conn: nc, OnPublishReceived: []func(paho.PublishReceived) (bool, error){func(r paho.PublishReceived) (bool, error) {
		arrived <- arrival{r.Packet.Payload, r.Packet.Properties.User.Get("ebb-hops")}
		return true, nil
	}}})
	if _, err := c.Connect(t.Context(), &paho.Connect{ClientID: "consumer", KeepAlive: 60, CleanStart: true}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Disconnect(&paho.Disconnect{}) })
	if _, err := c.Subscribe(t.Context(), &paho.Subscribe{Subscriptions: []paho.SubscribeOptions{{Topic: "dt/#", QoS: 1}}}); err != nil {
		t.Fatal(err)
	}
	dmz := newGateway(t, site{Endpoint: "mqtt://" + broker.Addr, Set: []string{"routes.up[0].origin=none", "gateway.id=dmz"}})
	dmz.start()
	inside := newGateway(t, site{Endpoint: "mqtt://" + dmz.Listen, Set: []string{"routes.up[0].origin=envelope"}})
	inside.start()
	f := &fleet{devices: 1, messages: 3, window: 1, size: 100}
	f.start(t, inside.Listen)
	if !f.wait(time.Minute) {
		t.Fatal("the messages were not acknowledged")
	}
	for range 3 {
		select {
		case a := <-arrived:
			var said struct {
				Device string `json:"device"`
				Topic  string `json:"topic"`
			}
			if err := json.Unmarshal(a.payload, &said); err != nil || said.Device == "" || said.Device == "site-1-cloud" || a.hops != "2" {
				t.Errorf("arrived %s after %q gateways: %v", a.payload, a.hops, err)
			}
		case <-time.After(time.Minute):
			t.Fatal("nothing arrives at the cloud")
		}
	}
}
