package upstream

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// most is a jitter that always draws the largest value.
func most(below time.Duration) time.Duration { return below - 1 }

func least(time.Duration) time.Duration { return 0 }

// waits makes n attempts that fail at once and returns how long each waited.
func waits(t *testing.T, b *Backoff, n int) []time.Duration {
	t.Helper()
	var out []time.Duration
	for range n {
		start := time.Now()
		if err := b.Wait(t.Context()); err != nil {
			t.Fatal(err)
		}
		out = append(out, time.Since(start))
	}
	return out
}

func TestBackoffDoublesToItsCap(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := NewBackoff(BackoffOptions{Base: time.Second, Max: 10 * time.Second}, most)
		want := []time.Duration{0, 1, 2, 4, 8, 10, 10}
		for i, d := range waits(t, b, len(want)) {
			if d != want[i]*time.Second {
				t.Errorf("attempt %d waited up to %v, want %v", i, d, want[i]*time.Second)
			}
		}
	})
}

func TestBackoffDoesNotOverflow(t *testing.T) {
	b := NewBackoff(BackoffOptions{Base: time.Hour, Max: 24 * time.Hour}, most)
	b.attempts, b.last = 1_000_000, time.Now()
	if d := b.delay(time.Now()); d != 24*time.Hour {
		t.Errorf("after a million attempts it waits %v", d)
	}
}

func TestBackoffIsJittered(t *testing.T) {
	b := NewBackoff(DefaultBackoff(), nil)
	b.attempts, b.last = 10, time.Now()
	seen := map[time.Duration]bool{}
	for range 100 {
		d := b.delay(b.last)
		if d < 0 || d > DefaultBackoff().Max {
			t.Fatalf("waits %v", d)
		}
		seen[d] = true
	}
	if len(seen) < 90 {
		t.Errorf("100 draws gave %d different waits", len(seen))
	}
}

func TestFloorBetweenConnects(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := NewBackoff(BackoffOptions{Base: time.Second, Max: time.Minute, Floor: 10 * time.Second}, least)
		for i, d := range waits(t, b, 5) {
			if i > 0 && d != 10*time.Second {
				t.Errorf("attempt %d came after %v, below the floor", i, d)
			}
		}
		time.Sleep(7 * time.Second) // an attempt that took its time
		if d := waits(t, b, 1)[0]; d != 3*time.Second {
			t.Errorf("waited %v, want what was left of the floor", d)
		}
	})
}

func TestOnlyAStableLinkResetsTheAttempts(t *testing.T) {
	for _, c := range []struct {
		name  string
		lived time.Duration
		want  time.Duration
	}{
		{"unstable", 29 * time.Second, 16 * time.Second},
		{"stable", 30 * time.Second, time.Second},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := NewBackoff(BackoffOptions{Base: time.Second, Max: time.Minute}, most)
				waits(t, b, 5)
				time.Sleep(c.lived)
				b.Lived(c.lived, false, Broke)
				if d := waits(t, b, 1)[0]; d != c.want {
					t.Errorf("waited %v, want %v", d, c.want)
				}
			})
		})
	}
}

func TestBackoffEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := NewBackoff(BackoffOptions{Base: time.Hour, Max: time.Hour}, most)
		waits(t, b, 1)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := b.Wait(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("ended with %v", err)
		}
		if n := b.Attempts(); n != 1 {
			t.Errorf("a wait that ended counted as attempt %d", n)
		}
	})
}

// While there is no way out of the machine nobody is asked too often: the first
// message after the link returns does not wait for a long back-off to end.
func TestAttemptsThatNeverLeftDoNotCount(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := NewBackoff(BackoffOptions{Base: time.Second, Max: time.Hour, Floor: 10 * time.Second}, most)
		waits(t, b, 3)
		b.Failed(fmt.Errorf("connect: %w", syscall.ECONNREFUSED))
		if d := waits(t, b, 1)[0]; d != 14*time.Second {
			t.Errorf("waited %v after a refusal, want the floor and the back-off", d)
		}
		time.Sleep(10 * time.Second) // one that took its time is followed at once
		b.Failed(syscall.ENETUNREACH)
		if d := waits(t, b, 1)[0]; d != 0 {
			t.Errorf("waited %v after an attempt of 10 seconds", d)
		}
		for _, err := range []error{syscall.ENETUNREACH, &net.DNSError{Err: "no such host"}, syscall.EHOSTUNREACH} {
			b.Failed(fmt.Errorf("connect: %w", err))
			if d := waits(t, b, 1)[0]; d > 1500*time.Millisecond || d < 700*time.Millisecond {
				t.Errorf("waited %v after %v", d, err)
			}
		}
		if n := b.Attempts(); n != 4 {
			t.Errorf("%d attempts are counted", n)
		}
	})
}

