package mqtt

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/eclipse/paho.golang/packets"

	"github.com/ebbgate/ebbgate/bridge"
	"github.com/ebbgate/ebbgate/upstream"
)

// Handler takes a message that came down, of wire bytes with its
// acknowledgement. It owns m, and must not block: the connection reads nothing
// meanwhile. For QoS 1 it calls ack once m is safe, at any time and from any
// goroutine; further calls do nothing. Until then the broker keeps m, and
// acknowledgements of later messages wait, since they must go in order
// [MQTT-4.6.0-2]. A broker does not send again on a live connection, so who
// cannot take m now tries again by itself. For QoS 0 ack does nothing.
type Handler func(m *bridge.Message, wire int, ack func())

// receiveMaximum is how many unacknowledged messages we let the broker send;
// it is AWS's own bound (Q09).
const receiveMaximum = 100

// refusedRetry is how long to wait before asking again for refused filters.
const refusedRetry = 2 * time.Minute

// Downlink receives from one MQTT 5 broker, in a persistent session on a
// connection of its own, so that replays and acknowledgements do not eat the
// uplink's tokens.
//
// Its warnings are downlink-down, downlink-refused, downlink-taken-over,
// downlink-stray-acks, downlink-filters-refused and downlink-filters-kept; messages in
// a loop are dropped as downlink-loop.
type Downlink struct {
	dialer  dialer
	filters []string
	handler Handler
	health  *health
	backoff *upstream.Backoff
	renew   bool // the next session must be subscribed to, present or not
	held    held // by the session

	exceeded   atomic.Bool             // the broker has sent more than receiveMaximum; it is logged once
	live       atomic.Pointer[conn]    // the latest connection; for Refresh
	subscribed atomic.Pointer[speaker] // while it is there and subscribed; for Talk
	speaks     bool                    // it is a Talk's
}

// NewDownlink makes a receiver from valid options. clientID is the one to use,
// whatever o says; it must not be the uplink's. What an earlier downlink of the client id
// subscribed to and this one does not is taken back, see [Downlink.Remember]; what the
// broker had queued by then comes to the handler all the same.
func NewDownlink(o Options, clientID string, filters []string, handler Handler, log *slog.Logger, hooks upstream.Hooks) *Downlink {
	log = log.With("client_id", clientID)
	reach := newDialer(o, clientID, true, log)
	reach.hooks = hooks
	backoff := upstream.NewBackoff(o.backoff(), nil)
	reach.ready = backoff.Reached
	return &Downlink{
		dialer:  reach,
		filters: slices.Clone(filters),
		handler: handler,
		health:  &health{prefix: "downlink", o: o, clientID: clientID, log: log, hooks: hooks, since: time.Now()},
		backoff: backoff,
		renew:   true,
	}
}

// Share makes the downlink one of several connections to an upstream. Call it
// before Run.
func (d *Downlink) Share(s upstream.Shared) { d.dialer.share(s, d.backoff) }

// Refresh takes a new client certificate up now, if its files are others.
func (d *Downlink) Refresh() { refresh(d.live.Load()) }

// Status tells how the downlink is now.
func (d *Downlink) Status() upstream.Status { return d.health.status() }

// Sign makes a signature the login of the downlink's WebSocket. Call it before
// Run.
func (d *Downlink) Sign(s Signer) { d.dialer.ways[0].Signer = s }

// Choose makes the downlink choose among ways. Call it before Run.
func (d *Downlink) Choose(ways []Way, known *upstream.Ways) { d.dialer.take(ways, known) }

// Run receives, through every reconnect, until ctx ends; it returns nil then.
// It is called once.
func (d *Downlink) Run(ctx context.Context) error {
	defer d.dialer.gate.NoLonger(&d.dialer)
	defer d.forget()
	for {
		if err := d.backoff.Wait(ctx); err != nil {
			return nil
		}
		c, err := d.dialer.open(ctx)
		if err == nil {
			err = d.serve(ctx, c)
			d.dialer.left(c, err)
			d.backoff.Lived(time.Since(c.epoch), false, ending(err))
		} else if ctx.Err() != nil {
			d.backoff.GivenUp()
		} else {
			d.backoff.Failed(err)
		}
		if ctx.Err() != nil {
			d.health.down(ErrClosed)
			return nil
		}
		d.health.down(err)
	}
}

// serve uses one connection until it ends, and says why it did.
func (d *Downlink) serve(ctx context.Context, c *conn) error {
	r := newReceiver(d, c)
	r.counted = d.health.hooks.Open(d.health.clientID)
	defer r.counted.Closed()
	var does role = r
	var says *speaker
	if d.speaks {
		says = newSpeaker(r)
		does = says
	}
	c.start(does, d.dialer.o.AckTimeout/4, d.health)
	d.health.up(c.endpoint)
	d.live.Store(c)
	d.recall(c.server.sessionPresent)
	subscribed := true
	if d.renew || !c.server.sessionPresent {
		d.takeBack(ctx, r, true)
		subscribed = d.subscribe(ctx, r)
	}
	d.subscribed.Store(says)
	defer d.subscribed.Store(nil)
	if subscribed && d.takeBack(ctx, r, false) {
		d.askAgain(ctx, r)
	}
	retry := time.NewTicker(refusedRetry)
	defer retry.Stop()
	for {
		select {
		case <-ctx.Done():
			c.end(ErrClosed, true, packets.DisconnectNormalDisconnection)
			<-c.done
			return ErrClosed
		case <-c.done:
			return c.reason()
		case <-retry.C:
			d.askAgain(ctx, r)
		}
	}
}

