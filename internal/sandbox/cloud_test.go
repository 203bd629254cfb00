package sandbox

import (
	"context"
	"fmt"
	"log/slog"
	"testing"
	"time"

	"github.com/eclipse/paho.golang/paho"

	"github.com/ebbgate/ebbgate/bridge"
	"github.com/ebbgate/ebbgate/internal/peers"
	"github.com/ebbgate/ebbgate/localbroker"
)

func openCloud(t *testing.T, o Options) *Cloud {
	t.Helper()
	c, err := Open(o, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	peers.Run(t, c.Run)
	return c
}

// client connects to the cloud as a gateway does.
func client(t *testing.T, c *Cloud) (*paho.Client, *paho.Connack) {
	t.Helper()
	conn := dial(t, c.Addr())
	p := paho.NewClient(paho.ClientConfig{Conn: conn, PacketTimeout: time.Second})
	ack, err := p.Connect(t.Context(), &paho.Connect{ClientID: "gateway", CleanStart: true, KeepAlive: 60})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = conn.Close()
		<-p.Done()
	})
	return p, ack
}

func publish(p *paho.Client, topic, payload string) (byte, error) {
	r, err := p.Publish(context.Background(), &paho.Publish{QoS: 1, Topic: topic, Payload: []byte(payload)})
	if r == nil {
		return 0, err
	}
	return r.ReasonCode, err
}

func TestCloudRecordsWhatArrives(t *testing.T) {
	c := openCloud(t, Options{Identify: byColon, Units: func(*bridge.Message) int64 { return 2 }})
	p, ack := client(t, c)
	if rm := ack.Properties.ReceiveMaximum; rm == nil || *rm != 100 {
		t.Errorf("Receive Maximum %v, want 100", rm)
	}
	for _, m := range []string{"a:1", "a:2", "a:2", "hello"} {
		if code, err := publish(p, "dt/a", m); err != nil {
			t.Fatalf("%s: 0x%02x %v", m, code, err)
		}
	}
	if got := c.Arrivals().Counts(); got.Distinct != 2 || got.Duplicates != 1 || got.Others != 1 || got.FirstUnits != 6 {
		t.Errorf("%+v", got)
	}
	if code, _ := publish(p, "1/2/3/4/5/6/7/8/9", "x"); code != 0x90 {
		t.Errorf("8 slashes answered with 0x%02x, want 0x90", code)
	}
	c.Gate().Cut()
	select {
	case <-p.Done():
	case <-time.After(soon):
		t.Error("the client did not feel the cut")
	}
}

func TestCloudKeepsTheRateUnlessLifted(t *testing.T) {
	flood := func(c *Cloud) {
		p, _ := client(t, c)
		for i := range 300 {
			_, err := p.Publish(t.Context(), &paho.Publish{QoS: 0, Topic: "t", Payload: fmt.Appendf(nil, "a:%d", i+1)})
			if err != nil {
				t.Fatal(err)
			}
		}
		if _, err := p.Publish(t.Context(), &paho.Publish{QoS: 0, Topic: "end"}); err != nil {
			t.Fatal(err)
		}
	}
	free := openCloud(t, Options{Identify: byColon, NoLimits: true})
	flood(free)
	for deadline := time.Now().Add(soon); free.Arrivals().Counts().Distinct < 300; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("without limits: %+v", free.Arrivals().Counts())
		}
	}
	limited := openCloud(t, Options{Identify: byColon})
	flood(limited)
	for deadline := time.Now().Add(soon); len(limited.Discarded()) == 0; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("with limits: %+v, nothing discarded", limited.Arrivals().Counts())
		}
	}
}

func TestCloudGivesBackItsPorts(t *testing.T) {
	c, err := Open(Options{}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Close(); err != nil {
		t.Error(err)
	}
	taken := peers.Echo(t)
	if _, err := Open(Options{Address: taken}, slog.New(slog.DiscardHandler)); err == nil {
		t.Error("opened on a port that is in use")
	}
}

// policies decide about publishes and retained ones.
type policies struct{ anybody }

func (policies) Grants(*bridge.Principal) (bridge.Grants, error) { return policies{}, nil }

func (policies) Decide(r bridge.Request) bridge.Decision {
	return bridge.Decision{Allowed: r.Action != bridge.ActionRetainPublish && r.Name != "secret", Reason: "says the test"}
}

// TestStandIn: without a gate devices reach the broker, and the policy decides
// as in a gateway; a second listener is the same cloud.
func TestStandIn(t *testing.T) {
	c := openCloud(t, Options{
		NoGate: true, Identities: anybody{}, Authorizer: policies{}, Beside: map[string]string{"ws": "127.0.0.1:0"},
		Listener: func(l *localbroker.ListenerOptions) { l.Quotas.PublishesPerSecond = 3 },
	})
	if c.Gate() != nil || c.Addr() == c.Beside("ws") {
		t.Errorf("gate %v, %s beside %s", c.Gate(), c.Addr(), c.Beside("ws"))
	}
	p, _ := client(t, c)
	retained, _ := p.Publish(t.Context(), &paho.Publish{QoS: 1, Topic: "t", Payload: []byte("x"), Retain: true})
	if retained == nil || retained.ReasonCode != 0x87 {
		t.Errorf("a retained PUBLISH without iot:RetainPublish: %+v", retained)
	}
	for i, want := range []byte{0x87, 0, 0x97} {
		topic := "t"
		if i == 0 {
			topic = "secret"
		}
		if code, _ := publish(p, topic, "x"); code != want {
			t.Errorf("PUBLISH %d to %s: 0x%02x, want 0x%02x", i, topic, code, want)
		}
	}
	if got := c.Arrivals().Counts().Messages; got != 1 {
		t.Errorf("%d messages have arrived", got)
	}
	for _, q := range c.Broker().Quotas {
		if q.Quota == "Q06" && q.Enforced != 1 {
			t.Errorf("%+v", q)
		}
	}
}
