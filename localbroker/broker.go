package localbroker

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"net"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ebbgate/ebbgate/bridge"
)

// Ingester is the walk of what devices publish. [bridge.Ingest] implements it.
// extend is called at most once, before the call returns: it adds what the
// broker keeps of the message to the batch that is committed to Deps.Shelf, and
// an empty batch needs no commit. done is called exactly once, from any
// goroutine, when that is durable, and is not blocked.
type Ingester interface {
	Up(p *bridge.Principal, g bridge.Grants, m *bridge.Message, extend func(*bridge.Batch), done func(error))
	Authorized(p *bridge.Principal, m *bridge.Message, extend func(*bridge.Batch), done func(error))
}

// Deps are what the broker works with. All but Shelf, Now, Events, Cloud, Families and
// Health are required.
type Deps struct {
	Ingest     Ingester
	Shelf      Shelf // where Ingest commits; nil: sessions end with the process
	Identities Identities
	Authorizer bridge.Authorizer
	DropLog    *bridge.DropLog
	Log        *slog.Logger
	Now        func() time.Time // nil: time.Now
	Events     Events
	Health     *bridge.Health // nil: nobody looks; warnings go to the log

	// Cloud says whether a route takes a topic to an upstream, and whether
	// that is connected now. It must not block. nil: there is no cloud.
	Cloud func(topic string) (routed, connected bool)

	// Families have topics of their own; where two own one, the first has it.
	Families []Family

	// Version is what $SYS/broker/version tells; empty: "dev".
	Version string

	// WillCheck says when a will's topic is asked about: "connect", "fire" or,
	// also when empty, "both".
	WillCheck string
}

// Events are optional callbacks, for metrics. They run on the connection's
// goroutine and must not block.
type Events struct {
	Subscribed   func(SessionInfo)               // a SUBSCRIBE was answered
	Connected    func(SessionInfo)               // CONNACK success was sent
	Disconnected func(c SessionInfo, why string) // an established connection ended
	Refused      func(listener, why string)      // a CONNECT or a socket was refused
}

// Broker is the LAN side of the gateway. Its methods may be called
// concurrently.
type Broker struct {
	ingest     Ingester
	identities Identities
	authorizer bridge.Authorizer
	drops      *bridge.DropLog
	log        *slog.Logger
	quiet      *quietLog
	now        func() time.Time
	made       time.Time // by now
	events     Events
	memory     MemoryOptions
	quotas     *quotas
	health     *bridge.Health
	willCheck  string

	cloud       func(topic string) (routed, connected bool)
	hasCloud    bool
	passThrough *passThrough
	families    []Family
	announcer   *announcer
	lifecycle   *lifecycle

	listeners []*listener
	serving   sync.WaitGroup // goroutines that accept
	index     index
	store     *store
	sessions  registry
	groups    groups
	retained  *retained
	reading   chan struct{} // who reads the shelf now
	courier   courier       // carries what no connection gave
	wills     overdue
	spill     int // see spillSize

	requests   requests    // over HTTP
	departures *departures // nil without a listener that tells of them

	connected atomic.Int64 // devices
	sockets   atomic.Int64 // open ones of all listeners
	queued    queueMemory  // what waits for devices, of all sessions
	holding   atomic.Int64 // connections that hold a message
	greetings atomic.Int64 // bytes of CONNECTs under way

	generation  atomic.Uint64 // of the policy: grants answered otherwise before it
	enforcing   sync.Mutex    // one Enforce at a time
	policyEnded atomic.Int64  // connections that a change of policy ended
	authErrors  authErrors
	silences    silences
	traffic     traffic
	sys         *sys
}

const (
	sweepEvery  = time.Second
	stopTimeout = 3 * time.Second
)

// New makes a broker, with the sessions and retained messages that the shelf
// has. It reads the certificates and users that the options name; an error is an
// *bridge.Error with a remedy. Nothing listens yet.
func New(opts Options, deps Deps) (*Broker, error) {
	opts = opts.withDefaults()
	b := &Broker{
		identities: deps.Identities, authorizer: deps.Authorizer,
		drops: deps.DropLog, log: deps.Log, quiet: newQuietLog(deps.Log), now: deps.Now, events: deps.Events,
		memory: opts.Broker, health: deps.Health, families: deps.Families, willCheck: cmp.Or(deps.WillCheck, willBoth),
	}
	if b.now == nil {
		b.now = time.Now
	}
	b.queued.total = int64(opts.Broker.MemoryQueueSize)
	b.quotas = newQuotas(opts.Broker.Quotas, b.now)
	b.made = b.now()
	b.groups = groups{broker: b, byName: map[string]*group{}}
	b.sessions = registry{broker: b, byID: map[string]*session{}}
	b.store = newStore(b.shelf(deps.Shelf), b.quiet, b.drops)
	b.reading = make(chan struct{}, readers)
	b.courier.guard = b.guard
	b.spill = spillSize
	b.retained = newRetained(opts.retainedBounds(), b.store)
	b.cloud, b.hasCloud = deps.Cloud, deps.Cloud != nil
	if !b.hasCloud {
		b.cloud = func(string) (bool, bool) { return false, false }
	}
	b.sys = newSys(b, deps.Version)
	b.announcer = &announcer{broker: b, queue: make(chan announcement, announcements)}
	b.lifecycle = newLifecycle(b, opts.Broker.Sessions)
	b.passThrough = &passThrough{Ingester: deps.Ingest, broker: b}
	b.ingest = b.passThrough
	for _, o := range opts.Listeners {
		l, err := newListener(b, o)
		if err != nil {
			return nil, err
		}
		b.listeners = append(b.listeners, l)
		if o.Type == typeHTTPS {
			b.departures = &departures{byID: map[string]*departure{}}
		}
	}
	if err := b.restore(); err != nil {
		return nil, err
	}
	return b, nil
}