// askAgain asks for what was refused.
func (d *Downlink) askAgain(ctx context.Context, r *receiver) {
	if len(r.refused) == 0 {
		return
	}
	if refused, ok := d.ask(ctx, r, filtersOf(r.refused)); ok {
		d.tell(r, refused)
		d.takeBack(ctx, r, false)
	}
}

// forget ends what was told of a client id that nobody uses now.
func (d *Downlink) forget() {
	d.health.forget()
	for _, of := range []string{filtersRefused, filtersKept} {
		d.health.hooks.Over(d.health.prefix + of)
	}
}

// The warnings about filters, behind what they begin with.
const (
	filtersRefused = "-filters-refused"
	filtersKept    = "-filters-kept"
)

// subscribe asks for all filters that are needed. What another covers is, when that
// one is refused. It reports false when the connection ends.
func (d *Downlink) subscribe(ctx context.Context, r *receiver) bool {
	var refused []refusedFilter
	asked := map[string]bool{}
	for {
		more := slices.DeleteFunc(d.wanted(refused), func(f string) bool { return asked[f] })
		if len(more) == 0 {
			break
		}
		for _, f := range more {
			asked[f] = true
		}
		not, ok := d.ask(ctx, r, more)
		if !ok {
			return false
		}
		refused = append(refused, not...)
	}
	d.tell(r, refused)
	return true
}

// atOnce is how many filters one packet carries: of a SUBSCRIBE with more AWS closes the
// connection (Q16), an UNSUBSCRIBE with more it does not answer (B126).
const atOnce = 8

// ask asks for filters, a few in a packet, and looks at every code of every
// answer (B17, Q17). A refusal does not end the connection: the other filters still
// work. It is not ok when the connection ends.
func (d *Downlink) ask(ctx context.Context, r *receiver, filters []string) (refused []refusedFilter, ok bool) {
	d.renew = true
	d.note(ctx, filters)
	if ctx.Err() != nil { // perhaps nothing was noted
		return nil, false
	}
	for part := range slices.Chunk(filters, atOnce) {
		answered := r.counted.Subscribing(part, nil)
		codes, err := r.subscribe(ctx, part, d.options(r.c))
		if ctx.Err() != nil {
			return nil, false
		}
		if err != nil {
			r.c.fail(fmt.Errorf("subscribe: %w", err)) // does nothing when the connection ended first
			return nil, false
		}
		answered()
		for i, code := range codes {
			if code != packets.SubackGrantedQoS1 {
				refused = append(refused, refusedFilter{part[i], code})
			}
		}
	}
	return refused, true
}

// tell notes which filters are refused now.
func (d *Downlink) tell(r *receiver, refused []refusedFilter) {
	r.refused = refused
	d.renew = len(refused) > 0
	if len(refused) == 0 {
		d.health.hooks.Over(d.health.prefix + filtersRefused)
		return
	}
	var words []string
	for _, f := range refused {
		words = append(words, f.String())
	}
	d.health.hooks.Warn(bridge.Warning{
		Code: d.health.prefix + filtersRefused, Severity: bridge.Degraded,
		Text: fmt.Sprintf("%s: %s; let the broker's policy allow them (iot:Subscribe and iot:Receive on AWS), or change the down routes", d.dialer.o.Endpoint, strings.Join(words, "; ")),
	})
}

// options are what every filter is subscribed with. A session that was there
// has had the retained messages already; AWS is not known to support that
// option, so it gets the plain one.
func (d *Downlink) options(c *conn) packets.SubOptions {
	o := packets.SubOptions{QoS: 1}
	if e, err := parseEndpoint(d.dialer.o.Endpoint); err == nil && !e.aws() && c.server.sessionPresent {
		o.RetainHandling = packets.RetainSendOnSubscribeIfNew
	}
	return o
}

// refusedFilter is a filter that was not granted as asked.
type refusedFilter struct {
	filter string
	code   byte
}

// String says what became of the filter.
func (f refusedFilter) String() string {
	if f.code == packets.SubackGrantedQoS0 {
		return fmt.Sprintf("filter %q was granted QoS 0 only, so its messages can be lost", f.filter)
	}
	return fmt.Sprintf("filter %q was refused with 0x%02X: %s", f.filter, f.code, (&packets.Suback{Reasons: []byte{f.code}}).Reason(0))
}

func filtersOf(refused []refusedFilter) []string {
	var out []string
	for _, f := range refused {
		out = append(out, f.filter)
	}
	return out
}

var (
	errSubscribeTimeout   = errors.New("no SUBACK in time")
	errUnsubscribeTimeout = errors.New("no UNSUBACK in time")
)
