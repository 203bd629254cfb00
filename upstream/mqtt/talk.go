package mqtt

import (
	"context"
	"errors"
	"log/slog"

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
	d.dialer.resume = false
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

// Up reports whether something can be asked.
func (t *Talk) Up() bool { return t.down.subscribed.Load() != nil }

// Publish sends m once, at QoS 0, and tells the bytes on the wire. It does not wait
// for the network.
func (t *Talk) Publish(m *bridge.Message) (wire int, err error) {
	c := t.down.subscribed.Load()
	if c == nil {
		return 0, errNotConnected
	}
	once := *m
	once.QoS, once.Retain = 0, false
	p := publishOf(&once, 0, c.server.v3)
	size := p.size()
	if o, refused := c.server.refuse(&p, size); refused {
		return 0, errors.New(o.Reason)
	}
	c.bucket.Take(size)
	return size, c.enqueue(p.append(nil, 0))
}

var errNotConnected = errors.New("there is no connection now")
