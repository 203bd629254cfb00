package localbroker

import (
	"context"
	"fmt"
	"net"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/eclipse/paho.golang/paho"
	paho3 "github.com/eclipse/paho.mqtt.golang"

	"github.com/ebbgate/ebbgate/internal/peers"
)

// TestPahoV5: a client library that nobody here wrote, with everything at once:
// last will, properties, persistent session.
func TestPahoV5(t *testing.T) {
	h := open(t, people{}, plain(profileAWS))
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	got := make(chan *paho.Publish, 10)
	connect := func(id string) (*paho.Client, *paho.Connack) {
		conn, err := net.Dial("tcp", h.addr())
		if err != nil {
			t.Fatal(err)
		}
		c := paho.NewClient(paho.ClientConfig{Conn: conn, OnPublishReceived: []func(paho.PublishReceived) (bool, error){
			func(r paho.PublishReceived) (bool, error) { got <- r.Packet; return true, nil },
		}})
		expiry := uint32(60)
		ack, err := c.Connect(ctx, &paho.Connect{
			ClientID: id, KeepAlive: 30, Properties: &paho.ConnectProperties{SessionExpiryInterval: &expiry},
			WillMessage: &paho.WillMessage{Topic: "will/" + id, Payload: []byte("gone"), QoS: 1},
		})
		if err != nil {
			t.Fatal(err)
		}
		return c, ack
	}
	sub, _ := connect("sub")
	if _, err := sub.Subscribe(ctx, &paho.Subscribe{Subscriptions: []paho.SubscribeOptions{{Topic: "t/+", QoS: 1}, {Topic: "will/#", QoS: 1}}}); err != nil {
		t.Fatal(err)
	}
	pub, ack := connect("pub")
	if ack.Properties.ReceiveMaximum == nil || *ack.Properties.ReceiveMaximum != 100 {
		t.Errorf("Receive Maximum %v", ack.Properties.ReceiveMaximum)
	}
	for i := range 5 {
		resp, err := pub.Publish(ctx, &paho.Publish{
			QoS: 1, Topic: fmt.Sprintf("t/%d", i), Payload: []byte("x"),
			Properties: &paho.PublishProperties{ContentType: "text/plain", User: paho.UserProperties{{Key: "k", Value: "v"}}},
		})
		if err != nil || resp.ReasonCode != 0 {
			t.Fatalf("publish: %v %+v", err, resp)
		}
	}
	for i := range 5 {
		p := receive(t, "a message", got)
		if p.Topic != fmt.Sprintf("t/%d", i) || p.Properties.ContentType != "text/plain" || p.Properties.User.Get("k") != "v" {
			t.Errorf("message %d: %+v", i, p)
		}
	}
	h.Kick("pub")
	if p := receive(t, "the will", got); p.Topic != "will/pub" {
		t.Errorf("got %+v", p)
	}
	if err := sub.Disconnect(&paho.Disconnect{}); err != nil {
		t.Error(err)
	}
}

// TestPahoV3: the 3.1.1 library, its own keep-alive and resumption included.
func TestPahoV3(t *testing.T) {
	h := open(t, people{}, plain(profileAWSEdge))
	got := make(chan string, 10)
	options := paho3.NewClientOptions().AddBroker("tcp://"+h.addr()).SetClientID("d").SetCleanSession(false).
		SetProtocolVersion(4).SetAutoReconnect(false).SetConnectTimeout(patience).SetBinaryWill("w", []byte("gone"), 1, false)
	wait := func(what string, token paho3.Token) {
		t.Helper()
		if !token.WaitTimeout(patience) || token.Error() != nil {
			t.Fatalf("%s: %v", what, token.Error())
		}
	}
	c := paho3.NewClient(options)
	wait("connect", c.Connect())
	wait("subscribe", c.Subscribe("t/#", 1, func(_ paho3.Client, m paho3.Message) { got <- string(m.Payload()) }))
	for i := range 3 {
		wait("publish", c.Publish("t/x", 1, false, fmt.Sprint(i)))
		if m := receive(t, "the message", got); m != fmt.Sprint(i) {
			t.Errorf("got %q", m)
		}
	}
	c.Disconnect(100)
	if topics := h.walk.topics(); slices.Contains(topics, "w") {
		t.Error("the will was published")
	}
}

// TestMosquittoClients: Debian's command line clients in both versions.
func TestMosquittoClients(t *testing.T) {
	pub, sub := peers.Need(t, "mosquitto_pub"), peers.Need(t, "mosquitto_sub")
	for _, version := range []string{"mqttv311", "mqttv5"} {
		t.Run(version, func(t *testing.T) {
			h := open(t, people{}, plain(profileAWS))
			host, port, err := net.SplitHostPort(h.addr())
			if err != nil {
				t.Fatal(err)
			}
			at := []string{"-h", host, "-p", port, "-V", version, "-q", "1", "-t", "dt/a"}
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			var out strings.Builder
			listen := exec.CommandContext(ctx, sub, append(at, "-C", "100", "-i", "sub")...)
			listen.Stdout = &out
			if err := listen.Start(); err != nil {
				t.Fatal(err)
			}
			eventually(t, "a subscription", func() bool { return len(h.Sessions()) == 1 && len(h.Sessions()[0].Filters) == 1 })
			var lines strings.Builder
			for i := range 100 {
				fmt.Fprintln(&lines, i)
			}
			give := exec.CommandContext(ctx, pub, append(at, "-l", "-i", "pub")...)
			give.Stdin = strings.NewReader(lines.String())
			if text, err := give.CombinedOutput(); err != nil {
				t.Fatalf("mosquitto_pub: %v: %s", err, text)
			}
			if err := listen.Wait(); err != nil {
				t.Fatalf("mosquitto_sub: %v", err)
			}
			if out.String() != lines.String() {
				t.Errorf("got %q", out.String())
			}
		})
	}
}
