package conformance

import (
	"log/slog"
	"path/filepath"
	"sync"
	"testing"
	"time"

	mqtt "github.com/eclipse/paho.mqtt.golang"

	"github.com/ebbgate/ebbgate/bridge"
	"github.com/ebbgate/ebbgate/internal/peers"
	"github.com/ebbgate/ebbgate/internal/sandbox"
	"github.com/ebbgate/ebbgate/localbroker"
	"github.com/ebbgate/ebbgate/localbroker/delivery"
)

// yard is a gate that delivers streams: those defined there, and those of a
// sandbox cloud.
type yard struct {
	*gate
	service *delivery.Service
	library *delivery.Library
	sandbox *sandbox.Cloud // nil without
	uplink  *streamUplink
	profile string
	dir     string
	changes []func(*delivery.Options)
	end     func()
}

// openYard starts one; the test's end stops it.
func openYard(t *testing.T, profile string, cloudy bool, changes ...func(*delivery.Options)) *yard {
	t.Helper()
	y := &yard{profile: profile, dir: t.TempDir(), changes: changes}
	if cloudy {
		y.sandbox = openSandbox(t)
		y.uplink = &streamUplink{t: t, addr: y.sandbox.Addr()}
	}
	y.start(t, nil)
	return y
}

// start opens a yard on its folder.
func (y *yard) start(t *testing.T, at *clock) {
	t.Helper()
	o := delivery.DefaultOptions()
	o.Enabled, o.Dir = true, filepath.Join(y.dir, "streams")
	for _, change := range y.changes {
		change(&o)
	}
	log := slog.New(slog.DiscardHandler)
	y.library = delivery.OpenLibrary(o.Dir)
	deps := delivery.Deps{Library: y.library, Drops: &bridge.DropLog{}, Health: &bridge.Health{}, Log: log}
	if y.sandbox != nil {
		o.Cloud.Recheck, o.Cloud.Timeout = 0, 5*time.Second
		cache, err := delivery.OpenCache(o.Dir, y.uplink.addr, 1<<30)
		if err != nil {
			t.Fatal(err)
		}
		up := at == nil || y.uplink.Up()
		y.link(false)
		y.uplink.client = delivery.NewClient("gateway", delivery.CBOR, y.uplink)
		y.link(up)
		deps.Cloud = delivery.NewCloud(o.Cloud, y.uplink.client, cache, deps.Health, log)
	}
	y.service = delivery.New(o, deps)
	y.gate = open(t, func(s *setup) {
		lan := localbroker.DefaultListenerOf("aws-edge")
		if y.profile != "" {
			lan = localbroker.DefaultListenerOf(y.profile)
		}
		lan.Address, lan.Policies = "127.0.0.1:0", []string{"device"}
		s.broker.Listeners[0] = lan
		s.spool.Dir, s.clock = filepath.Join(y.dir, "spool"), at
		s.families = func(*gate, localbroker.Shelf) []localbroker.Family { return []localbroker.Family{y.service} }
	})
	y.service.Reach(y.gate)
	y.end = sync.OnceFunc(func() {
		y.service.Close()
		y.stop()
		if deps.Cloud != nil {
			deps.Cloud.Close()
		}
		closes(t, y.store)
	})
	t.Cleanup(y.end)
}

// restart stops the yard and starts it again on the same folder; the cloud goes on.
func (y *yard) restart(t *testing.T) {
	t.Helper()
	at := y.clock
	y.end()
	y.start(t, at)
}

func openSandbox(t *testing.T) *sandbox.Cloud {
	t.Helper()
	c, err := sandbox.Open(sandbox.Options{NoLimits: true}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	peers.Run(t, c.Run)
	return c
}

// link cuts the connection to the cloud, or makes it anew.
func (y *yard) link(up bool) {
	if up == y.uplink.Up() {
		return
	}
	if !up {
		y.uplink.mqtt.Disconnect(50)
		y.uplink.mqtt = nil
		return
	}
	y.uplink.connect()
}

// streamUplink is the gateway's connection to the cloud, by a client that is not
// ours.
type streamUplink struct {
	t      *testing.T
	addr   string
	client *delivery.Client
	mqtt   mqtt.Client // nil while it is cut; changed between steps only
}

func (u *streamUplink) connect() {
	u.t.Helper()
	c := mqtt.NewClient(mqtt.NewClientOptions().AddBroker("tcp://" + u.addr).SetClientID("gateway").SetAutoReconnect(false))
	wait := func(tok mqtt.Token) {
		u.t.Helper()
		if !tok.WaitTimeout(patience) || tok.Error() != nil {
			u.t.Fatalf("the cloud: %v", tok.Error())
		}
	}
	wait(c.Connect())
	for _, f := range delivery.Filters("gateway", delivery.CBOR) {
		wait(c.Subscribe(f, 1, func(_ mqtt.Client, m mqtt.Message) {
			u.client.Take(&bridge.Message{Topic: m.Topic(), Payload: m.Payload()})
		}))
	}
	u.mqtt = c
	u.t.Cleanup(func() { c.Disconnect(50) })
}

// Up implements delivery.Transport.
func (u *streamUplink) Up() bool { return u.mqtt != nil }

// Publish implements delivery.Transport.
func (u *streamUplink) Publish(m *bridge.Message) error {
	return u.mqtt.Publish(m.Topic, 0, false, m.Payload).Error()
}
