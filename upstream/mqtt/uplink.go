package mqtt

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/eclipse/paho.golang/packets"

	"github.com/ebbgate/ebbgate/bridge"
	"github.com/ebbgate/ebbgate/upstream"
)

// Uplink is the [bridge.Sender] to one MQTT 5 broker. Each of its links is a
// new session (Clean Start, no expiry): what is not acknowledged stays in the
// spool, so there is nothing for the broker to remember.
//
// Its warnings are uplink-down, uplink-refused, uplink-taken-over and
// uplink-stray-acks; messages that come in unasked and that nobody takes are dropped
// as uplink-unasked.
type Uplink struct {
	dialer dialer
	health *health

	unasked func(m *bridge.Message, wire int) bool
	demand  func(context.Context) error // waits until there is something to send; nil: connects at once
	idle    time.Duration               // a link is closed after so long without a message; 0: never

	live atomic.Pointer[conn] // the latest connection; for Refresh

	mu      sync.Mutex // held while connecting: one connection per client id
	backoff *upstream.Backoff
	link    *link
	hangups hangups
	spelled bool // the broker has quarrelled with topic aliases: every topic is spelled out
}

var _ bridge.Sender = (*Uplink)(nil)

// NewUplink makes a sender from valid options. clientID is the one to use,
// whatever o says. Nothing is connected before Connect.
func NewUplink(o Options, clientID string, log *slog.Logger, hooks upstream.Hooks) *Uplink {
	log = log.With("client_id", clientID)
	reach := newDialer(o, clientID, false, log)
	reach.hooks = hooks
	backoff := upstream.NewBackoff(o.backoff(), nil)
	reach.ready = backoff.Reached
	return &Uplink{
		dialer:  reach,
		health:  &health{prefix: "uplink", o: o, clientID: clientID, log: log, hooks: hooks, since: time.Now()},
		backoff: backoff,
	}
}

// Unasked sets who is asked first about a message that comes in without a
// subscription, of wire bytes with its acknowledgement. It reports whether it
// has taken the message, and must not block. Call it before Connect.
func (u *Uplink) Unasked(take func(m *bridge.Message, wire int) bool) { u.unasked = take }

// Share makes the uplink one of several connections to an upstream. Call it
// before Connect.
func (u *Uplink) Share(s upstream.Shared) { u.dialer.share(s, u.backoff) }

// OnDemand makes Connect wait for demand before it tries, and links close when they
// had nothing to send for idle, 0 for never. demand returns nil when there is
// something to send, and fails only when its context ends. Call it before Connect.
func (u *Uplink) OnDemand(demand func(context.Context) error, idle time.Duration) {
	u.demand, u.idle = demand, idle
	u.health.resting = true
}

// Connect waits until a link is up. It closes the previous one first, when that
// still lives: two links of one client id would take each other over for ever.
// It fails only when ctx ends.
func (u *Uplink) Connect(ctx context.Context) (_ bridge.Link, err error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	defer func() {
		if err != nil {
			u.Rest()
			u.dialer.gate.NoLonger(&u.dialer)
		}
	}()
	if u.link != nil {
		_ = u.link.Close() // never fails
		<-u.link.Done()
		u.link = nil
	}
	if u.demand != nil {
		u.health.rest()
		if err := u.demand(ctx); err != nil {
			return nil, err
		}
		u.health.wanted()
	}
	for {
		if err := u.backoff.Wait(ctx); err != nil {
			return nil, err
		}
		c, err := u.dialer.open(ctx)
		if err == nil {
			u.link = u.begin(c)
			return u.link, nil
		}
		if ctx.Err() != nil {
			u.backoff.GivenUp()
			return nil, ctx.Err()
		}
		u.backoff.Failed(err)
		u.health.down(err)
	}
}

// Rest ends the warnings of an uplink that is not asked to connect any more.
func (u *Uplink) Rest() { u.health.forget() }

// Endpoint is the first of the ways where the uplink goes.
func (u *Uplink) Endpoint() string { return u.dialer.ways[0].Options.Endpoint }

// Refresh takes a new client certificate up now, if its files are others. Else that
// is noticed within ten seconds.
func (u *Uplink) Refresh() { refresh(u.live.Load()) }

// Status tells how the uplink is now.
func (u *Uplink) Status() upstream.Status {
	s := u.health.status()
	s.Pace = u.dialer.bucket.Pace()
	if u.dialer.known != nil {
		s.Ways = u.dialer.known.Status()
	}
	return s
}

func (u *Uplink) begin(c *conn) *link {
	o := u.dialer.o
	l := &link{
		c:      c,
		left:   make(chan struct{}),
		window: newWindow(max(1, min(o.Limits.InFlight, c.server.receiveMaximum))),
		ack:    o.AckTimeout,
		idle:   u.idle,
		unwanted: func(p *packets.Publish, wire int) {
			m := messageOf(p)
			if u.unasked == nil || !u.unasked(m, wire) {
				u.health.hooks.Dropped("uplink-unasked", m)
			}
		},
	}
	if !u.spelled {
		l.aliases = newAliases(c.server.aliases)
	}
	counted := u.health.hooks.Open(u.health.clientID)
	l.finished = func(err error) {
		counted.Closed()
		if !l.repeated && u.hangups.throttled(err, c.bucket.Busy() && !l.some) {
			c.bucket.Throttled()
		}
		if d, ok := errors.AsType[*DisconnectedError](err); ok && d.Code == packets.DisconnectTopicAliasInvalid {
			u.spelled = true // before done is closed, so before the next link
		}
		u.dialer.left(c, err)
		u.backoff.Lived(time.Since(c.epoch), l.useful, ending(err)) // before done is closed, so before the next Wait
		if errors.Is(err, ErrClosed) {
			u.dialer.gate.NoLonger(&u.dialer)
		}
		u.health.down(err)
	}
	u.health.up(c.endpoint)
	l.used.Store(int64(time.Since(c.epoch)))
	u.live.Store(c)
	c.start(l, o.AckTimeout/4, u.health)
	return l
}

// Sign makes a signature the login of the uplink's WebSocket. Call it before
// Connect.
func (u *Uplink) Sign(s Signer) { u.dialer.ways[0].Signer = s }

// Choose makes the uplink choose among ways. Call it before Connect.
func (u *Uplink) Choose(ways []Way, known *upstream.Ways) { u.dialer.take(ways, known) }

// Check makes one attempt to connect as the uplink would, and closes again. A
// gateway that runs with the same client id loses its link for a moment. The
// error is a [RefusedError] when something must be set right. s may be nil.
func Check(ctx context.Context, o Options, clientID string, s Signer) error {
	d := newDialer(o, clientID, false, slog.New(slog.DiscardHandler))
	d.ways[0].Signer = s
	c, err := d.open(ctx)
	if err != nil {
		return err
	}
	l := &link{c: c, window: newWindow(1), ack: o.AckTimeout, unwanted: func(*packets.Publish, int) {}, finished: func(error) {}, left: make(chan struct{})}
	c.start(l, o.AckTimeout/4, &health{log: d.log})
	_ = l.Close() // never fails
	<-l.Done()
	if err := l.Err(); !errors.Is(err, ErrClosed) {
		return err
	}
	return nil
}
