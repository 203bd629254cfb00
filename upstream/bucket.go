package upstream

import (
	"context"
	"errors"
	"time"

	"golang.org/x/time/rate"
)

// ErrStopped ends a [Bucket.Wait] whose stop channel was closed.
var ErrStopped = errors.New("stopped while waiting for the rate limit")

// byteBurst is the part of a second's bytes that may go at once, see
// [DefaultLimits].
const byteBurst = 7

// catchUp is the part of a second's messages that may go at once beyond the
// burst. At 95 a second a token comes every 10.5 ms; a timer that fires later than
// the next one is due, as on a busy machine they do, would lose it.
const catchUp = 64

// Bucket paces one connection: a token bucket for messages and one for bytes,
// each for both directions. It slows down when the cloud throttles (see
// [Bucket.Throttled]), and may be one of several within a bucket for all of them.
// It is safe for concurrent use; the bytes of concurrent waits may interleave.
type Bucket struct {
	messages, bytes *rate.Limiter // nil: unlimited
	within          *Bucket       // nil: alone
	slow            slowdown
}

// NewBucket makes the bucket of one client id, for all of its connections: what
// one was throttled for the next must not do.
func NewBucket(l Limits) *Bucket {
	b := &Bucket{}
	if l.MessagesPerSecond > 0 {
		b.messages = rate.NewLimiter(rate.Limit(l.MessagesPerSecond), max(l.Burst, 1)+int(l.MessagesPerSecond/catchUp))
	}
	if l.BytesPerSecond > 0 {
		b.bytes = rate.NewLimiter(rate.Limit(l.BytesPerSecond), max(int(l.BytesPerSecond)/byteBurst, 1))
	}
	b.slow.full, b.slow.made = l.MessagesPerSecond, time.Now()
	return b
}

// Within makes the bucket one of those that share another. Call it before the
// first Wait.
func (b *Bucket) Within(shared *Bucket) { b.within = shared }

// Wait blocks until one message of size bytes may be written. It ends early,
// with an error, when ctx ends or stop is closed (nil: never). A message larger
// than the burst of bytes waits for its bytes piece by piece, so it passes.
//
// idle, when not nil, is called before it really waits.
//
// The message token is taken last: it is what keeps the spacing, and a token
// that waited for bytes, or for the other connections, would no longer.
func (b *Bucket) Wait(ctx context.Context, stop <-chan struct{}, size int, idle func()) error {
	if b.within != nil {
		if err := b.within.Wait(ctx, stop, size, idle); err != nil {
			return err
		}
	}
	if b.bytes != nil {
		for size > 0 {
			n := min(size, b.bytes.Burst())
			if err := wait(ctx, stop, b.bytes, n, idle); err != nil {
				return err
			}
			size -= n
		}
	}
	if l := b.slow.limiter(b.messages); l != nil {
		return wait(ctx, stop, l, 1, idle)
	}
	return nil
}

// Free reports whether a Wait for one message would not wait, and counts it then.
func (b *Bucket) Free() bool {
	return b.bytes == nil && b.slow.limiter(b.messages) == nil && (b.within == nil || b.within.Free())
}

// Take counts a message of size bytes that came in. It never waits: what is
// missing becomes debt that later waits pay, one second's worth at most, since
// the cloud counts by the second too.
func (b *Bucket) Take(size int) {
	if b.within != nil {
		b.within.Take(size)
	}
	now := time.Now()
	take(b.slow.limiter(b.messages), now, 1)
	take(b.bytes, now, size)
}

// Throttled tells the bucket that the cloud has thrown a message away, or hung
// up, for there being too many: from now on it lets half as many go, and then a
// little more with every second in which it is not told again.
func (b *Bucket) Throttled() { b.slow.halve(b.messages, time.Now()) }

// Busy reports whether a configured rate was used up just now: somebody waits for
// it, or did a moment ago.
func (b *Bucket) Busy() bool {
	return b.messages != nil && b.messages.Tokens() < 1
}

// Pace is what a bucket lets go now.
type Pace struct {
	Rate      float64 // messages a second; 0: unlimited
	Slowed    bool    // the cloud throttles: Rate is below the configured one
	Throttled int64   // how often it was slowed down since the start
}

// Pace may be called at any time.
func (b *Bucket) Pace() Pace { return b.slow.pace(b.messages, time.Now()) }

// wait awaits n tokens.
func wait(ctx context.Context, stop <-chan struct{}, l *rate.Limiter, n int, idle func()) error {
	r := l.ReserveN(time.Now(), n)
	d := r.Delay()
	if d == 0 {
		return nil
	}
	if idle != nil {
		idle()
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		r.Cancel()
		return ctx.Err()
	case <-stop:
		r.Cancel()
		return ErrStopped
	}
}

func take(l *rate.Limiter, now time.Time, n int) {
	if l == nil {
		return
	}
	for n > 0 && l.TokensAt(now) > -float64(l.Limit()) {
		k := min(n, l.Burst())
		l.ReserveN(now, k)
		n -= k
	}
}
