package upstream

import (
	"context"
	"fmt"
	"slices"
	"time"
)

// Paces is how the connections to one upstream are paced, by client id. Those of a
// configuration that is read anew take the place of the ones before: the cloud
// counts by client id, and knows nothing of reloads.
type Paces struct {
	account *Bucket // nil: no limit
	of      map[string]*Backoff
}

// NewPaces begins without any connection. account is the bucket that all share, nil
// for no limit.
func NewPaces(account *Bucket) *Paces {
	return &Paces{account: account, of: map[string]*Backoff{}}
}

// join notes a connection's back-off, and by it the bucket. Several of one name are
// told by the order in which they come.
func (p *Paces) join(name string, b *Backoff) {
	key := name
	for n := 2; p.of[key] != nil; n++ {
		key = fmt.Sprintf("%s (%d)", name, n)
	}
	p.of[key] = b
}

// Follow makes these the successors of others, whose connections have ended or are
// about to: the floor between two CONNECTs, the waits, the last second's messages and
// what throttling has taught go on. With anew, attempts begin small again: another
// login, or another address, may be let in. Call it before the first Wait; before may
// be nil.
func (p *Paces) Follow(before *Paces, anew bool) {
	if before == nil {
		return
	}
	if p.account != nil && before.account != nil {
		p.account.follow(before.account)
	}
	for name, b := range p.of {
		if old := before.of[name]; old != nil {
			b.follow(old, anew)
		}
	}
}

// heirs is how one back-off takes the place of another.
type heirs struct {
	after *Backoff      // whose place it takes with its first wait; nil: nobody's
	anew  bool          // and begins small again
	idle  chan struct{} // closed once nothing is under way; nil: nothing is
}

// settleWithin bounds how long a successor waits for the end of what it follows: a
// farewell, as a rule.
const settleWithin = 5 * time.Second

// follow makes b the successor of another: of the last that has made attempts.
func (b *Backoff) follow(old *Backoff, anew bool) {
	old.mu.Lock()
	before, also := old.after, old.anew
	old.mu.Unlock()
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.after, b.anew = old, anew; before != nil {
		b.after, b.anew = before, anew || also
	}
}

// succeed takes the place of the one that b follows, once that has come to its end.
// From then on b has an attempt under way.
func (b *Backoff) succeed(ctx context.Context) error {
	b.mu.Lock()
	old, anew := b.after, b.anew
	b.mu.Unlock()
	var was history
	if old != nil {
		if err := old.settled(ctx); err != nil {
			return err
		}
		old.mu.Lock()
		was = old.history
		old.mu.Unlock()
		if b.bucket != nil && old.bucket != nil {
			b.bucket.follow(old.bucket)
		}
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.due = time.Time{}
	if old != nil {
		b.after, b.history = nil, was.next(anew)
	}
	if b.idle == nil {
		b.idle = make(chan struct{})
	}
	return nil
}

// next is what a successor goes by. An end that we made was no failure.
func (p history) next(anew bool) history {
	switch {
	case anew:
		p.attempts, p.due, p.offline, p.renewed = 0, time.Time{}, false, false
	case p.ours:
		p.attempts = max(p.attempts-1, 0)
	}
	return p
}

// settle notes that nothing is under way; b.mu is held.
func (b *Backoff) settle() {
	if b.idle != nil {
		close(b.idle)
		b.idle = nil
	}
}

// settled waits until nothing is under way.
func (b *Backoff) settled(ctx context.Context) error {
	b.mu.Lock()
	idle := b.idle
	b.mu.Unlock()
	if idle == nil {
		return ctx.Err()
	}
	late := time.NewTimer(settleWithin)
	defer late.Stop()
	select {
	case <-idle:
	case <-late.C:
	case <-ctx.Done():
	}
	return ctx.Err()
}

// follow takes over what another bucket knows of the last second, what it owes, and
// how fast the cloud lets it be.
func (b *Bucket) follow(old *Bucket) {
	old.mu.Lock()
	messages, spacing, bytes := old.messages.have, old.spacing.have, old.bytes.have
	last, grown, blocked := old.second, old.grown, old.blocked
	last.steps = slices.Clone(last.steps)
	old.mu.Unlock()
	b.slow.follow(&old.slow)
	b.mu.Lock()
	defer b.mu.Unlock()
	b.messages.have = min(messages, b.messages.burst)
	b.spacing.have = min(spacing, b.spacing.burst)
	b.bytes.have = min(bytes, b.bytes.burst)
	b.second, b.grown, b.blocked = last, grown, blocked
}

// follow takes over what throttling has taught another, unless the configured rate
// is below what that would let go anyway.
func (s *slowdown) follow(old *slowdown) {
	old.mu.Lock()
	defer old.mu.Unlock()
	old.recover(time.Now())
	s.mu.Lock()
	defer s.mu.Unlock()
	s.times.Store(old.times.Load())
	if s.full == 0 && old.full == 0 {
		s.made = old.made
		s.count.Store(old.count.Load())
		s.since.Store(old.since.Load())
		s.before.Store(old.before.Load())
	}
	if !old.active.Load() || s.full > 0 && old.rate >= s.full {
		return
	}
	s.rate, s.tooMuch, s.changed, s.halved = old.rate, old.tooMuch, old.changed, old.halved
	s.top, s.step = old.top, old.step
	if s.full > 0 {
		s.top, s.step = s.full, s.full*growth
	}
	s.active.Store(true)
}
