package upstream

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"sync"
	"syscall"
	"time"

	"golang.org/x/time/rate"

	"github.com/ebbgate/ebbgate/bridge"
)

// StableAfter is how long a link must have been up for the attempts to start
// anew: a link that drops at once is an attempt that failed.
const StableAfter = 30 * time.Second

// BackoffOptions are the waits between attempts to connect.
type BackoffOptions struct {
	Base   time.Duration `koanf:"base" doc:"Upper bound of the first random wait after a failure, 1ms to 1h; it doubles with every further one."`
	Max    time.Duration `koanf:"max" doc:"Upper bound of every random wait, base to 24h."`
	Spread time.Duration `koanf:"spread" doc:"Upper bound of the random wait before the first attempt after a start, 0s to 1h, and after a link was lost where it is more than base; for a fleet whose power comes back at once, or which loses its region, a second for every 1000 connections of the account."`
	Floor  time.Duration `koanf:"floor" doc:"Least time between two CONNECTs of one client id, 1ms to 10m; 0 chooses 10s for AWS hosts and 200ms for others."`
}

// DefaultBackoff are the AWS SDKs' values, with the floor chosen by the host.
func DefaultBackoff() BackoffOptions {
	return BackoffOptions{Base: time.Second, Max: 2 * time.Minute, Spread: 500 * time.Millisecond}
}

// Validate lists everything that is wrong with the options.
func (o BackoffOptions) Validate() []bridge.Problem {
	var out []bridge.Problem
	if o.Base < time.Millisecond || o.Base > time.Hour {
		out = append(out, bridge.Problem{
			Path: "base", Text: fmt.Sprintf("%v is out of range", o.Base), Remedy: "set it between 1ms and 1h",
		})
	}
	if o.Max < o.Base || o.Max > 24*time.Hour {
		out = append(out, bridge.Problem{
			Path: "max", Text: fmt.Sprintf("%v is out of range", o.Max), Remedy: "set it between base and 24h",
		})
	}
	if o.Spread < 0 || o.Spread > time.Hour {
		out = append(out, bridge.Problem{
			Path: "spread", Text: fmt.Sprintf("%v is out of range", o.Spread), Remedy: "set it between 0s and 1h",
		})
	}
	if o.Floor < 0 || o.Floor > 0 && o.Floor < time.Millisecond || o.Floor > 10*time.Minute {
		out = append(out, bridge.Problem{
			Path: "floor", Text: fmt.Sprintf("%v is out of range", o.Floor), Remedy: "set it between 1ms and 10m, or to 0 to have it chosen by the host",
		})
	}
	return out
}

// Backoff waits before the attempts of one client id. The first waits a random
// time up to the spread; the n-th after it waits a random time up to
// min(max, base·2ⁿ⁻¹) (full jitter), with the spread for the base where it is
// more, on top of what is left of the floor, so that the waits of a fleet never
// meet and never look constant. One attempt is under way at a time.
type Backoff struct {
	o         BackoffOptions
	random    func(below time.Duration) time.Duration
	gate      *Gate       // nil: none
	elsewhere func() bool // see [Shared]; nil: no
	bucket    *Bucket     // of the same client id; nil: nobody has said which

	mu    sync.Mutex
	heirs // see [Paces]
	history
}

// history is what the next attempt depends on.
type history struct {
	attempts int
	last     time.Time // of the latest attempt
	before   time.Time // of the one before that
	began    time.Time // as last, and never taken back
	due      time.Time // when the wait that is under way ends; zero: none is
	renewed  bool      // the next one follows a link that was ended to be renewed
	offline  bool      // the latest attempt reached nobody
	reached  bool      // the latest attempt has said who we are
	ours     bool      // the latest attempt, or its link, was ended by us
}

// Gate spaces the attempts of all connections to one upstream: however many
// there are, their CONNECTs come one by one. It also knows, for all of them, when
// this machine is on another network, and which of them tries a new certificate. It
// is safe for concurrent use.
type Gate struct {
	turns   *rate.Limiter
	network network
	trials  trials
}

// connectSpacing is the least time between two CONNECTs of one upstream.
const connectSpacing = 250 * time.Millisecond

// NewGate makes the gate of one upstream.
func NewGate() *Gate {
	return &Gate{turns: rate.NewLimiter(rate.Every(connectSpacing), 1), network: network{look: networkNow}}
}

// NewBackoff makes a back-off. random gives a duration from 0 to below its
// argument; nil takes one that no other process shares.
func NewBackoff(o BackoffOptions, random func(below time.Duration) time.Duration) *Backoff {
	if random == nil {
		random = rand.N[time.Duration]
	}
	return &Backoff{o: o, random: random}
}

// Through makes every attempt wait for its turn at a gate as well. Call it before
// the first Wait.
func (b *Backoff) Through(g *Gate) { b.gate = g }

