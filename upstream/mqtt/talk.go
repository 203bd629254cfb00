package mqtt

import (
	"context"
	"errors"
	"log/slog"

	"github.com/eclipse/paho.golang/packets"

	"github.com/ebbgate/ebbgate/bridge"
	"github.com/ebbgate/ebbgate/upstream"
)

// Talk asks an upstream's services and hears their answers, on a connection of its
// own and in a session that ends with it: whoever asks has forgotten the question
// by the time of the next one. It is a [Downlink] that publishes as well.
//
// Its warnings are those of a downlink under the name that it is given.
type Talk struct{ down *Downlink }

// NewTalk makes a conversation from valid options. name is what its warnings begin
// with; filters are subscribed to before anything can be asked.
func NewTalk(o Options, name, clientID string, filters []string, handler Handler, log *slog.Logger, hooks upstream.Hooks) *Talk {
	d := NewDownlink(o, clientID, filters, handler, log, hooks)
	d.dialer.resume, d.speaks = false, true
	d.health.prefix = name
	return &Talk{d}
}

// Share makes the conversation one of several connections to an upstream. Call it
// before Run.
func (t *Talk) Share(s upstream.Shared) { t.down.Share(s) }

// Sign makes a signature the login of its WebSocket. Call it before Run.
func (t *Talk) Sign(s Signer) { t.down.Sign(s) }

// Choose makes it choose among ways. Call it before Run.
func (t *Talk) Choose(ways []Way, known *upstream.Ways) { t.down.Choose(ways, known) }

// Run keeps the connection, through every reconnect, until ctx ends; it returns
// nil then. It is called once.
func (t *Talk) Run(ctx context.Context) error { return t.down.Run(ctx) }

// ClientID is what it is logged in with.
func (t *Talk) ClientID() string { return t.down.dialer.clientID }

// Up reports whether something can be asked.
func (t *Talk) Up() bool { return t.down.subscribed.Load() != nil }

// Status tells how it is now.
func (t *Talk) Status() upstream.Status { return t.down.Status() }

// Publish sends m once, at QoS 0, and tells the bytes on the wire. It does not wait
// for the network.
func (t *Talk) Publish(m *bridge.Message) (wire int, err error) {
	s := t.down.subscribed.Load()
	if s == nil {
		return 0, ErrNotConnected
	}
	c, once := s.c, *m
	once.QoS, once.Retain = 0, false
	p := publishOf(&once, 0, c.server.v3)
	size := p.size()
	if o, refused := c.server.refuse(&p, size); refused {
		return 0, errors.New(o.Reason)
	}
	c.bucket.Take(size)
	return size, c.enqueue(p.append(nil, 0))
}

// Send sends m at QoS 1, for one goroutine at a time. It waits for a place among
// those in flight, for the rate limits and for the network; what became of m comes
// once through report, which must not block, unless Send fails. What breaks a limit
// of the broker is ResultRefused at once.
func (t *Talk) Send(ctx context.Context, m *bridge.Message, report func(bridge.Outcome)) error {
	s := t.down.subscribed.Load()
	if s == nil {
		return ErrNotConnected
	}
	once := *m
	once.QoS, once.Retain = 1, false
	if err := s.stay(ctx); err != nil {
		return err
	}
	err := s.send(ctx, &once, 1, once.Expiry, report, false)
	s.Flush()
	return err
}

// Down is closed when the present connection has ended and everything sent on it was
// reported; nil when there is none.
func (t *Talk) Down() <-chan struct{} {
	if s := t.down.subscribed.Load(); s != nil {
		return s.Done()
	}
	return nil
}

// Largest is the largest packet that the broker takes, in bytes, 0 for any or when
// there is no connection.
func (t *Talk) Largest() int {
	if s := t.down.subscribed.Load(); s != nil {
		return s.c.server.maximumPacket
	}
	return 0
}

// ErrNotConnected is why nothing can be asked.
var ErrNotConnected = errors.New("there is no connection now")

// speaker is a receiver that sends as a link does.
type speaker struct {
	*link
	hears *receiver
}

func newSpeaker(r *receiver) *speaker {
	o := r.d.dialer.o
	return &speaker{hears: r, link: &link{
		c: r.c, window: newWindow(max(1, min(o.Limits.InFlight, r.c.server.receiveMaximum))), ack: o.AckTimeout,
		left: make(chan struct{}), finished: func(error) {},
	}}
}

// published implements role: what comes in was subscribed to.
func (s *speaker) published(p *packets.Publish, size int) error { return s.hears.published(p, size) }

// subscribed implements role.
func (s *speaker) subscribed(p *packets.Suback) error { return s.hears.subscribed(p) }

// unsubscribed implements role.
func (s *speaker) unsubscribed(p *packets.Unsuback) error { return s.hears.unsubscribed(p) }
