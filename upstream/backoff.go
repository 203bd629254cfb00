package upstream

import (
	"context"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/ebbgate/ebbgate/bridge"
)

// StableAfter is how long a link must have been up for the attempts to start
// anew: a link that drops at once is an attempt that failed.
const StableAfter = 30 * time.Second

// BackoffOptions are the waits between attempts to connect.
type BackoffOptions struct {
	Base  time.Duration `koanf:"base" doc:"Upper bound of the first random wait after a failure, 1ms to 1h; it doubles with every further one."`
	Max   time.Duration `koanf:"max" doc:"Upper bound of every random wait, base to 24h."`
	Floor time.Duration `koanf:"floor" doc:"Least time between two CONNECTs of one client id, 1ms to 10m; 0 chooses 10s for AWS hosts and 200ms for others."`
}

// DefaultBackoff are the AWS SDKs' values, with the floor chosen by the host.
func DefaultBackoff() BackoffOptions {
	return BackoffOptions{Base: time.Second, Max: 2 * time.Minute}
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
	if o.Floor < 0 || o.Floor > 0 && o.Floor < time.Millisecond || o.Floor > 10*time.Minute {
		out = append(out, bridge.Problem{
			Path: "floor", Text: fmt.Sprintf("%v is out of range", o.Floor), Remedy: "set it between 1ms and 10m, or to 0 to have it chosen by the host",
		})
	}
	return out
}

// Backoff waits before the attempts of one client id. The first goes at once;
// the n-th after it waits a random time up to min(max, base·2ⁿ⁻¹) (full
// jitter), on top of what is left of the floor, so that the waits of a fleet
// never meet and never look constant. It is for one goroutine.
type Backoff struct {
	o        BackoffOptions
	random   func(below time.Duration) time.Duration
	attempts int
	last     time.Time // of the latest attempt
}

// NewBackoff makes a back-off. random gives a duration from 0 to below its
// argument; nil takes one that no other process shares.
func NewBackoff(o BackoffOptions, random func(below time.Duration) time.Duration) *Backoff {
	if random == nil {
		random = rand.N[time.Duration]
	}
	return &Backoff{o: o, random: random}
}

// Wait blocks until the next attempt may start, and counts it. It fails only
// when ctx ends.
func (b *Backoff) Wait(ctx context.Context) error {
	t := time.NewTimer(b.delay(time.Now()))
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
	}
	if ctx.Err() != nil { // both were ready
		return ctx.Err()
	}
	b.attempts++
	b.last = time.Now()
	return nil
}

// Lived tells how long the link of the latest attempt was up. From
// [StableAfter] on the waits begin small again; the attempt after a link that was
// ended to be renewed goes at once.
func (b *Backoff) Lived(d time.Duration, renewed bool) {
	if d < StableAfter {
		return
	}
	b.attempts = 1 // the attempt that made that link; the next one follows it
	if renewed {
		b.attempts = 0
	}
}

// Attempts is how many attempts were made since the start or the latest stable
// link.
func (b *Backoff) Attempts() int { return b.attempts }

func (b *Backoff) delay(now time.Time) time.Duration {
	if b.attempts == 0 {
		return 0
	}
	bound := b.o.Base
	for range b.attempts - 1 {
		if bound >= b.o.Max {
			break
		}
		bound *= 2
	}
	return max(0, b.o.Floor-now.Sub(b.last)) + b.random(min(bound, b.o.Max)+1)
}
