package failover

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/ebbgate/ebbgate/bridge"
)

// errLeft is why a member's link ends that another takes over from, or that is closed.
var errLeft = errors.New("another takes over")

// link is a member's link, from which the sender can go away.
type link struct {
	bridge.Link
	via     string
	watched chan struct{} // closed when nobody looks after it any more

	mu      sync.Mutex
	sent    int // and not reported yet
	leaving bool
}

// Send sends, unless the link is being left; then it waits for its end.
func (l *link) Send(ctx context.Context, d *bridge.Delivery, report func(bridge.Outcome)) error {
	l.mu.Lock()
	if l.leaving {
		l.mu.Unlock()
		l.Flush()
		select {
		case <-l.Done():
			return fmt.Errorf("send: %w", errLeft)
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	l.sent++
	l.mu.Unlock()
	err := l.Link.Send(ctx, d, func(o bridge.Outcome) {
		o.Via = l.via
		report(o)
		l.settled()
	})
	if err != nil {
		l.settled()
	}
	return err
}

// settled counts what has come back, and closes a link that is being left once
// nothing is in flight.
func (l *link) settled() {
	l.mu.Lock()
	l.sent--
	over := l.leaving && l.sent == 0
	l.mu.Unlock()
	if over {
		_ = l.Close() // never fails
	}
}

// retire sends nothing more, awaits what is in flight, and ends the link.
func (l *link) retire() {
	l.mu.Lock()
	l.leaving = true
	over := l.sent == 0
	l.mu.Unlock()
	l.Flush()
	if over {
		_ = l.Close() // never fails
	}
}