// Wait blocks until the next attempt may start, and counts it. It fails only
// when ctx ends. What became of the attempt is told by Failed, GivenUp, or, when its
// link has ended, by Lived.
func (b *Backoff) Wait(ctx context.Context) error {
	if err := b.succeed(ctx); err != nil {
		return err
	}
	err := b.pause(ctx)
	if err == nil && b.gate != nil {
		err = b.gate.turns.Wait(ctx)
	}
	if err == nil {
		err = ctx.Err() // both were ready
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if err != nil {
		b.settle()
		return err
	}
	b.attempts++
	now := time.Now()
	b.before, b.last, b.began, b.due = b.last, now, now, time.Time{}
	b.offline, b.renewed, b.reached, b.ours = false, false, false, false
	return nil
}

// Reached is called when an attempt has its connection and is about to say who we
// are. One that hung until the link came back did so with those of the other
// connections, and of other gateways: it waits for its turn and up to the spread,
// as after a start.
func (b *Backoff) Reached(ctx context.Context) error {
	b.mu.Lock()
	began := b.began
	b.mu.Unlock()
	if time.Since(began) >= askAgain {
		t := time.NewTimer(b.random(b.o.Spread + 1))
		defer t.Stop()
		select {
		case <-t.C:
		case <-ctx.Done():
			return ctx.Err()
		}
		if b.gate != nil {
			if err := b.gate.turns.Wait(ctx); err != nil {
				return err
			}
		}
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.last, b.reached = time.Now(), true
	return nil
}

// pause awaits the delay. A machine that comes onto another network meanwhile
// begins anew: what failed there may work here.
func (b *Backoff) pause(ctx context.Context) error {
	b.mu.Lock()
	now := time.Now()
	t := time.NewTimer(b.wait(now))
	looks := b.gate != nil && b.attempts > 1
	b.mu.Unlock()
	defer t.Stop()
	var look <-chan time.Time
	var here string
	if looks {
		tick := time.NewTicker(networkEvery)
		defer tick.Stop()
		look, here = tick.C, b.gate.network.state(now)
	}
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-t.C:
			return nil
		case now := <-look:
			if there := b.gate.network.state(now); there != here {
				here = there
				b.mu.Lock()
				b.attempts, b.due = 1, time.Time{}
				t.Reset(b.wait(now))
				b.mu.Unlock()
			}
		}
	}
}

// Failed tells of an attempt that failed. One that reached nobody, because there
// is no route, no name server, or no answer at all, does not count: it has cost
// nobody anything, and whoever waits two minutes after it keeps his messages two
// minutes longer than the link is away. It does count while the messages go
// another way.
func (b *Backoff) Failed(err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	defer b.settle()
	if b.elsewhere != nil && b.elsewhere() {
		return
	}
	_, unnamed := errors.AsType[*net.DNSError](err)
	_, unanswered := errors.AsType[*UnansweredError](err)
	if unnamed || unanswered || errors.Is(err, syscall.ENETUNREACH) || errors.Is(err, syscall.EHOSTUNREACH) || errors.Is(err, syscall.ENETDOWN) {
		b.attempts--
		b.last, b.offline = b.before, true // the floor is about CONNECTs
	}
}

// offlineWait bounds the time between the beginnings of two attempts that reach
// nobody.
const offlineWait = 1500 * time.Millisecond

// usefulAttempts is how many attempts there seem to have been, at most, when messages
// were acknowledged on the latest link: the waits go no further than 8 times the base.
const usefulAttempts = 4

// Ending is how a link has ended.
type Ending int

// How a link ends: by itself or by the broker, to be renewed, or because it is not
// wanted any more.
const (
	Broke Ending = iota
	Renewed
	Closed
)

// Lived tells how long the link of the latest attempt was up, and how it ended. From
// [StableAfter] on the waits begin small again; the attempt after a link that was
// ended to be renewed goes at once. After a shorter one that was of use they grow, but
// stay small: a few messages on which the broker hangs up must not stop all others.
func (b *Backoff) Lived(d time.Duration, useful bool, end Ending) {
	b.mu.Lock()
	defer b.mu.Unlock()
	defer b.settle()
	b.reached, b.ours = true, end == Closed
	if d < StableAfter {
		if useful {
			b.attempts = min(b.attempts, usefulAttempts)
		}
		return
	}
	b.attempts = 1 // the attempt that made that link; the next one follows it
	b.renewed = end == Renewed
}

// GivenUp tells of an attempt that nobody awaits any more. The floor is about those
// that have said who we are.
func (b *Backoff) GivenUp() {
	b.mu.Lock()
	defer b.mu.Unlock()
	defer b.settle()
	b.ours = true
	if !b.reached {
		b.last = b.before
	}
}

// Attempts is how many attempts were made since the start or the latest stable
// link.
func (b *Backoff) Attempts() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.attempts
}

// wait is the wait that begins now, or goes on; b.mu is held.
func (b *Backoff) wait(now time.Time) time.Duration {
	d := b.delay(now)
	if !b.due.IsZero() { // another began it, with other options perhaps
		floor := b.floor(now)
		d = min(max(b.due.Sub(now), floor), floor+b.o.Max)
	}
	b.due = now.Add(d)
	return d
}

// floor is what is left of the floor.
func (b *Backoff) floor(now time.Time) time.Duration { return max(0, b.o.Floor-now.Sub(b.last)) }

func (b *Backoff) delay(now time.Time) time.Duration {
	switch {
	case b.renewed:
		return 0
	case b.offline:
		return max(b.floor(now), offlineWait/2+b.random(offlineWait/2)-now.Sub(b.began))
	case b.attempts == 0:
		return b.floor(now) + b.random(b.o.Spread+1)
	}
	bound := max(b.o.Base, b.o.Spread)
	for range b.attempts - 1 {
		if bound >= b.o.Max {
			break
		}
		bound *= 2
	}
	return b.floor(now) + b.random(min(bound, b.o.Max)+1)
}
