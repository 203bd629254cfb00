package upstream

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

// crossing is a message at the socket.
type crossing struct {
	at   time.Time
	size int
}

// heaviest is the most messages, and the most bytes, that any window of d holds.
func heaviest(all []crossing, d time.Duration) (messages, bytes int) {
	slices.SortStableFunc(all, func(a, b crossing) int { return a.at.Compare(b.at) })
	first, n := 0, 0
	for last, x := range all {
		n += x.size
		for x.at.Sub(all[first].at) >= d {
			n -= all[first].size
			first++
		}
		messages, bytes = max(messages, last-first+1), max(bytes, n)
	}
	return messages, bytes
}

// latenesses are how late the timers of a machine may be, and what of the rate is
// used all the same: nearly all on one with nothing else to do, where a millisecond
// or two are common and 20 are rare. What is lost on a busy one is not made up for.
var latenesses = []struct {
	name string
	used float64
	of   func(r *rand.Rand) time.Duration
}{
	{"never", 0.99, func(*rand.Rand) time.Duration { return 0 }},
	{"all up to 5 ms", 0.99, upTo(5 * time.Millisecond)},
	{"all by 8 ms", 0.99, func(*rand.Rand) time.Duration { return 8 * time.Millisecond }},
	{"all up to 20 ms", 0.97, upTo(20 * time.Millisecond)},
	{"one in a hundred up to 50 ms", 0.97, func(r *rand.Rand) time.Duration {
		if r.IntN(100) > 0 {
			return time.Millisecond
		}
		return upTo(50 * time.Millisecond)(r)
	}},
	{"all up to 50 ms", 0.75, upTo(50 * time.Millisecond)},
	{"one in ten up to 200 ms", 0.6, func(r *rand.Rand) time.Duration {
		if r.IntN(10) > 0 {
			return 0
		}
		return upTo(200 * time.Millisecond)(r)
	}},
	{"all up to 200 ms", 0.25, upTo(200 * time.Millisecond)},
}

func upTo(d time.Duration) func(r *rand.Rand) time.Duration {
	return func(r *rand.Rand) time.Duration { return time.Duration(r.Int64N(int64(d))) }
}

// However late timers are, no second at the socket holds more than 97 messages, and
// one that is a 200th longer, as the cloud's may be, no more than it takes (Q06).
// As long as they are little late, at least 97 of a hundred tokens are used while
// there is a backlog.
func TestLateTimersUseTheRate(t *testing.T) {
	for _, c := range latenesses {
		for seed := range uint64(2) {
			t.Run(fmt.Sprint(c.name, seed), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					r := rand.New(rand.NewPCG(seed, 1))
					b := NewBucket(DefaultLimits())
					b.lateness = func() time.Duration { return c.of(r) }
					all, lasted := backlog(t, b, 5_000, func() int { return 200 })
					if n, _ := heaviest(all, time.Second); n > 97 {
						t.Errorf("%d messages within a second", n)
					}
					if n, _ := heaviest(all, 1005*time.Millisecond); n > 100 {
						t.Errorf("%d messages within a second and 5 ms", n)
					}
					if used := float64(len(all)) / lasted.Seconds() / 95; used < c.used {
						t.Errorf("%.1f %% of the rate are used", 100*used)
					}
				})
			})
		}
	}
}

// backlog sends n messages, each of which is written a little after it was let go,
// as a busy machine writes it.
func backlog(t *testing.T, b *Bucket, n int, size func() int) (all []crossing, lasted time.Duration) {
	t.Helper()
	r := rand.New(rand.NewPCG(uint64(n), 2))
	begun := time.Now()
	for range n {
		x := crossing{size: size()}
		if err := b.Wait(t.Context(), nil, x.size, nil); err != nil {
			t.Fatal(err)
		}
		if r.IntN(200) == 0 {
			time.Sleep(time.Duration(r.Int64N(int64(50 * time.Millisecond))))
		}
		x.at = time.Now()
		b.Written(1, x.size)
		all = append(all, x)
	}
	return all, time.Since(begun)
}

// The same for bytes (Q07), whose burst covers timers that are later.
func TestLateTimersUseTheBytes(t *testing.T) {
	for _, c := range latenesses[:6] {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := rand.New(rand.NewPCG(7, 1))
				b := NewBucket(Limits{BytesPerSecond: 448 << 10})
				b.lateness = func() time.Duration { return c.of(r) }
				all, lasted := backlog(t, b, 10_000, func() int { return 1 + r.IntN(32<<10) })
				_, n := heaviest(all, time.Second)
				if n > 512<<10 {
					t.Errorf("%d bytes within a second", n)
				}
				sum := 0
				for _, x := range all {
					sum += x.size
				}
				if used := float64(sum) / lasted.Seconds() / (448 << 10); used < 0.97 {
					t.Errorf("%.1f %% of the rate are used", 100*used)
				}
			})
		})
	}
}

