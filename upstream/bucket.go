package upstream

import (
	"context"
	"errors"
	"sync"
	"time"
)

// ErrStopped ends a [Bucket.Wait] whose stop channel was closed.
var ErrStopped = errors.New("stopped while waiting for the rate limit")

// byteBurst is the part of a second's bytes that may go at once, see
// [DefaultLimits].
const byteBurst = 7

// What a late timer costs is made up for, as long as it is little and never at
// once. A sliding second is the cloud's to count, at the other end of a network and
// by a clock of its own, and a burst of ours at the edge of one is one too many
// there. So at most credited of the rate is remembered, and only the latest timer's
// own lateness, up to atOnce, goes at once; the rest comes as a few hundredths
// more than the rate. A machine on which all timers are late beyond that uses less
// than the rate.
const (
	credited = 50 * time.Millisecond
	atOnce   = 25 * time.Millisecond
	hurry    = 1.03
)

// Bucket paces one connection: a token bucket for messages and one for bytes,
// each for both directions; one that spaces what the first makes up for; and a
// record of the last second, so that however late a timer or a write is, no second
// holds more than it may (see [Limits.Most]). It slows down when the cloud throttles
// (see [Bucket.Throttled]), and may be one of several within a bucket for all of
// them. It is safe for concurrent use; who waits goes in turn.
type Bucket struct {
	limits Limits
	within *Bucket       // nil: alone
	turn   chan struct{} // held by the one who waits for tokens
	slow   slowdown

	mu              sync.Mutex
	messages, bytes tokens // with no rate: unlimited
	spacing         tokens // of messages
	second          second
	grown           time.Time // the tokens are those of this time
	blocked         time.Time // until when somebody last had to wait

	lateness func() time.Duration // of a timer, for tests; nil: what the machine makes it
}

// NewBucket makes the bucket of one client id, for all of its connections: what
// one was throttled for the next must not do.
func NewBucket(l Limits) *Bucket {
	now := time.Now()
	b := &Bucket{limits: l, turn: make(chan struct{}, 1), grown: now}
	burst := float64(max(l.Burst, 1))
	b.messages = tokens{burst: burst, have: burst}
	b.spacing = b.messages
	b.set(l.MessagesPerSecond)
	b.bytes.burst = max(float64(l.BytesPerSecond/byteBurst), 1)
	b.bytes.rate, b.bytes.have = float64(l.BytesPerSecond), b.bytes.burst
	b.slow.full, b.slow.made = l.MessagesPerSecond, now
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
	if b.unlimited() {
		return nil
	}
	told := false
	waits := func() {
		if !told && idle != nil {
			idle()
		}
		told = true
	}
	select {
	case b.turn <- struct{}{}:
	default:
		waits()
		select {
		case b.turn <- struct{}{}:
		case <-ctx.Done():
			return ctx.Err()
		case <-stop:
			return ErrStopped
		}
	}
	defer func() { <-b.turn }()
	for left := float64(size); ; {
		d := b.try(&left, size)
		if d == 0 {
			return nil
		}
		waits()
		if b.lateness != nil {
			d += b.lateness()
		}
		if err := sleep(ctx, stop, d); err != nil {
			b.giveUp(float64(size) - left)
			return err
		}
	}
}

// try takes the tokens that there are for a message of size bytes, left of which
// it still has none for. It returns how long to wait for more; 0 when it may go.
func (b *Bucket) try(left *float64, size int) time.Duration {
	b.mu.Lock()
	defer b.mu.Unlock()
	now := time.Now()
	b.grow(now)
	if b.bytes.rate > 0 && *left > 0 {
		n := min(max(b.bytes.have, 0), *left)
		b.bytes.have -= n
		if *left -= n; *left > 0 {
			return b.wait(now, b.bytes.until(min(*left, b.bytes.burst)))
		}
	}
	b.second.forget(now)
	d := max(b.messages.until(1), b.spacing.until(1))
	if d = max(d, b.second.until(now, size, b.most(), b.limits.mostBytes())); d > 0 {
		return b.wait(now, d)
	}
	b.messages.take(1)
	b.spacing.take(1)
	b.second.went(now, 1, size)
	return 0
}

