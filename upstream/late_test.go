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

// heaviest is the most messages, and the most bytes, of a second.
func heaviest(all []crossing) (messages, bytes int) {
	slices.SortStableFunc(all, func(a, b crossing) int { return a.at.Compare(b.at) })
	first, n := 0, 0
	for last, x := range all {
		n += x.size
		for x.at.Sub(all[first].at) >= time.Second {
			n -= all[first].size
			first++
		}
		messages, bytes = max(messages, last-first+1), max(bytes, n)
	}
	return messages, bytes
}

// latenesses are how late the timers of a machine may be.
var latenesses = []struct {
	name string
	of   func(r *rand.Rand) time.Duration
}{
	{"never", func(*rand.Rand) time.Duration { return 0 }},
	{"all a little", func(r *rand.Rand) time.Duration { return time.Duration(r.Int64N(int64(50 * time.Millisecond))) }},
	{"some, up to 200 ms", func(r *rand.Rand) time.Duration {
		if r.IntN(10) > 0 {
			return 0
		}
		return time.Duration(r.Int64N(int64(200 * time.Millisecond)))
	}},
	{"all, up to 200 ms", func(r *rand.Rand) time.Duration { return time.Duration(r.Int64N(int64(200 * time.Millisecond))) }},
	{"all by 200 ms", func(*rand.Rand) time.Duration { return 200 * time.Millisecond }},
}

// However late timers are, at least 97 of a hundred tokens are used while there is
// a backlog, and no second at the socket holds more than AWS takes (Q06).
func TestLateTimersUseTheRate(t *testing.T) {
	for _, c := range latenesses {
		for seed := range uint64(4) {
			t.Run(fmt.Sprint(c.name, seed), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					r := rand.New(rand.NewPCG(seed, 1))
					b := NewBucket(DefaultLimits())
					b.lateness = func() time.Duration { return c.of(r) }
					all, lasted := backlog(t, b, 10_000, func() int { return 200 })
					if n, _ := heaviest(all); n > 99 {
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

// The same for bytes (Q07).
func TestLateTimersUseTheBytes(t *testing.T) {
	for _, c := range latenesses {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := rand.New(rand.NewPCG(7, 1))
				b := NewBucket(Limits{BytesPerSecond: 448 << 10})
				b.lateness = func() time.Duration { return c.of(r) }
				all, lasted := backlog(t, b, 10_000, func() int { return 1 + r.IntN(32<<10) })
				_, n := heaviest(all)
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
		b.lateness = func() time.Duration { return latenesses[2].of(r) }
		all, lasted := backlog(t, b, 1000, func() int { return 1 + r.IntN(128<<10) })
		_, n := heaviest(all)
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
		for _, c := range latenesses[:3] {
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
					if n, _ := heaviest(all); n > 100 {
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
		b.lateness = func() time.Duration { return latenesses[2].of(r) }
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
		var order []int
		done := make(chan struct{})
		for i := range 4 {
			var gives <-chan struct{}
			if i == 0 {
				gives = stop
			}
			go func() {
				if b.Wait(t.Context(), gives, 1, nil) == nil {
					order = append(order, i)
				}
				done <- struct{}{}
			}()
			synctest.Wait()
		}
		close(stop)
		for range 4 {
			<-done
		}
		if !slices.Equal(order, []int{1, 2, 3}) {
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
