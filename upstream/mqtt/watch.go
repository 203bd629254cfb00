package mqtt

import (
	"fmt"
	"math"
	"time"

	"github.com/ebbgate/ebbgate/upstream"
)

// minProbe bounds how often the watch looks.
const minProbe = 5 * time.Millisecond

// watch notices silence: an unanswered PINGREQ, and whatever role.due knows.
// When the connection has ended, for whatever reason, it waits for the reader
// and tells the rest.
//
// A PINGREQ is due after half a keep alive without a byte in either direction,
// and its answer within another half. So a black hole is noticed within one
// keep alive, busy or idle, and the broker never misses us.
func (c *conn) watch(probe time.Duration, h *health) {
	if c.keepAlive > 0 {
		probe = min(probe, c.keepAlive/8)
	}
	tick := time.NewTicker(max(probe, minProbe))
	defer tick.Stop()
	lived := time.NewTimer(upstream.StableAfter)
	defer lived.Stop()
	check := time.NewTicker(leaseCheck)
	defer check.Stop()
	h.certificate(c.cert, "", time.Now())
	var pinged time.Duration // since epoch; 0: no PINGREQ unanswered
	var taken uint64         // bytes that had been taken when pinged was set
	for {
		select {
		case <-c.ending:
			c.bury()
			return
		case <-lived.C:
			h.stable()
		case now := <-check.C:
			c.checkLease(now, h)
			c.strays.review(now)
		case <-c.refresh:
			c.checkLease(time.Now(), h)
		case now := <-tick.C:
			if err := c.role.due(now); err != nil {
				c.fail(err)
			} else if err := c.ping(now.Sub(c.epoch), &pinged, &taken); err != nil {
				c.fail(err)
			}
		}
	}
}

// checkLease asks for an end once the connection has to be another one.
func (c *conn) checkLease(now time.Time, h *health) {
	if why := c.lease.over(now); why != nil {
		c.role.retire(why)
	}
	h.certificate(c.cert, c.lease.told, now)
}

func (c *conn) ping(now time.Duration, pinged *time.Duration, taken *uint64) error {
	half := c.keepAlive / 2
	if half == 0 {
		return nil
	}
	read, wrote := time.Duration(max(c.lastRead.Load(), c.stood.Load())), time.Duration(c.lastWrite.Load())
	if *pinged != 0 && read >= *pinged {
		*pinged = 0
	}
	switch {
	case *pinged != 0 && now-*pinged >= half:
		// On a slow link the PINGREQ waits behind what was written before it: as
		// long as that goes, the link lives.
		if n := c.raw.fd.taken(); n > *taken {
			*pinged, *taken = now, n
			return nil
		}
		return fmt.Errorf("no answer to PINGREQ for %v", half)
	case *pinged == 0 && (now-read >= half || now-wrote >= half):
		*pinged, *taken = now, c.raw.fd.taken()
		c.ask()
	}
	return nil
}

// standing is conn.stood while the reader waits for room on our side.
const standing = math.MaxInt64

// stand and readOn begin and end a wait of the reader for room on our side. The
// broker's answers are not read meanwhile, so its silence is ours and nothing to
// end the connection for; it is pinged all the same, and does not miss us.
func (c *conn) stand() { c.stood.Store(standing) }

func (c *conn) readOn() { c.stood.Store(int64(time.Since(c.epoch))) }

// stoodFor reports whether the reader waited for us within the last d.
func (c *conn) stoodFor(d time.Duration) bool {
	until := c.stood.Load()
	return until != 0 && int64(time.Since(c.epoch))-until < int64(d)
}

// bury ends what is left when the connection has ended.
func (c *conn) bury() {
	c.reader.Wait()
	c.mu.Lock()
	after, err := c.after, c.err
	c.after, c.out = nil, nil
	c.mu.Unlock()
	for _, f := range after {
		f(err)
	}
	c.role.ended(err)
	c.buryProofs()
	close(c.done)
}