// most is how many messages a second may hold when we send another. What may come in
// before it is over has to find room, and so has what a second of the cloud's has
// and ours has not. 0 is no limit.
func (b *Bucket) most() int {
	if b.messages.rate == 0 {
		return 0
	}
	l := b.limits
	l.MessagesPerSecond = b.messages.rate
	most := l.Most()
	return max(most-min(max(b.second.clump, most*3/100, 1), most/10), l.Burst, 1)
}

// wait notes that somebody has to wait.
func (b *Bucket) wait(now time.Time, d time.Duration) time.Duration {
	b.blocked = now.Add(d)
	return d
}

// grow lets tokens grow until now, at the rate that the cloud's complaints leave.
// What more than the burst is saved makes up for being late, which only who has a
// backlog can be; and a cloud that throttles is not pressed.
func (b *Bucket) grow(now time.Time) {
	if r := b.slow.now(now); r != b.messages.rate {
		b.set(r)
	}
	d := max(now.Sub(b.grown), 0)
	b.grown = now
	b.bytes.grow(d, 0)
	if now.Sub(b.blocked) < time.Second && !b.slow.active.Load() {
		b.messages.grow(d, credited)
		b.spacing.grow(d, atOnce)
		return
	}
	b.messages.grow(d, 0)
	b.spacing.grow(d, 0)
}

// set sets the rate of messages.
func (b *Bucket) set(rate float64) {
	b.messages.set(rate)
	b.spacing.set(rate * hurry)
}

// giveUp returns the bytes of a message that does not go.
func (b *Bucket) giveUp(bytes float64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.bytes.have = min(b.bytes.have+bytes, b.bytes.burst)
}

// unlimited reports whether nothing paces now, and counts a message then.
func (b *Bucket) unlimited() bool {
	return b.limits.MessagesPerSecond == 0 && b.limits.BytesPerSecond == 0 && b.slow.rests()
}

// Free reports whether a Wait for one message would not wait, and counts it then.
func (b *Bucket) Free() bool { return b.unlimited() && (b.within == nil || b.within.Free()) }

// Written tells that of what was let go some is written now. Until then it counts
// as written when it was let go, which on a busy machine is a while earlier.
func (b *Bucket) Written(messages, bytes int) {
	if b.unpaced() {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.second.written(time.Now(), messages, bytes)
}

// Take counts a message of size bytes that came in. It never waits: what is
// missing becomes debt that later waits pay, one second's worth at most, since
// the cloud counts by the second too.
func (b *Bucket) Take(size int) {
	if b.within != nil {
		b.within.Take(size)
	}
	if b.unpaced() {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	now := time.Now()
	b.grow(now)
	b.messages.owe(1)
	b.spacing.owe(1)
	b.bytes.owe(float64(size))
	b.second.forget(now)
	b.second.came(now, size)
}

// unpaced reports whether nothing paces now.
func (b *Bucket) unpaced() bool {
	return b.limits.MessagesPerSecond == 0 && b.limits.BytesPerSecond == 0 && !b.slow.active.Load()
}

// Throttled tells the bucket that the cloud has thrown a message away, or hung
// up, for there being too many: from now on it lets half as many go, and then a
// little more with every second in which it is not told again.
func (b *Bucket) Throttled() { b.slow.halve(time.Now()) }

// Busy reports whether a configured rate was used up just now: somebody waits for
// it, or did a moment ago.
func (b *Bucket) Busy() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	now := time.Now()
	if b.limits.MessagesPerSecond == 0 {
		return false
	}
	b.grow(now)
	b.second.forget(now)
	return now.Before(b.blocked) || b.messages.until(1) > 0 || b.second.messages() >= b.most()
}

// Pace is what a bucket lets go now.
type Pace struct {
	Rate      float64 // messages a second; 0: unlimited
	Slowed    bool    // the cloud throttles: Rate is below the configured one
	Throttled int64   // how often it was slowed down since the start
}

// Pace may be called at any time.
func (b *Bucket) Pace() Pace { return b.slow.pace(time.Now()) }

// sleep waits for d.
func sleep(ctx context.Context, stop <-chan struct{}, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case <-stop:
		return ErrStopped
	}
}
