package mqtt

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/ebbgate/ebbgate/upstream"
)

// Way is one of several ways to one broker. All have the client id and the limits
// of the connection in common; endpoint and login are each one's own.
type Way struct {
	Options Options
	Signer  Signer // nil: nothing is signed
}

// take makes the ways those to choose from. known is about them, in their order,
// and what all connections to the upstream know.
func (d *dialer) take(ways []Way, known *upstream.Ways) { d.ways, d.known = ways, known }

// lookEvery is how often a connection by another way than the best asks whether it
// is time to look.
const lookEvery = 10 * time.Second

// lookForBetter looks at the better ways from time to time while a connection
// lives, up to where MQTT would begin: a client id must not be in use twice. Once
// one is open, or another connection lives by one, this one is ended as if it were
// to be renewed: nothing is lost or sent twice for it.
func (d *dialer) lookForBetter(c *conn) {
	if c.way == 0 {
		return
	}
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for {
		var now time.Time
		select {
		case <-c.ending:
			return
		case now = <-tick.C:
		}
		better := d.known.Left(c.way, now)
		for _, way := range d.known.Due(c.way, now) {
			err := d.look(c, way)
			if err == nil {
				d.known.GoBack(way, time.Now())
				better = true
				break
			}
			d.known.Unreached(way, err, time.Now())
		}
		if better {
			c.role.retire(fmt.Errorf("%w: a better way is open again", ErrRenewed))
			return
		}
	}
}

// look opens a way, and says nothing by it.
func (d *dialer) look(c *conn, way int) error {
	ctx, cancel := context.WithTimeout(context.Background(), d.o.ConnectTimeout)
	defer cancel()
	go func() {
		select {
		case <-c.ending:
			cancel()
		case <-ctx.Done():
		}
	}()
	t, err := d.transport(ctx, way)
	if err != nil {
		return err
	}
	return t.Close()
}

// left notes how a connection by one of several ways has ended. What the broker
// has said, and what we have, says nothing about the way.
func (d *dialer) left(c *conn, err error) {
	if d.known == nil {
		return
	}
	if _, said := errors.AsType[*DisconnectedError](err); said || errors.Is(err, ErrClosed) || errors.Is(err, ErrRenewed) {
		err = nil
	}
	d.known.Lived(c.way, time.Since(c.epoch), err, time.Now())
}
