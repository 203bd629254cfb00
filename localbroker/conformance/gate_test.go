package conformance

import (
	"flag"
	"io"
	"log/slog"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/ebbgate/ebbgate/bridge"
	"github.com/ebbgate/ebbgate/internal/peers"
	"github.com/ebbgate/ebbgate/localbroker"
	"github.com/ebbgate/ebbgate/policy"
	"github.com/ebbgate/ebbgate/rules"
	"github.com/ebbgate/ebbgate/spool"
)

func TestMain(m *testing.M) {
	peers.InMemory()
	// They wait more than they compute. Who says -parallel is heard: flags are read
	// after this.
	if err := flag.Set("test.parallel", "4"); err != nil {
		panic(err)
	}
	goleak.VerifyTestMain(m)
}

// gate is a gateway without its uplink: broker, walk, spool and policy.
type gate struct {
	*localbroker.Broker
	tb      testing.TB
	options localbroker.Options
	drops   *bridge.DropLog
	clock   *clock
	ended   chan string // reasons of ended connections
	refused chan string // reasons of refused CONNECTs
	cloud   atomic.Bool // whether it is connected
	stop    func()

	store *spool.Spool
}

// setup is what a test may change of a gate before it opens.
type setup struct {
	broker localbroker.Options
	spool  spool.Options
	routes rules.Options
	policy policy.Options
	router func(bridge.Router) bridge.Router // put between walk and routes; nil: nothing

	families func(*gate, localbroker.Shelf) []localbroker.Family // services with topics of their own; nil: none
	clock    *clock                                              // of an earlier gate on the same spool; nil: a new one
}

// lan is the listener that tests speak to.
func (s *setup) lan() *localbroker.ListenerOptions { return &s.broker.Listeners[0] }

// slowly makes every accepted message wait for the spool, d long, so that a
// test can look between a PUBLISH and its PUBACK.
func slowly(d time.Duration) func(*setup) { return routed("#", d) }

// routed has a route for what a filter matches, whose messages the spool takes
// so long to commit.
func routed(from string, d time.Duration) func(*setup) {
	return func(s *setup) {
		r := rules.DefaultUpRoute()
		r.Name, r.From, r.Upstream = "up", from, "cloud"
		s.routes.Up = append(s.routes.Up, r)
		s.spool.CommitDelay = d
	}
}

// unpaced lifts the quotas of pace, for tests of something else that come to
// more than 100 messages in a second.
func unpaced(s *setup) { s.lan().Quotas.Pace = "ignore" }

// open starts a gate in profile aws; the test's end stops it.
func open(tb testing.TB, changes ...func(*setup)) *gate {
	tb.Helper()
	lan := localbroker.DefaultListenerOf("aws")
	lan.Address, lan.Policies = "127.0.0.1:0", []string{"device"}
	s := &setup{broker: localbroker.DefaultOptions(), spool: spool.DefaultOptions(), routes: rules.DefaultOptions(), policy: policy.DefaultOptions()}
	s.broker.Listeners = []localbroker.ListenerOptions{lan}
	s.broker.Broker.Quotas.ConnectsPerClientID = 1000 // a test comes back at once; B31 has AWS's
	s.spool.Dir, s.spool.Durability = tb.TempDir(), spool.OS
	s.policy.Things, s.policy.Policies = "testdata/things.yaml", "testdata/policies"
	for _, change := range changes {
		change(s)
	}
	if s.clock == nil {
		s.clock = &clock{began: time.Now()}
	}
	g := &gate{tb: tb, options: s.broker, drops: &bridge.DropLog{}, clock: s.clock, ended: make(chan string, 1000), refused: make(chan string, 1000)}
	log := slog.New(slog.DiscardHandler)
	store, err := spool.Open(s.spool, spool.Deps{Log: log, Health: &bridge.Health{}})
	if err != nil {
		tb.Fatal(err)
	}
	g.store = store
	tb.Cleanup(func() { closes(tb, store) })
	table, err := rules.Compile(s.routes)
	if err != nil {
		tb.Fatal(err)
	}
	engine := engines.load(tb, s.policy)
	routes := rules.NewRouter(table)
	var router bridge.Router = routes
	if s.router != nil {
		router = s.router(router)
	}
	var families []localbroker.Family
	shelf := aging{store, g.clock}
	if s.families != nil {
		families = s.families(g, shelf)
	}
	ingest := bridge.NewIngest(store, router, bridge.NewClock(store.Age, nil), nil, g.drops) // no cloud, no bill
	g.Broker, err = localbroker.New(s.broker, localbroker.Deps{
		Ingest: ingest, Identities: engine, Authorizer: engine, DropLog: g.drops, Log: log, Now: g.clock.now, Shelf: shelf, Families: families,
		Cloud: func(topic string) (routed, connected bool) {
			_, routed = routes.Takes(topic)
			return routed, g.cloud.Load()
		},
		Events: localbroker.Events{
			Disconnected: func(_ localbroker.SessionInfo, why string) { g.ended <- why },
			Refused:      func(_, why string) { g.refused <- why },
		},
	})
	if err != nil {
		tb.Fatal(err)
	}
	if err := g.Listen(); err != nil {
		tb.Fatal(err)
	}
	g.stop = peers.Run(tb, g.Run)
	return g
}

