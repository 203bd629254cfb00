package localbroker

import (
	"time"

	"golang.org/x/time/rate"
)

// throttle keeps a connection's bytes a second: AWS's quota (Q07), which delays
// or warns, and our own bound (limits.bytes_per_second), which delays. What
// waits is the socket: TCP carries the back-pressure to the device, and nothing
// is thrown away (B92). Parts are small, so that a PINGREQ behind them is
// answered in time. What AWS has no topics for, and what its services answer, is
// not of the quota: see outside.
type throttle struct {
	client *client
	quota  *rate.Limiter // both directions; nil: none
	own    *rate.Limiter // what is read; nil: none
}

// throttlePart is how much is taken from a bucket at a time, and read where our own
// bound may delay that. A bucket holds at least so much.
const throttlePart = 16 << 10

func newThrottle(c *client) throttle {
	t := throttle{client: c}
	if c.profile.pace != paceIgnores {
		t.quota = bytesPerSecond(c.profile.bytes)
	}
	if n := int(c.settings.Limits.BytesPerSec); n > 0 {
		t.own = bytesPerSecond(n)
	}
	return t
}

func bytesPerSecond(n int) *rate.Limiter {
	return rate.NewLimiter(rate.Limit(n), max(n, throttlePart))
}

// part is the part of a buffer to read into.
func (t *throttle) part(p []byte) []byte {
	if t.own == nil {
		return p
	}
	return p[:min(len(p), throttlePart)]
}

// read takes n bytes that have come and waits until they may go on by our own
// bound, or until done. It reports whether it waited.
func (t *throttle) read(n int, done <-chan struct{}) bool {
	if n == 0 || t.own == nil {
		return false
	}
	now := t.client.broker.now()
	return pause(t.own.ReserveN(now, n).DelayFrom(now), done)
}

// passes takes n bytes that have come or left from the quota, and waits until what
// is behind them may. Of what has come they are whole packets: only then is it known
// which of them AWS has no topics for.
func (t *throttle) passes(n int, done <-chan struct{}) {
	for ; n > 0; n -= throttlePart {
		pause(t.charge(min(n, throttlePart), t.client.broker.now()), done)
	}
}

// charge takes n bytes from the quota and says how long they are to wait.
func (t *throttle) charge(n int, now time.Time) time.Duration {
	p := t.client.profile.pace
	if t.quota == nil || p == paceIgnores || t.quota.AllowN(now, n) {
		return 0
	}
	e := t.client.example("")
	e.limit = int(t.quota.Limit())
	if t.client.broker.quotas.above(quotaBytes, p, n, e) {
		return 0
	}
	return t.quota.ReserveN(now, n).DelayFrom(now)
}

// pause waits, and reports whether it did.
func pause(d time.Duration, done <-chan struct{}) bool {
	if d <= 0 {
		return false
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-done:
	}
	return true
}
