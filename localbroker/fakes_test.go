package localbroker

import (
	"crypto/x509"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ebbgate/ebbgate/bridge"
	"github.com/ebbgate/ebbgate/internal/peers"
)

// rules is a policy: "action name" pairs that are denied, "*" at the end being
// a prefix. Everything else is allowed.
type rules struct {
	mu     sync.Mutex
	denied []string
	asked  []bridge.Request
}

func (r *rules) deny(what ...string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.denied = what
}

func (r *rules) Grants(p *bridge.Principal) (bridge.Grants, error) { return grants{r, p.ClientID}, nil }

type grants struct {
	*rules
	client string
}

func (g grants) Decide(q bridge.Request) bridge.Decision {
	g.mu.Lock()
	defer g.mu.Unlock()
	if len(g.asked) < 1000 {
		g.asked = append(g.asked, q)
	}
	for _, d := range g.denied {
		who, what, _ := strings.Cut(d, ": ")
		if what == "" {
			who, what = "", d
		}
		if who != "" && who != g.client {
			continue
		}
		text := string(q.Action) + " " + q.Name
		if q.Share != "" {
			text = string(q.Action) + " $share/" + q.Share + "/" + q.Name
		}
		if prefix, ok := strings.CutSuffix(what, "*"); text == what || ok && strings.HasPrefix(text, prefix) {
			return bridge.Decision{Reason: "denied by the test"}
		}
	}
	return bridge.Decision{Allowed: true}
}

// people is a registry in which the certificates of known may speak.
type people struct{ known map[string]bool }

func (p people) Certificate(c *x509.Certificate, clientID string, now time.Time) (bridge.Principal, error) {
	if !p.known[c.Subject.CommonName] || now.After(c.NotAfter) {
		return bridge.Principal{}, bridge.Errorf("certificate", bridge.NotAuthorized, "%s is not registered", c.Subject.CommonName)
	}
	return bridge.Principal{Thing: bridge.Thing{Name: clientID}, ThingAttached: true}, nil
}

func (p people) Named(user, _ string, policies []string) (bridge.Principal, error) {
	if slices.Contains(policies, "missing") {
		return bridge.Principal{}, bridge.Errorf("named", bridge.NotAuthorized, "denied: there is no policy missing")
	}
	return bridge.Principal{User: user, Policies: policies}, nil
}

// walk is an Ingester that keeps what it is given. Without a step it accepts at
// once; with one the step decides, when and how it likes.
type walk struct {
	shelf Shelf

	mu   sync.Mutex
	took []bridge.Message
	step func(m *bridge.Message, done func(error))
}

func (w *walk) Up(p *bridge.Principal, g bridge.Grants, m *bridge.Message, extend func(*bridge.Batch), done func(error)) {
	for _, q := range []bridge.Request{{Action: bridge.ActionPublish, Name: m.Topic}, {Action: bridge.ActionRetainPublish, Name: m.Topic}} {
		if q.Action == bridge.ActionRetainPublish && !m.Retain {
			continue
		}
		if !g.Decide(q).Allowed {
			op := bridge.OpPublish
			if q.Action == bridge.ActionRetainPublish {
				op = bridge.OpRetain
			}
			done(bridge.Errorf(op, bridge.NotAuthorized, "denied"))
			return
		}
	}
	w.Authorized(p, m, extend, done)
}

// Authorized commits what the broker keeps once the step has accepted.
func (w *walk) Authorized(_ *bridge.Principal, m *bridge.Message, extend func(*bridge.Batch), answer func(error)) {
	b := &bridge.Batch{}
	if extend != nil {
		extend(b)
	}
	done := func(err error) {
		if err != nil || b.Empty() {
			answer(err)
			return
		}
		w.shelf.Commit(b, func(_ bridge.Seq, err error) { answer(err) })
	}
	w.mu.Lock()
	w.took = append(w.took, *m)
	step := w.step
	w.mu.Unlock()
	if step == nil {
		done(nil)
		return
	}
	step(m, done)
}

func (w *walk) setStep(step func(m *bridge.Message, done func(error))) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.step = step
}

func (w *walk) topics() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	var out []string
	for _, m := range w.took {
		out = append(out, m.Topic)
	}
	return out
}