// both runs a test against a gate of its own for each version of MQTT, beside
// each other.
func both(t *testing.T, test func(t *testing.T, g *gate, version byte), changes ...func(*setup)) {
	t.Helper()
	for version, name := range map[byte]string{4: "3.1.1", 5: "5"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, open(t, changes...), version)
		})
	}
}

// loaded keeps one policy engine for all gates with the same options: reading
// and compiling the rules takes longer than a test.
type loaded struct {
	mu      sync.Mutex
	engines map[policy.Options]*policy.Engine
}

var engines = &loaded{engines: map[policy.Options]*policy.Engine{}}

func (l *loaded) load(tb testing.TB, o policy.Options) *policy.Engine {
	tb.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	if e := l.engines[o]; e != nil {
		return e
	}
	e, err := policy.Load(o)
	if err != nil {
		tb.Fatal(err)
	}
	l.engines[o] = e
	return e
}

// clock is real time, moved by the test, until the test stops it.
type clock struct {
	began time.Time

	mu    sync.Mutex
	shift time.Duration
	at    time.Time // of real time, when it was stopped; zero while it runs
}

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.at.IsZero() {
		return c.at.Add(c.shift)
	}
	return time.Now().Add(c.shift)
}

// stop leaves only advance to move the clock: for what is a matter of
// milliseconds.
func (c *clock) stop() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.at = time.Now()
}

func (c *clock) advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.shift += d
}

// aging is a spool that grows old as the test's clock says.
type aging struct {
	*spool.Spool
	clock *clock
}

func (a aging) Age() time.Duration { return a.clock.now().Sub(a.clock.began) }

// dropped is the drop log's count of a reason.
func (g *gate) dropped(reason string) int64 {
	for _, d := range g.drops.All() {
		if d.Reason == reason {
			return d.Count
		}
	}
	return 0
}

// wantEnd waits for the end of a connection and compares its reason.
func (g *gate) wantEnd(reason string) {
	g.tb.Helper()
	if got := receive(g.tb, "the end of a connection", g.ended); got != reason {
		g.tb.Fatalf("the connection ended by %q, want %q", got, reason)
	}
}

// wantRefusal waits for the refusal of a CONNECT and compares its reason.
func (g *gate) wantRefusal(reason string) {
	g.tb.Helper()
	if got := receive(g.tb, "the refusal of a CONNECT", g.refused); got != reason {
		g.tb.Fatalf("refused by %q, want %q", got, reason)
	}
}

// absent waits until a client id has no connection.
func (g *gate) absent(id string) {
	g.tb.Helper()
	eventually(g.tb, id+" is away", func() bool {
		for _, s := range g.Sessions() {
			if s.ClientID == id {
				return !s.Connected
			}
		}
		return true
	})
}

// patience is for a machine that has much else to do.
const patience = 30 * time.Second

// eventually waits for a condition that another goroutine brings about.
func eventually(tb testing.TB, what string, ok func() bool) {
	tb.Helper()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	deadline := time.Now().Add(patience)
	for !ok() {
		if time.Now().After(deadline) {
			tb.Fatalf("never: %s", what)
		}
		<-tick.C
	}
}

// receive takes from a channel, within the test's patience.
func receive[T any](tb testing.TB, what string, ch <-chan T) T {
	tb.Helper()
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case v := <-ch:
		return v
	case <-timer.C:
		tb.Fatalf("never: %s", what)
		panic("unreachable")
	}
}

func closes(tb testing.TB, c io.Closer) {
	tb.Helper()
	if err := c.Close(); err != nil {
		tb.Errorf("close: %v", err)
	}
}
