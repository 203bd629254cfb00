package mqtt

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/ebbgate/ebbgate/upstream"
)

// ErrRenewed is why a link ended in whose place another one is made. What was in
// flight had been acknowledged before.
var ErrRenewed = errors.New("ended to be renewed")

// ErrIdle is why a link ended that had nothing to send. The next message opens
// another.
var ErrIdle = errors.New("nothing to send")

// ending is how a link has ended, by its reason.
func ending(err error) upstream.Ending {
	switch {
	case errors.Is(err, ErrRenewed), errors.Is(err, ErrIdle):
		return upstream.Renewed
	case errors.Is(err, ErrClosed):
		return upstream.Closed
	}
	return upstream.Broke
}

// webSocketLife is how long AWS IoT Core lets a WebSocket live (Q42).
const webSocketLife = 24 * time.Hour

// leaseCheck is how often a connection looks whether it has to be renewed, and
// so how soon a new certificate is taken up.
const leaseCheck = 10 * time.Second

// lease says how long a connection may live: until something that it was opened
// with ends, or its certificate's files are others.
type lease struct {
	renew time.Time // zero: never
	files upstream.CertFiles
	told  string // what is wrong with the new files

	path string         // of the certificate
	gate *upstream.Gate // is asked who tries a new one first
	who  any            // asks
}

// newLease is for a connection that must not live beyond ends, zero for never.
// It is renewed after 80 to 95 % of its time: early enough for several attempts,
// and not with the rest of a fleet that was started together.
func newLease(now, ends time.Time, files upstream.CertFiles) lease {
	l := lease{files: files}
	if life := ends.Sub(now); !ends.IsZero() && life > 0 {
		l.renew = now.Add(life*80/100 + rand.N(life*15/100+1))
	}
	return l
}

// refresh makes a connection look at its certificate's files; c may be nil.
func refresh(c *conn) {
	if c == nil {
		return
	}
	select {
	case c.refresh <- struct{}{}:
	default: // it is about to
	}
}

// over says why the connection is to be renewed, nil while it is not.
func (l *lease) over(now time.Time) error {
	if !l.renew.IsZero() && !now.Before(l.renew) {
		return fmt.Errorf("%w: what it was opened with ends soon", ErrRenewed)
	}
	fresh, as, told := l.files.Look(now)
	if l.told = told; !fresh || !l.gate.MayTry(l.path, as, l.who) {
		return nil
	}
	return fmt.Errorf("%w: there is a new client certificate", ErrRenewed)
}
