package upstream

import (
	"context"
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

// send waits for n messages of size bytes and returns when each was let go.
func send(t *testing.T, b *Bucket, n, size int) []time.Time {
	t.Helper()
	var at []time.Time
	for range n {
		if err := b.Wait(t.Context(), nil, size, nil); err != nil {
			t.Fatal(err)
		}
		at = append(at, time.Now())
	}
	return at
}

// A sender that is late now and then, as a busy machine makes it, uses the rate
// all the same, and no second holds more than the cloud takes.
func TestALateTimerLosesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := NewBucket(DefaultLimits())
		start := time.Now()
		var at []time.Time
		for len(at) < 2000 {
			at = append(at, send(t, b, 20, 1)...)
			time.Sleep(20 * time.Millisecond)
		}
		if n := busiest(at, time.Second); n > 97 {
			t.Errorf("%d messages within a second", n)
		}
		if used := 2000 / time.Since(start).Seconds() / 95; used < 0.97 {
			t.Errorf("%.0f %% of the rate are used", 100*used)
		}
	})
}

// busiest is the most events that any window of d holds.
func busiest(at []time.Time, d time.Duration) int {
	most, first := 0, 0
	for last := range at {
		for at[last].Sub(at[first]) >= d {
			first++
		}
		most = max(most, last-first+1)
	}
	return most
}

func TestNoSecondHoldsMoreThanAWSTakes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := NewBucket(DefaultLimits())
		start := time.Now()
		at := send(t, b, 500, 256)
		if n := busiest(at, time.Second); n > 97 {
			t.Errorf("%d messages within a second, want at most 97", n)
		}
		if d := time.Since(start); d > 5300*time.Millisecond {
			t.Errorf("500 messages took %v: the rate is not used", d)
		}
	})
}

// Q06 counts both directions: what comes in is made room for, and of the
// allowance at least 97 of a hundred are used.
func TestInboundCountsAndNothingIsWasted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := NewBucket(DefaultLimits())
		var in []time.Time
		ended := make(chan struct{})
		done := make(chan struct{})
		go func() {
			defer close(done)
			for n := 0; ; n++ { // nine a second, three of them at once
				select {
				case <-ended:
					return
				case <-time.After(time.Second / 3):
				}
				for range 3 {
					b.Take(100)
					in = append(in, time.Now())
				}
			}
		}()
		begun := time.Now()
		out := send(t, b, 5000, 256)
		lasted := time.Since(begun)
		close(ended)
		<-done
		all := append(out, in...)
		slices.SortFunc(all, time.Time.Compare)
		if n := busiest(all, time.Second); n > 100 {
			t.Errorf("%d messages within a second", n)
		}
		if used := float64(len(all)) / lasted.Seconds(); used < 0.97*95 {
			t.Errorf("%.1f of 95 a second were used", used)
		}
	})
}

func TestAPauseSavesNoMoreThanTheBurst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := NewBucket(Limits{MessagesPerSecond: 10, Burst: 3})
		time.Sleep(time.Hour)
		at := send(t, b, 20, 1)
		if d := at[2].Sub(at[0]); d != 0 {
			t.Errorf("the burst took %v", d)
		}
		if n := busiest(at, time.Second); n > 13 {
			t.Errorf("%d messages within a second, want at most rate + burst", n)
		}
	})
}

func TestWaitingForBytesKeepsTheSpacing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := NewBucket(Limits{MessagesPerSecond: 10, Burst: 1, BytesPerSecond: 7000})
		at := send(t, b, 2, 1)
		at = append(at, send(t, b, 1, 9000)...) // its bytes take more than a second
		at = append(at, send(t, b, 30, 1)...)
		if n := busiest(at[3:], time.Second); n > 11 {
			t.Errorf("%d messages within a second after a large one", n)
		}
	})
}

func TestAMessageLargerThanTheBurstPassesPaced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := NewBucket(Limits{BytesPerSecond: 70_000}) // a burst of 10,000
		start := time.Now()
		send(t, b, 1, 150_000)
		if d := time.Since(start); d < 1990*time.Millisecond || d > 2010*time.Millisecond {
			t.Errorf("150,000 bytes at 70,000/s took %v, want 2s after the burst of 10,000", d)
		}
	})
}

func TestUnlimitedNeverWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := NewBucket(Limits{})
		start := time.Now()
		b.Take(1 << 30)
		send(t, b, 10_000, 1<<20)
		if d := time.Since(start); d != 0 {
			t.Errorf("waited %v", d)
		}
	})
}

func TestInboundRunsIntoDebt(t *testing.T) {
	for _, c := range []struct {
		name    string
		inbound int
		want    time.Duration
	}{
		{"half a second of messages", 5, 500 * time.Millisecond},
		{"debt is bounded by a second", 1000, time.Second},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := NewBucket(Limits{MessagesPerSecond: 10, Burst: 1})
				for range c.inbound {
					b.Take(1)
				}
				start := time.Now()
				send(t, b, 1, 1)
				if d := time.Since(start); d < c.want-100*time.Millisecond || d > c.want+100*time.Millisecond {
					t.Errorf("the next message waited %v, want about %v", d, c.want)
				}
			})
		})
	}
}

func TestInboundBytesRunIntoDebt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := NewBucket(Limits{BytesPerSecond: 7000})
		b.Take(1 << 20)
		start := time.Now()
		send(t, b, 1, 1)
		if d := time.Since(start); d < 900*time.Millisecond || d > 1200*time.Millisecond {
			t.Errorf("waited %v for the debt of a large message, want about a second", d)
		}
	})
}

func TestWaitEndsEarly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := NewBucket(Limits{MessagesPerSecond: 0.1, Burst: 1})
		send(t, b, 1, 1)

		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := b.Wait(ctx, nil, 1, nil); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("with a context that ends: %v", err)
		}
		stop := make(chan struct{})
		time.AfterFunc(time.Second, func() { close(stop) })
		if err := b.Wait(t.Context(), stop, 1, nil); !errors.Is(err, ErrStopped) {
			t.Errorf("with a stop that closes: %v", err)
		}
		start := time.Now()
		send(t, b, 1, 1)
		if d := time.Since(start); d > 8100*time.Millisecond {
			t.Errorf("waits that ended early kept their tokens: the next took %v, want 8s", d)
		}
	})
}
