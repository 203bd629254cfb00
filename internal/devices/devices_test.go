package devices

import (
	"context"
	"fmt"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/eclipse/paho.golang/packets"
	"github.com/eclipse/paho.golang/paho"
	"go.uber.org/goleak"

	"github.com/ebbgate/ebbgate/internal/peers"
	"github.com/ebbgate/ebbgate/internal/tally"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const patience = 30 * time.Second

// collect subscribes to everything at a broker, and returns what arrives.
func collect(t *testing.T, addr string) (arrived *tally.Set, late func() int) {
	t.Helper()
	arrived = &tally.Set{}
	var mu sync.Mutex
	outOfOrder := 0
	conn := dialTCP(t, addr)
	client := paho.NewClient(paho.ClientConfig{Conn: conn, OnPublishReceived: []func(paho.PublishReceived) (bool, error){
		func(p paho.PublishReceived) (bool, error) {
			if series, n, ok := Identify(p.Packet.Payload); ok && arrived.Add(series, n) == tally.Late {
				mu.Lock()
				outOfOrder++
				mu.Unlock()
			}
			return true, nil
		},
	}})
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if _, err := client.Connect(ctx, &paho.Connect{ClientID: "collector", CleanStart: true, KeepAlive: 60}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Disconnect(&paho.Disconnect{}) })
	if _, err := client.Subscribe(ctx, &paho.Subscribe{Subscriptions: []paho.SubscribeOptions{{Topic: "#", QoS: 1}}}); err != nil {
		t.Fatal(err)
	}
	return arrived, func() int {
		mu.Lock()
		defer mu.Unlock()
		return outOfOrder
	}
}

// start runs a fleet until the test ends.
func start(t *testing.T, o Options) *Fleet {
	t.Helper()
	f, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	peers.Run(t, f.Run)
	return f
}

func await(t *testing.T, what string, ok func() bool) {
	t.Helper()
	deadline := time.After(patience)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("%s: not within %s", what, patience)
		}
	}
}

func TestFleetThroughCutsLosesNothing(t *testing.T) {
	broker := peers.Mosquitto(t, peers.MosquittoOptions{})
	link := peers.NewProxy(t, broker.Addr)
	arrived, late := collect(t, broker.Addr)
	f := start(t, Options{Address: link.Addr, Count: 5, Messages: 2000, Window: 20, Payload: 128, BigEvery: 50, BigBytes: 6000})
	for i := range 4 {
		await(t, "progress", func() bool { return f.Stats().Acked > int64(i+1)*1500 })
		if i%2 == 0 {
			link.Reset()
		} else {
			link.Cut()
			link.Restore()
		}
	}
	select {
	case <-f.Done():
	case <-time.After(patience):
		t.Fatalf("not done: %+v", f.Stats())
	}
	await(t, "arrival", func() bool { return arrived.Len() >= 10_000 })
	s := f.Stats()
	if d := tally.Compare(f.Acked(), arrived); d.Lost != 0 || s.Acked != 10_000 || s.Sent != 10_000 {
		t.Errorf("%+v, stats %+v", d, s)
	}
	if s.Reconnects == 0 || s.Resent == 0 {
		t.Errorf("stats %+v: the cuts were not felt", s)
	}
	if n := late(); n != 0 {
		t.Errorf("%d first arrivals out of order", n)
	}
}

func TestAlarmAndBrokenPolicy(t *testing.T) {
	broker := peers.Mosquitto(t, peers.MosquittoOptions{ACL: []string{"topic readwrite alarm/#", "pattern write dt/%c/#", "topic read #"}})
	arrived, _ := collect(t, broker.Addr)
	f := start(t, Options{Address: broker.Addr, Count: 2, Window: 5, Payload: 64, Interval: 20 * time.Millisecond})
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := f.Alarm(ctx, 1); err != nil {
		t.Fatal(err)
	}
	await(t, "the alarm", func() bool { return arrived.Has("sim-02!", 1) })
	var got Refusal
	for range 3 { // the connection may end before the answer comes: it is asked again
		var err error
		if got, err = f.Break(ctx, 0); err != nil {
			t.Fatal(err)
		}
		if got.Code != 0 {
			break
		}
	}
	if got.Device != "sim-01" || got.Topic != "dt/not-sim-01/temperature" || got.Code != 0x87 {
		t.Errorf("refusal %+v, want 0x87", got)
	}
	await(t, "telemetry after it", func() bool { return arrived.Has("sim-01", 3) })
}

