package bridge_test

import (
	"context"
	"fmt"
	"log/slog"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ebbgate/ebbgate/bridge"
	"github.com/ebbgate/ebbgate/internal/peers"
)

// pacedLink waits for its rate before each transmission, as the uplink does, and
// its cloud answers 100 ms later.
type pacedCloud struct{ sent, lost, acked atomic.Int64 }

type pacedLink struct {
	c    *pacedCloud
	done chan struct{}
}

func (c *pacedCloud) Connect(ctx context.Context) (bridge.Link, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	return &pacedLink{c: c, done: make(chan struct{})}, nil
}
func (l *pacedLink) Window() int           { return 100 }
func (l *pacedLink) Flush()                {}
func (l *pacedLink) Done() <-chan struct{} { return l.done }
func (l *pacedLink) Err() error            { return nil }
func (l *pacedLink) Close() error {
	select {
	case <-l.done:
	default:
		close(l.done)
	}
	return nil
}
func (l *pacedLink) Send(ctx context.Context, _ *bridge.Delivery, report func(bridge.Outcome)) error {
	select {
	case <-time.After(10 * time.Millisecond): // 95 a second
	case <-ctx.Done():
		return ctx.Err()
	}
	l.c.sent.Add(1)
	go func() {
		select {
		case <-time.After(100 * time.Millisecond):
			l.c.acked.Add(1)
			report(bridge.Outcome{Result: bridge.ResultAcked})
		case <-l.done:
			l.c.lost.Add(1)
			report(bridge.Outcome{Result: bridge.ResultLost})
		}
	}()
	return nil
}

// TestStoppingDuringAReplayLands: an orderly stop while the rate limit holds a
// send back must leave nothing to be sent twice.
func TestStoppingDuringAReplayLands(t *testing.T) {
	s := openSpool(t)
	for i := range 300 {
		put(t, s, normal, "d", fmt.Sprint(i))
	}
	c := new(pacedCloud)
	f := bridge.NewForwarder(bridge.ForwarderConfig{Upstream: "cloud", Queues: []bridge.QueueRef{{Name: normal}}},
		s, []bridge.Sender{c}, new(noMeter), new(bridge.DropLog), new(bridge.Health), slog.New(slog.DiscardHandler))
	stop := peers.Run(t, f.Run)
	for c.acked.Load() < 20 {
		time.Sleep(time.Millisecond)
	}
	stop()
	if n := c.lost.Load(); n > 0 {
		t.Errorf("%d messages that were on their way are sent twice after an orderly stop (%d acknowledged)", n, c.acked.Load())
	}
}