// Messages as large as AWS takes keep to the bound as well.
func TestNoSecondHoldsTooManyLargeMessages(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := rand.New(rand.NewPCG(7, 1))
		b := NewBucket(DefaultLimits())
		b.lateness = func() time.Duration { return latenesses[6].of(r) }
		all, lasted := backlog(t, b, 1000, func() int { return 1 + r.IntN(128<<10) })
		_, n := heaviest(all, time.Second)
		if n > 512<<10 {
			t.Errorf("%d bytes within a second", n)
		}
		if lasted > 180*time.Second { // about 64,000,000 bytes
			t.Errorf("they took %v", lasted)
		}
	})
}

// What comes in counts as well: one by one, and three at once.
func TestLateTimersAndInboundTraffic(t *testing.T) {
	for _, atOnce := range []int{1, 3} {
		for _, c := range latenesses[:5] {
			t.Run(fmt.Sprint(c.name, atOnce), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					r := rand.New(rand.NewPCG(3, 1))
					b := NewBucket(DefaultLimits())
					b.lateness = func() time.Duration { return c.of(r) }
					ended, done := make(chan struct{}), make(chan []crossing)
					go func() {
						var in []crossing
						for {
							select {
							case <-ended:
								done <- in
								return
							case <-time.After(time.Second * time.Duration(atOnce) / 9):
							}
							for range atOnce {
								b.Take(100)
								in = append(in, crossing{time.Now(), 100})
							}
						}
					}()
					out, lasted := backlog(t, b, 10_000, func() int { return 200 })
					close(ended)
					all := append(out, <-done...)
					if n, _ := heaviest(all, time.Second); n > 100 {
						t.Errorf("%d messages within a second", n)
					}
					if used := float64(len(all)) / lasted.Seconds() / 95; used < 0.97 {
						t.Errorf("%.1f %% of the rate are used", 100*used)
					}
				})
			})
		}
	}
}

// A network that holds back 200 ms of what is sent, and then lets it go: a cloud
// that counts as a bucket of a second's messages, as the sandbox does, throws
// nothing away.
func TestJitterOfTheNetworkIsTaken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := rand.New(rand.NewPCG(5, 1))
		b := NewBucket(DefaultLimits())
		b.lateness = func() time.Duration { return latenesses[6].of(r) }
		all, _ := backlog(t, b, 10_000, func() int { return 200 })
		var came time.Time
		have, at := 100.0, all[0].at
		for i, x := range all {
			if due := x.at.Add(time.Duration(r.Int64N(int64(200 * time.Millisecond)))); due.After(came) {
				came = due // TCP keeps the order
			}
			have, at = min(100, have+100*came.Sub(at).Seconds()), came
			if have--; have < 0 {
				t.Fatalf("message %d is one too many", i)
			}
		}
	})
}

// Who has nothing to send for a while saves the burst and no more, also when he
// had a backlog before.
func TestLatenessIsNoSaving(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := NewBucket(DefaultLimits())
		b.lateness = func() time.Duration { return 100 * time.Millisecond }
		backlog(t, b, 500, func() int { return 200 })
		b.lateness = nil
		time.Sleep(2 * time.Second)
		at := send(t, b, 20, 200)
		if d := at[19].Sub(at[0]); d < 19*time.Second/95 {
			t.Errorf("20 messages after a pause took %v", d)
		}
	})
}

// Those who wait for one bucket go in turn, and one that gives up lets the next go.
func TestWaitersGoInTurn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := NewBucket(Limits{MessagesPerSecond: 1, Burst: 1})
		send(t, b, 1, 1)
		stop := make(chan struct{})
		const gaveUp = -1
		done := make(chan int)
		for i := range 4 {
			var gives <-chan struct{}
			if i == 0 {
				gives = stop
			}
			go func() {
				if b.Wait(t.Context(), gives, 1, nil) != nil {
					i = gaveUp
				}
				done <- i
			}()
			synctest.Wait()
		}
		close(stop)
		var order []int
		for range 4 {
			order = append(order, <-done)
		}
		if !slices.Equal(order, []int{gaveUp, 1, 2, 3}) {
			t.Errorf("they went in the order %v", order)
		}
	})
}

// A cloud that throttles is not pressed by what a late timer has left: how much it
// takes is not known.
func TestLatenessIsNotMadeUpForWhileThrottled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := NewBucket(Limits{MessagesPerSecond: 80, Burst: 1})
		backlog(t, b, 80, func() int { return 1 })
		b.Throttled()
		b.lateness = func() time.Duration { return 200 * time.Millisecond }
		if n := busiest(send(t, b, 20, 1), 10*time.Millisecond); n > 2 {
			t.Errorf("%d messages at once, at half the rate", n)
		}
	})
}