// shelf is the given one, or one in memory on the broker's clock.
func (b *Broker) shelf(given Shelf) Shelf {
	if given != nil {
		return given
	}
	began := b.now()
	return NewMemory(func() time.Duration { return b.now().Sub(began) + 1 })
}

// Listen opens the listeners' addresses. Devices may connect from then on, and
// are served once Run runs. The wills of devices that were connected when an
// earlier start ended are published before.
func (b *Broker) Listen() error {
	b.publishWills()
	for _, l := range b.listeners {
		if err := l.open(); err != nil {
			for _, l := range b.listeners {
				l.stop()
			}
			return err
		}
	}
	return nil
}

// Run serves until ctx ends. Then it says goodbye to the devices (v5:
// DISCONNECT 0x8B, B187), and returns when all connections have ended, within
// seconds. Listen comes first.
func (b *Broker) Run(ctx context.Context) error {
	for _, l := range b.listeners {
		if l.addr() != nil {
			b.serving.Go(l.serve)
		}
	}
	defer b.announcer.start()()
	tick := time.NewTicker(sweepEvery)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			b.guard(func() {
				b.endSilent()
				now := b.age()
				b.sessions.sweep(now)
				b.groups.sweep(now)
				b.shareMemory()
				b.retained.sweep(now)
				b.passThrough.sweep(now)
				b.sys.sweep(now)
				wall := b.now()
				b.lifecycle.sweep(wall)
				b.quotas.sweep(wall, b.health, b.quiet)
				b.endWebSockets(wall)
			})
		case <-ctx.Done():
			return b.stop()
		}
	}
}

func (b *Broker) stop() error {
	for _, l := range b.listeners {
		l.stop()
	}
	for _, l := range b.listeners {
		l.closeAll(cause{reason: "shutting-down", code: 0x8B})
	}
	deadline := time.Now().Add(stopTimeout)
	late := 0
	for _, l := range b.listeners {
		if !l.wait(time.Until(deadline)) {
			l.cut()
			if !l.wait(time.Second) {
				late++
			}
		}
	}
	if late > 0 {
		return fmt.Errorf("local broker: connections of %d listeners did not end in time", late)
	}
	b.serving.Wait()
	b.store.flush()
	return nil
}

// Reload takes new certificates, users, policies and limits for the listeners,
// all or none. Present connections keep what they have, until
// [Broker.Enforce] asks about their policies and users. Listeners cannot be
// added, removed or moved: the error says which need a restart.
func (b *Broker) Reload(opts Options) error {
	opts = opts.withDefaults()
	if len(opts.Listeners) != len(b.listeners) {
		return bridge.Errorf("reload", bridge.Unavailable, "listeners were added or removed: restart the gateway")
	}
	if opts.Broker != b.memory {
		return bridge.Errorf("reload", bridge.Unavailable, "broker, the bounds of all listeners together, changed: restart the gateway")
	}
	fresh := make([]*settings, len(b.listeners))
	for i, l := range b.listeners {
		o := opts.Listeners[i]
		if was := l.settings.Load(); was.Name != o.Name || was.Type != o.Type || was.Address != o.Address || was.Profile != o.Profile {
			return bridge.Errorf("reload", bridge.Unavailable, "listener %s: name, type, address or profile changed: restart the gateway", l.name)
		}
		s, err := loadSettings(o)
		if err != nil {
			return fmt.Errorf("listener %s: %w", l.name, err)
		}
		fresh[i] = s
	}
	for i, l := range b.listeners {
		l.settings.Store(fresh[i])
	}
	return nil
}

// Addrs are the addresses that the listeners have, by name.
func (b *Broker) Addrs() map[string]net.Addr {
	out := make(map[string]net.Addr, len(b.listeners))
	for _, l := range b.listeners {
		if a := l.addr(); a != nil {
			out[l.name] = a
		}
	}
	return out
}

// guard runs fn, which no connection answers for; a panic is logged.
func (b *Broker) guard(fn func()) {
	defer func() {
		if v := recover(); v != nil {
			b.log.Error("the broker failed", "panic", fmt.Sprint(v), "stack", string(debug.Stack()))
		}
	}()
	fn()
}