// However many connections a pool has, and all of them try at once: about
// four a second do, and within the floor each once.
func TestGateSpacesThePool(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const connections = 8
		g := NewGate()
		var mu sync.Mutex
		var at []time.Time
		var all sync.WaitGroup
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
		defer cancel()
		for range connections {
			b := NewBackoff(BackoffOptions{Base: time.Second, Max: 2 * time.Minute, Floor: 10 * time.Second, Spread: time.Second}, nil)
			b.Through(g)
			all.Go(func() {
				for b.Wait(ctx) == nil {
					mu.Lock()
					at = append(at, time.Now())
					mu.Unlock()
				}
			})
		}
		all.Wait()
		slices.SortFunc(at, time.Time.Compare)
		if n := busiest(at, time.Second); n > 5 { // rounding
			t.Errorf("%d CONNECTs within a second", n)
		}
		n := busiest(at, time.Minute)
		t.Logf("%d CONNECTs in the busiest minute, %d in ten", n, len(at))
		if n > 6*connections {
			t.Errorf("%d CONNECTs in a minute of %d client ids with a floor of 10 s", n, connections)
		}
	})
}

// A region is away for ten minutes, and with it the cloud of a thousand gateways
// at the same moment. No client id asks more often than the floor allows, the
// first attempts are spread as far as the configuration says, and when the region
// is back the fleet comes back within the longest wait and in no crowd.
func TestAFleetComesBackSpread(t *testing.T) {
	const gateways, away = 1000, 10 * time.Minute
	for _, spread := range []time.Duration{500 * time.Millisecond, 5 * time.Second} {
		t.Run(spread.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { comeBack(t, spread, gateways, away) })
		})
	}
}

func comeBack(t *testing.T, spread time.Duration, gateways int, away time.Duration) {
	o := DefaultBackoff()
	o.Floor, o.Spread = 10*time.Second, spread
	epoch := time.Now()
	var during, after []time.Time // as if all were at once: they do not know of each other
	for range gateways {
		begun := time.Now()
		lost := begun.Add(time.Hour)
		back := lost.Add(away)
		b := NewBackoff(o, nil)
		waits(t, b, 1)
		time.Sleep(time.Until(lost))
		b.Lived(time.Hour, false, Broke)
		for last := lost; last.Before(back); {
			waits(t, b, 1)
			now := time.Now()
			if d := now.Sub(last); last.After(lost) && d < o.Floor {
				t.Errorf("two attempts of one client id within %v", d)
			}
			if last = now; now.Before(back) {
				during = append(during, epoch.Add(now.Sub(lost)))
			} else {
				after = append(after, epoch.Add(now.Sub(lost)))
			}
		}
	}
	slices.SortFunc(during, time.Time.Compare)
	slices.SortFunc(after, time.Time.Compare)
	first, again, took := busiest(during, time.Second), busiest(after, time.Second), after[len(after)-1].Sub(epoch)-away
	t.Logf("spread %v: %d attempts in the busiest second of the outage, %d in all of it; then %d in the busiest second, all back after %v", spread, first, len(during), again, took)
	if most := max(o.Base, spread); float64(first) > 1.3*float64(gateways)/most.Seconds() {
		t.Errorf("%d attempts in a second of the outage, with %v to spread them", first, most)
	}
	if again > 60 {
		t.Errorf("%d attempts in a second when the region is back", again)
	}
	if took > o.Floor+o.Max {
		t.Errorf("the last one is back after %v", took)
	}
}

// The waits after short links on which messages were acknowledged stay small: they grow
// to eight times the base, the others to their bound.
func TestWaitsAfterUsefulLinks(t *testing.T) {
	for _, c := range []struct {
		name   string
		useful bool
		want   []time.Duration
	}{
		{"useful", true, []time.Duration{0, 1, 2, 4, 8, 8, 8, 8, 8, 8}},
		{"useless", false, []time.Duration{0, 1, 2, 4, 8, 16, 32, 64, 120, 120}},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := NewBackoff(BackoffOptions{Base: time.Second, Max: 2 * time.Minute}, most)
				for i, want := range c.want {
					if d := waits(t, b, 1)[0]; d != want*time.Second {
						t.Errorf("attempt %d waited up to %v, want %v", i, d, want*time.Second)
					}
					b.Lived(time.Second, c.useful, Broke)
				}
			})
		})
	}
}

// The attempt after a link that was ended to be renewed goes at once, when it was up for
// long enough.
func TestARenewedLinkIsFollowedAtOnce(t *testing.T) {
	for lived, want := range map[time.Duration]time.Duration{StableAfter: 0, StableAfter - 1: 8 * time.Second} {
		synctest.Test(t, func(t *testing.T) {
			b := NewBackoff(BackoffOptions{Base: time.Second, Max: 2 * time.Minute}, most)
			waits(t, b, 4)
			b.Lived(lived, true, Renewed)
			if d := waits(t, b, 1)[0]; d != want {
				t.Errorf("after %v it waited %v, want %v", lived, d, want)
			}
		})
	}
}
