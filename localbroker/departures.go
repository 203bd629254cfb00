package localbroker

import (
	"sync"
	"time"

	"github.com/ebbgate/ebbgate/localbroker/rest"
)

const (
	// departureKept is how long it is told when and why a client left, as on
	// AWS.
	departureKept = 30 * time.Minute
	// departureMost bounds how many are remembered; the oldest go first.
	departureMost = 10_000
)

// departures remembers who left. A nil one does not: without a listener of type
// https nobody asks.
type departures struct {
	mu    sync.Mutex
	byID  map[string]*departure
	order []*departure // oldest first
}

type departure struct {
	at   time.Time
	what *rest.Connection
}

// note remembers that a connection has left its session.
func (d *departures) note(c *client, why *cause) {
	if d == nil {
		return
	}
	now := c.broker.now()
	what := c.connection(c.expiry)
	what.DisconnectedSince, what.DisconnectReason = now.UnixMilli(), disconnectReason(why)
	d.mu.Lock()
	defer d.mu.Unlock()
	left := &departure{now, what}
	d.byID[c.id] = left
	d.order = append(d.order, left)
	n := 0
	for n < len(d.order) && (len(d.order)-n > departureMost || now.Sub(d.order[n].at) > departureKept) {
		if old := d.order[n]; d.byID[old.what.ClientID] == old {
			delete(d.byID, old.what.ClientID)
		}
		d.order[n] = nil
		n++
	}
	d.order = d.order[n:]
}

// find is what is remembered of a client id, nil for nothing.
func (d *departures) find(id string, now time.Time) *rest.Connection {
	if d == nil {
		return nil
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	left := d.byID[id]
	if left == nil || now.Sub(left.at) > departureKept {
		return nil
	}
	out := *left.what
	return &out
}
