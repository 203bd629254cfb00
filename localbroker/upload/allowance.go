package upload

import (
	"maps"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// allowance is how many commands that bring no bytes of a file a client has: init,
// fin and abort, and what cannot be made sense of. They cost the gateway work and the
// shelf, whose disk all share, room that nothing else bounds: a file is begun and
// given up as quickly as the two can be sent.
//
// Who uses it up is not refused: its connection is not read until there is more, so
// that it waits, and no one else. A device that sends small files one after another
// is not held up by it.
type allowance struct {
	rate  rate.Limit // a second
	burst int        // in advance

	mu sync.Mutex
	of map[string]*rate.Limiter // those that have used some lately
}

const (
	// allowedBytes is how much the commands of a client may weigh in a second: two
	// thousand small ones, or a hundred and twenty that say as much as init may. It
	// has as much in advance.
	allowedBytes = 2 << 20
	// leastCommand is what each weighs at least.
	leastCommand = 1 << 10
	// mostAllowances is how many clients are remembered before those are looked for
	// that need not be.
	mostAllowances = 10_000
)

// reserve takes a command of so many bytes from a client's allowance, and tells how
// long it has to wait.
func (a *allowance) reserve(client string, size int) time.Duration {
	now := time.Now()
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.limiterLocked(client, now).ReserveN(now, min(max(size, leastCommand), a.burst)).DelayFrom(now)
}

// take takes so much of it at once, or nothing.
func (a *allowance) take(client string, n int) bool {
	now := time.Now()
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.limiterLocked(client, now).AllowN(now, n)
}

func (a *allowance) limiterLocked(client string, now time.Time) *rate.Limiter {
	l := a.of[client]
	if l == nil {
		if a.of == nil {
			a.of = map[string]*rate.Limiter{}
		}
		if len(a.of) >= mostAllowances {
			a.forgetLocked(now)
		}
		l = rate.NewLimiter(a.rate, a.burst)
		a.of[client] = l
	}
	return l
}

// forget forgets the clients that have used nothing for a while.
func (a *allowance) forget() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.forgetLocked(time.Now())
}

func (a *allowance) forgetLocked(now time.Time) {
	maps.DeleteFunc(a.of, func(_ string, l *rate.Limiter) bool { return l.TokensAt(now) >= float64(a.burst) })
}

// afford waits until a client may have a command of so many bytes carried out, or
// the service ends.
func (s *Service) afford(client string, size int) {
	wait := s.allowed.reserve(client, size)
	if wait <= 0 {
		return
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-s.ending.Done():
	}
}
