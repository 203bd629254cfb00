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

// Bucket paces one connection: a token bucket for messages and one for bytes,
// each for both directions. It is safe for concurrent use; the bytes of
// concurrent waits may interleave.
type Bucket struct {
	messages, bytes *rate.Limiter // nil: unlimited
}

// NewBucket makes the bucket of one connection.
func NewBucket(l Limits) *Bucket {
	b := &Bucket{}
	if l.MessagesPerSecond > 0 {
		b.messages = rate.NewLimiter(rate.Limit(l.MessagesPerSecond), max(l.Burst, 1))
	}
	if l.BytesPerSecond > 0 {
		b.bytes = rate.NewLimiter(rate.Limit(l.BytesPerSecond), max(int(l.BytesPerSecond)/byteBurst, 1))
	}
	return b
}

// Wait blocks until one message of size bytes may be written. It ends early,
// with an error, when ctx ends or stop is closed (nil: never). A message larger
// than the burst of bytes waits for its bytes piece by piece, so it passes.
//
// idle, when not nil, is called before it really waits.
//
// The message token is taken last: it is what keeps the spacing, and a token
// that waited for bytes would no longer.
func (b *Bucket) Wait(ctx context.Context, stop <-chan struct{}, size int, idle func()) error {
	if b.bytes != nil {
		for size > 0 {
			n := min(size, b.bytes.Burst())
			if err := wait(ctx, stop, b.bytes, n, idle); err != nil {
				return err
			}
			size -= n
		}
	}
	if b.messages != nil {
		return wait(ctx, stop, b.messages, 1, idle)
	}
	return nil
}

// Take counts a message of size bytes that came in. It never waits: what is
// missing becomes debt that later waits pay, one second's worth at most, since
// the cloud counts by the second too.
func (b *Bucket) Take(size int) {
	now := time.Now()
	take(b.messages, now, 1)
	take(b.bytes, now, size)
}

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
