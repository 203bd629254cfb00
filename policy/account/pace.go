package account

import (
	"context"
	"errors"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws/ratelimit"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	"github.com/aws/smithy-go"
)

const (
	// attempts with up to longestWait between them outlast minutes of
	// throttling by somebody else's tools in the same account.
	attempts    = 15
	longestWait = 20 * time.Second
	// shortWait is the longest after a failure that is not for being too fast.
	// A network that is away for longer than a quarter of a minute is for the
	// user to know of, and the next pull goes on from there.
	shortWait = time.Second
	// tick is how often a call that has to wait looks whether it may go.
	tick = 20 * time.Millisecond
)

// pace is the SDK's adaptive retrying: failed attempts are repeated after a
// random wait that grows, and a limiter learns from throttled ones the rate
// that the account allows. Retries cost nothing but time, so no quota of
// tokens ends them.
type pace struct{ *retry.AdaptiveMode }

func newPace() pace {
	return pace{retry.NewAdaptiveMode(func(a *retry.AdaptiveModeOptions) {
		a.FailOnNoAttemptTokens = true // we wait ourselves
		a.StandardOptions = append(a.StandardOptions, func(s *retry.StandardOptions) {
			s.MaxAttempts, s.MaxBackoff, s.RateLimiter = attempts, longestWait, ratelimit.None
		})
	})}
}

// RetryDelay is the wait before the next attempt.
func (p pace) RetryDelay(attempt int, err error) (time.Duration, error) {
	wait, wrong := p.AdaptiveMode.RetryDelay(attempt, err)
	if api, ok := errors.AsType[smithy.APIError](err); !ok || !throttled(api.ErrorCode()) {
		wait = min(wait, shortWait)
	}
	return wait, wrong
}

// GetAttemptToken waits until the limiter lets an attempt go. The SDK's own
// wait is the time to the next token to the nanosecond, which rounds to none
// at all and then spins.
func (p pace) GetAttemptToken(ctx context.Context) (func(error) error, error) {
	for {
		release, err := p.AdaptiveMode.GetAttemptToken(ctx)
		if err == nil {
			return release, nil
		}
		t := time.NewTimer(tick)
		select {
		case <-t.C:
		case <-ctx.Done():
			t.Stop()
			return nil, ctx.Err()
		}
	}
}