// house is a running broker with its fakes.
type house struct {
	*Broker
	tb    testing.TB
	rules *rules
	walk  *walk
	drops *bridge.DropLog
	ended chan string // reasons of ended connections
	no    chan string // reasons of refused ones
	clock *clock
	stop  func()
}

// clock is real time, shifted by the test.
type clock struct {
	mu    sync.Mutex
	shift time.Duration
	still *time.Time // real time does not pass, from here on
}

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.still != nil {
		return c.still.Add(c.shift)
	}
	return time.Now().Add(c.shift)
}

func (c *clock) advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.shift += d
}

// plain is an anonymous listener on a free port. In profile aws its quotas of
// pace are off: they would refuse a test's devices that come back within a
// second. paced has them.
func plain(profile string) ListenerOptions {
	o := paced(profile)
	if profile == profileAWS {
		o.Quotas.Pace = paceIgnore
	}
	return o
}

// paced is plain with the quotas of its profile as they are.
func paced(profile string) ListenerOptions {
	o := DefaultListenerOf(profile)
	o.Address = "127.0.0.1:0"
	return o
}

// profiles are the profiles with their own quotas.
func profiles() map[string]*profile {
	out := map[string]*profile{}
	for _, name := range []string{profileAWSEdge, profileAWS, profileMQTT} {
		out[name] = profileOf(DefaultListenerOf(name))
	}
	return out
}

// open starts a broker with these listeners; the test's end stops it.
func open(tb testing.TB, known people, ls ...ListenerOptions) *house {
	tb.Helper()
	return openWith(tb, known, func(*Deps) {}, ls...)
}

// openWith is open, with other dependencies.
func openWith(tb testing.TB, known people, change func(*Deps), ls ...ListenerOptions) *house {
	tb.Helper()
	return openOptions(tb, known, change, func(*Options) {}, ls...)
}

// openOptions is openWith, with other options.
func openOptions(tb testing.TB, known people, change func(*Deps), tune func(*Options), ls ...ListenerOptions) *house {
	tb.Helper()
	h := &house{tb: tb, rules: &rules{}, walk: &walk{}, drops: &bridge.DropLog{}, ended: make(chan string, 1000), no: make(chan string, 1000), clock: &clock{}}
	opts := DefaultOptions()
	opts.Listeners = ls
	tune(&opts)
	deps := Deps{
		Ingest: h.walk, Identities: known, Authorizer: h.rules, DropLog: h.drops,
		Log: slog.New(slog.DiscardHandler), Now: h.clock.now,
		Events: Events{
			Disconnected: func(_ SessionInfo, why string) { h.ended <- why },
			Refused:      func(_, why string) { h.no <- why },
		},
	}
	began := h.clock.now()
	deps.Shelf = NewMemory(func() time.Duration { return h.clock.now().Sub(began) + time.Hour })
	change(&deps)
	h.walk.shelf = deps.Shelf
	b, err := New(opts, deps)
	if err != nil {
		tb.Fatal(err)
	}
	if err := b.Listen(); err != nil {
		tb.Fatal(err)
	}
	h.Broker = b
	h.stop = peers.Run(tb, b.Run)
	return h
}

// addr is the address of the first listener.
func (h *house) addr() string { return h.listeners[0].addr().String() }

// dropped is the drop log's count of a reason.
func (h *house) dropped(reason string) (n int64) {
	for _, d := range h.drops.All() {
		if d.Reason == reason { // refused, or missed by a device
			n += d.Count
		}
	}
	return n
}

// patience is for a machine that has much else to do.
const patience = 30 * time.Second

// eventually waits for a condition that another goroutine brings about.
func eventually(tb testing.TB, what string, ok func() bool) {
	tb.Helper()
	deadline := time.Now().Add(patience)
	for !ok() {
		if time.Now().After(deadline) {
			tb.Fatalf("never: %s", what)
		}
		time.Sleep(time.Millisecond)
	}
}

// receive takes from a channel, within the test's patience.
func receive[T any](tb testing.TB, what string, ch <-chan T) T {
	tb.Helper()
	select {
	case v := <-ch:
		return v
	case <-time.After(patience):
		tb.Fatalf("never: %s", what)
		panic("unreachable")
	}
}

func nolog() *slog.Logger { return slog.New(slog.DiscardHandler) }
