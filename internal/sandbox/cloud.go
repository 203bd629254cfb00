package sandbox

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/ebbgate/ebbgate/bridge"
	"github.com/ebbgate/ebbgate/localbroker"
)

// Options describe a sandbox cloud.
type Options struct {
	Address  string // where the gate, or without one the broker, listens; empty: a free port of 127.0.0.1
	NoGate   bool   // devices reach the broker itself: nothing can be broken
	NoLimits bool   // take as much as comes (no quota of pace); sizes and topics stay limited

	// Beside are further addresses of the cloud, by the type of their listener;
	// their names are their types. They have no gate.
	Beside map[string]string

	// Signed is a door for AWS's signatures; nil: none.
	Signed *SignedOptions

	// Listener changes what devices meet; nil: nothing. Who may connect, and do
	// what, is decided by Identities and Authorizer; nil: anybody everything.
	Listener   func(*localbroker.ListenerOptions)
	Identities localbroker.Identities
	Authorizer bridge.Authorizer

	// Identify finds the identity of a message in its payload; nil: none has
	// one.
	Identify func(payload []byte) (series string, number uint64, ok bool)
	// Units is how many metered messages a message is; nil counts none.
	Units func(*bridge.Message) int64
}

// listenerName names the broker's only listener.
const listenerName = "sandbox"

// Cloud is a broker with AWS IoT Core's behaviour and limits (profile "aws":
// Receive Maximum 100, 128 KB, 7 slashes, Maximum QoS 1, 100 PUBLISHes a
// second), behind a gate unless it is to have none. Where anybody may connect to
// it, it listens on loopback only.
type Cloud struct {
	gate     *Gate // may be nil
	door     *door // may be nil
	broker   *localbroker.Broker
	arrivals *Arrivals
	streams  *Streams
	drops    *bridge.DropLog
}

// Open makes a cloud that listens, and serves once Run runs. To give it back
// without Run, call Close.
func Open(o Options, log *slog.Logger) (*Cloud, error) {
	if o.Address == "" {
		o.Address = "127.0.0.1:0"
	}
	if o.Identify == nil {
		o.Identify = func([]byte) (string, uint64, bool) { return "", 0, false }
	}
	c := &Cloud{arrivals: NewArrivals(o.Identify, o.Units), streams: newStreams(), drops: &bridge.DropLog{}}
	l := localbroker.DefaultListenerOf("aws")
	l.Name, l.Address = listenerName, "127.0.0.1:0"
	if o.NoGate {
		l.Address = o.Address
	}
	if o.NoLimits {
		l.Quotas.Pace = "ignore"
	}
	if o.Listener != nil {
		o.Listener(&l)
	}
	listeners := []localbroker.ListenerOptions{l}
	for kind, address := range o.Beside {
		other := l
		other.Name, other.Type, other.Address = kind, kind, address
		listeners = append(listeners, other)
	}
	if o.Signed != nil {
		listeners = append(listeners, o.Signed.behind(l)...)
	}
	if o.Identities == nil || o.Authorizer == nil {
		o.Identities, o.Authorizer = anybody{}, anybody{}
	}
	options := localbroker.DefaultOptions()
	options.Listeners = listeners
	var err error
	c.broker, err = localbroker.New(options, localbroker.Deps{
		Ingest: c.arrivals, Shelf: c.arrivals.shelf, Identities: o.Identities, Authorizer: o.Authorizer, DropLog: c.drops, Log: log,
		Families: []localbroker.Family{c.streams},
	})
	if err != nil {
		return nil, fmt.Errorf("sandbox: %w", err)
	}
	c.streams.broker = c.broker
	if err := c.broker.Listen(); err != nil {
		return nil, fmt.Errorf("sandbox: %w", err)
	}
	if o.Signed != nil {
		if c.door, err = openDoor(*o.Signed, c.broker.Addrs(), log); err != nil {
			return nil, errors.Join(err, c.Close())
		}
	}
	if o.NoGate {
		return c, nil
	}
	if c.gate, err = OpenGate(o.Address, c.broker.Addrs()[listenerName].String()); err != nil {
		return nil, errors.Join(err, c.Close())
	}
	return c, nil
}

// Run serves until ctx ends.
func (c *Cloud) Run(ctx context.Context) error {
	defer c.streams.wait()
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return c.broker.Run(ctx) })
	if c.gate != nil {
		g.Go(func() error { return c.gate.Run(ctx) })
	}
	if c.door != nil {
		g.Go(func() error { return c.door.run(ctx) })
	}
	return g.Wait()
}

// Close gives back a cloud that Run was never called for.
func (c *Cloud) Close() error {
	ended, end := context.WithCancel(context.Background())
	end()
	err := c.broker.Run(ended)
	if c.gate != nil {
		err = errors.Join(err, c.gate.Run(ended))
	}
	if c.door != nil {
		err = errors.Join(err, c.door.run(ended))
	}
	return err
}

// Addr is where the cloud is reached, through the gate if there is one.
func (c *Cloud) Addr() string {
	if c.gate == nil {
		return c.broker.Addrs()[listenerName].String()
	}
	return c.gate.Addr()
}

// Beside is the address of a listener of Options.Beside.
func (c *Cloud) Beside(kind string) string { return c.broker.Addrs()[kind].String() }

// Signed is the address of the door for AWS's signatures.
func (c *Cloud) Signed() string { return c.door.listen.Addr().String() }

// Gate is the link to the cloud, nil without one.
func (c *Cloud) Gate() *Gate { return c.gate }

// Arrivals is what has reached the cloud.
func (c *Cloud) Arrivals() *Arrivals { return c.arrivals }

// Streams are the files that the cloud delivers.
func (c *Cloud) Streams() *Streams { return c.streams }

// Discarded is what the cloud's limits refused, by reason.
func (c *Cloud) Discarded() []bridge.Drops { return c.drops.All() }

// Broker is the cloud's broker at a glance.
func (c *Cloud) Broker() localbroker.Status { return c.broker.Status() }

// anybody is who connects to a sandbox, and what it may do: everything.
type anybody struct{}

func (anybody) Certificate(*x509.Certificate, string, time.Time) (bridge.Principal, error) {
	return bridge.Principal{}, bridge.Errorf("identify", bridge.NotAuthorized, "a sandbox knows no certificates")
}

func (anybody) Named(user, clientID string, policies []string) (bridge.Principal, error) {
	return bridge.Principal{User: user, ClientID: clientID, Policies: policies}, nil
}

func (anybody) Grants(*bridge.Principal) (bridge.Grants, error) { return anybody{}, nil }

func (anybody) Decide(bridge.Request) bridge.Decision {
	return bridge.Decision{Allowed: true, Reason: "a sandbox allows everything"}
}