func TestBreakOfAnAbsentDeviceEnds(t *testing.T) {
	f := start(t, Options{Address: "127.0.0.1:1", Count: 1, Window: 1})
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := f.Break(ctx, 0); err == nil {
		t.Error("an absent device answered")
	}
}

func TestPaceHoldsAndReleases(t *testing.T) {
	broker := peers.Mosquitto(t, peers.MosquittoOptions{})
	f, err := New(Options{Address: broker.Addr, Count: 3, Messages: 50, Window: 10, Payload: 64})
	if err != nil {
		t.Fatal(err)
	}
	f.Pace(0, 20)
	stop := peers.Run(t, f.Run)
	await(t, "the first 20 each", func() bool { return f.Stats().Acked == 60 })
	f.Pace(time.Millisecond, 30)
	await(t, "10 more each", func() bool { return f.Stats().Acked == 90 })
	f.Pace(0, 1000)
	select {
	case <-f.Done():
	case <-time.After(patience):
		t.Error("not done")
	}
	if s := f.Stats(); s.Sent != 150 {
		t.Errorf("stats %+v, want 150 sent", s)
	}
	stop()
}

func TestIdentify(t *testing.T) {
	m, a := telemetry("sim-01", 17, 300), alarm("sim-02", 3)
	if len(m.payload) != 300 {
		t.Errorf("payload of %d bytes, want 300", len(m.payload))
	}
	for _, c := range []struct {
		name, payload, series string
		number                uint64
		ok                    bool
	}{
		{"telemetry", string(m.payload), "sim-01", 17, true},
		{"alarm", string(a.payload), "sim-02!", 3, true},
		{"in an envelope", fmt.Sprintf(`{"device":"sim-01","id":"00ff","payload":%s}`, m.payload), "sim-01", 17, true},
		{"a person's message", `hello`, "", 0, false},
		{"another id", `{"id":"x"}`, "", 0, false},
		{"number 0", `{"id":"x:0"}`, "", 0, false},
		{"no end", `{"id":"x:1`, "", 0, false},
	} {
		series, number, ok := Identify([]byte(c.payload))
		if series != c.series || number != c.number || ok != c.ok {
			t.Errorf("%s: %q %d %v", c.name, series, number, ok)
		}
	}
}

func FuzzIdentify(f *testing.F) {
	f.Add([]byte(`{"id":"sim-01:17"}`))
	f.Add([]byte(`"id":"""id":":1""id":"a:1"`))
	f.Fuzz(func(t *testing.T, payload []byte) {
		series, number, ok := Identify(payload)
		if ok != (series != "" && number > 0) {
			t.Fatalf("%q: %q %d %v", payload, series, number, ok)
		}
	})
}

func TestOptionsAreChecked(t *testing.T) {
	for _, o := range []Options{{}, {Count: 1}, {Count: 1, Window: 1001}, {Count: 10_001, Window: 1}} {
		if _, err := New(o); err == nil {
			t.Errorf("%+v accepted", o)
		}
	}
}

func TestSessionReportsStrayAcks(t *testing.T) {
	a := newAcks(1)
	p := packets.NewControlPacket(packets.PUBACK)
	if err := a.PacketReceived(p, nil); err != nil {
		t.Fatal(err)
	}
	if err := a.PacketReceived(p, nil); err == nil {
		t.Error("a second acknowledgement had room")
	}
}

func dialTCP(t *testing.T, addr string) net.Conn {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	return conn
}
