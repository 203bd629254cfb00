package upstream

import (
	"context"
	"errors"
	"fmt"
	"net"
	"testing"
	"testing/synctest"
	"time"
)

// paced is one connection of a configuration, and its successor after a reload.
func paced(o BackoffOptions, l Limits, account *Bucket, before *Paces, anew bool) (*Paces, *Backoff, *Bucket) {
	p := NewPaces(account)
	b, bucket := NewBackoff(o, most), NewBucket(l)
	Shared{Account: account, Gate: NewGate(), Paces: p}.Join("gateway", bucket, b)
	p.Follow(before, anew)
	return p, b, bucket
}

// However often a configuration is read anew, two CONNECTs of one client id are apart
// by the floor, and the waits go on.
func TestTheFloorOutlivesReloads(t *testing.T) {
	o := BackoffOptions{Base: time.Second, Max: 2 * time.Minute, Floor: 10 * time.Second}
	refused, silent := errors.New("0x87"), &UnansweredError{Err: context.DeadlineExceeded}
	for _, c := range []struct {
		name string
		ends func(b *Backoff)
		anew bool
		want time.Duration // after the first attempt
	}{
		{"after a link of a moment", func(b *Backoff) { b.Lived(0, true, Closed) }, false, 10 * time.Second},
		{"after a link that was there to stay", func(b *Backoff) { time.Sleep(time.Hour); b.Lived(time.Hour, true, Closed) }, false, time.Hour},
		{"after a refusal", func(b *Backoff) { b.Failed(refused) }, false, 11 * time.Second},
		{"after a refusal of another login", func(b *Backoff) { b.Failed(refused) }, true, 10 * time.Second},
		{"in the middle of CONNECT", func(b *Backoff) { b.GivenUp() }, false, 10 * time.Second},
		{"after nobody answered", func(b *Backoff) { b.Failed(silent) }, false, offlineWait - 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p, b, _ := paced(o, Limits{}, nil, nil, false)
				waits(t, b, 1)
				begun := time.Now()
				if err := b.Reached(t.Context()); err != nil {
					t.Fatal(err)
				}
				c.ends(b)
				for range 8 { // reloads, of which none gets to make a CONNECT
					p, b, _ = paced(o, Limits{}, nil, p, c.anew)
					if left := c.want - time.Since(begun); left > time.Second {
						ctx, cancel := context.WithTimeout(t.Context(), time.Second)
						if err := b.Wait(ctx); err == nil {
							t.Fatalf("an attempt %v after the one before", time.Since(begun))
						}
						cancel()
					}
				}
				p, b, _ = paced(o, Limits{}, nil, p, false)
				waits(t, b, 1)
				if d := time.Since(begun); d != c.want {
					t.Errorf("the next attempt came after %v, want %v", d, c.want)
				}
			})
		})
	}
}

// A cloud that refuses is not asked sooner for a reload; one that is reached otherwise,
// or is logged in to otherwise, is.
func TestWaitsOutliveReloads(t *testing.T) {
	o := BackoffOptions{Base: time.Second, Max: 2 * time.Minute, Spread: 500 * time.Millisecond}
	for name, c := range map[string]struct {
		o    BackoffOptions
		anew bool
		want time.Duration
	}{
		"the same":          {o, false, time.Minute},
		"a shorter bound":   {BackoffOptions{Base: time.Second, Max: 10 * time.Second}, false, 10 * time.Second},
		"another login":     {o, true, 500 * time.Millisecond},
		"a floor as well":   {BackoffOptions{Base: time.Second, Max: time.Second, Floor: 3 * time.Minute}, false, 2 * time.Minute},
		"another, no floor": {BackoffOptions{Base: time.Second, Max: time.Second}, true, 0},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p, b, _ := paced(o, Limits{}, nil, nil, false)
				for range 10 {
					waits(t, b, 1)
					b.Failed(errors.New("refused"))
				}
				ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
				defer cancel()
				if err := b.Wait(ctx); err == nil {
					t.Fatal("it did not wait for two minutes")
				}
				_, b, _ = paced(c.o, Limits{}, nil, p, c.anew)
				if d := waits(t, b, 1)[0]; d != c.want {
					t.Errorf("waited %v more, want %v", d, c.want)
				}
			})
		})
	}
}

// An attempt that had said nothing yet when a reload ended it holds no CONNECT back.
func TestAnAttemptThatSaidNothingIsNoConnect(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := BackoffOptions{Base: time.Second, Max: time.Minute, Floor: 10 * time.Second}
		p, b, _ := paced(o, Limits{}, nil, nil, false)
		waits(t, b, 1)
		b.GivenUp()
		_, b, _ = paced(o, Limits{}, nil, p, false)
		if d := waits(t, b, 1)[0]; d != 0 {
			t.Errorf("waited %v", d)
		}
	})
}

// A successor waits for the end of the link before it, and no longer than is good.
func TestASuccessorWaitsForTheFarewell(t *testing.T) {
	for farewell, want := range map[time.Duration]time.Duration{250 * time.Millisecond: 250 * time.Millisecond, time.Hour: settleWithin} {
		t.Run(farewell.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p, b, _ := paced(BackoffOptions{Base: time.Second, Max: time.Minute}, Limits{}, nil, nil, false)
				waits(t, b, 1)
				old := b
				time.AfterFunc(farewell, func() { old.Lived(time.Hour, true, Closed) })
				_, b, _ = paced(BackoffOptions{Base: time.Second, Max: time.Second}, Limits{}, nil, p, true)
				if d := waits(t, b, 1)[0]; d != want {
					t.Errorf("waited %v, want %v", d, want)
				}
				time.Sleep(farewell)
			})
		})
	}
}

// Connections of one name are told by their order; one that is new begins anew.
func TestPacesTellConnections(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := BackoffOptions{Base: time.Second, Max: time.Minute, Floor: 10 * time.Second}
		open := func(n int) (*Paces, []*Backoff) {
			p := NewPaces(nil)
			var out []*Backoff
			for range n {
				b := NewBackoff(o, least)
				Shared{Paces: p}.Join("https://cloud", NewBucket(Limits{}), b)
				out = append(out, b)
			}
			return p, out
		}
		before, first := open(2)
		waits(t, first[1], 1)
		first[1].Failed(errors.New("refused"))
		p, second := open(3)
		p.Follow(before, false)
		for i, want := range []time.Duration{0, 10 * time.Second, 0} {
			if d := waits(t, second[i], 1)[0]; d != want {
				t.Errorf("connection %d waited %v, want %v", i, d, want)
			}
		}
	})
}

// No sliding second holds more than the cloud takes, whatever is read anew within it.
func TestTheRateOutlivesReloads(t *testing.T) {
	slower := DefaultLimits()
	slower.MessagesPerSecond = 80
	for name, next := range map[string]Limits{"the same limits": DefaultLimits(), "lower ones": slower} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var all []time.Time
				var p *Paces
				for i := range 20 {
					l := DefaultLimits()
					if i%2 == 1 {
						l = next
					}
					account := NewBucket(Limits{MessagesPerSecond: 300, Burst: 30})
					now, b, bucket := paced(BackoffOptions{Base: time.Second, Max: time.Second}, l, account, p, false)
					p = now
					waits(t, b, 1)
					all = append(all, send(t, bucket, 33, 300)...)
					bucket.Take(20)
					all = append(all, time.Now())
					b.Lived(0, true, Closed)
				}
				if n := busiest(all, time.Second); n > 97 {
					t.Errorf("%d messages within a second", n)
				}
			})
		})
	}
}

// So it is for the account's limit, and for bytes.
func TestSharedLimitsOutliveReloads(t *testing.T) {
	for name, l := range map[string]AccountLimits{"messages": {MessagesPerSecond: 50}, "bytes": {BytesPerSecond: 5000}} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var all []time.Time
				var p *Paces
				for range 20 {
					now, b, bucket := paced(BackoffOptions{Base: time.Millisecond, Max: time.Millisecond}, Limits{}, l.Bucket(), p, false)
					p = now
					waits(t, b, 1)
					all = append(all, send(t, bucket, 8, 100)...)
					b.Lived(0, true, Closed)
				}
				if n := busiest(all, time.Second); n > 58 {
					t.Errorf("%d messages within a second", n)
				}
			})
		})
	}
}

// What throttling has taught is not asked of the cloud once more.
func TestWhatThrottlingTaughtOutlivesReloads(t *testing.T) {
	for _, c := range []struct{ before, after, want float64 }{{95, 95, 47.5}, {95, 60, 47.5}, {95, 40, 40}, {95, 0, 47.5}, {0, 80, 40}, {0, 0, 40}} {
		t.Run(fmt.Sprintf("%v, then %v", c.before, c.after), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				o := BackoffOptions{Base: time.Second, Max: time.Second}
				p, b, bucket := paced(o, Limits{MessagesPerSecond: c.before, Burst: 1}, nil, nil, false)
				waits(t, b, 1)
				for range 80 {
					send(t, bucket, 1, 1)
					time.Sleep(time.Second / 80)
				}
				bucket.Throttled()
				b.Lived(0, true, Closed)
				_, b, bucket = paced(o, Limits{MessagesPerSecond: c.after, Burst: 1}, nil, p, true)
				waits(t, b, 1)
				pace := bucket.Pace()
				if pace.Throttled != 1 || pace.Rate < c.want*0.97 || pace.Rate > c.want*1.03 {
					t.Errorf("pace %+v, want %v", pace, c.want)
				}
				at := send(t, bucket, 200, 1)
				if n := busiest(at[:int(c.want/2)], time.Second); float64(n) > c.want*1.05+2 {
					t.Errorf("%d within a second at %v", n, c.want)
				}
				time.Sleep(10 * time.Minute)
				if pace = bucket.Pace(); pace.Slowed || pace.Rate != c.after {
					t.Errorf("in the end it is %+v", pace)
				}
			})
		})
	}
}

// A successor of the same limits goes on as the one before would have, second by second.
func TestASuccessorRecoversAsTheOneBefore(t *testing.T) {
	for name, l := range map[string]Limits{"a rate": DefaultLimits(), "none": {}} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				old, next := NewBucket(l), NewBucket(l)
				send(t, old, 200, 1)
				time.Sleep(time.Second)
				old.Throttled()
				time.Sleep(1500 * time.Millisecond)
				old.Throttled()
				time.Sleep(2300 * time.Millisecond)
				next.follow(old)
				for s := 0; old.Pace().Slowed; s++ {
					if want, got := old.Pace(), next.Pace(); got != want {
						t.Fatalf("after %d s it is %+v, want %+v", s, got, want)
					}
					if time.Sleep(time.Second); s > 600 {
						t.Fatal("it stays slow")
					}
				}
				if next.Pace() != old.Pace() {
					t.Errorf("in the end it is %+v", next.Pace())
				}
			})
		})
	}
}

// What came in just before a reload is paid for after it, in messages and in bytes.
func TestDebtOutlivesReloads(t *testing.T) {
	for name, c := range map[string]struct {
		l    Limits
		came int // messages of a thousand bytes
		want time.Duration
	}{
		"messages": {Limits{MessagesPerSecond: 10, Burst: 1}, 6, 600 * time.Millisecond},
		"bytes":    {Limits{BytesPerSecond: 10_000}, 8, 757*time.Millisecond + 200*time.Microsecond},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				old, next := NewBucket(c.l), NewBucket(c.l)
				for range c.came {
					old.Take(1000)
				}
				next.follow(old)
				if next.spacing.have != old.spacing.have {
					t.Errorf("the spacing has %v, and had %v", next.spacing.have, old.spacing.have)
				}
				began := time.Now()
				send(t, next, 1, 1000)
				if d := time.Since(began).Round(100 * time.Microsecond); d != c.want {
					t.Errorf("waited %v, want %v", d, c.want)
				}
			})
		})
	}
}

// A reload takes the place of links that are about to end, while they do.
func TestFollowIsSafeBesideTheEnd(t *testing.T) {
	o := BackoffOptions{Base: time.Millisecond, Max: time.Millisecond}
	p, b, _ := paced(o, DefaultLimits(), nil, nil, false)
	for range 50 {
		ctx, end := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			for b.Wait(ctx) == nil {
				b.Failed(&net.DNSError{})
			}
		}()
		end()
		next, successor, _ := paced(o, DefaultLimits(), nil, p, false)
		if err := successor.Wait(t.Context()); err != nil {
			t.Fatal(err)
		}
		successor.GivenUp()
		<-ended
		p, b = next, successor
	}
	if len(p.of) != 1 || p.of["gateway"].after != nil {
		t.Errorf("%d connections, the one of them a successor of all before it", len(p.of))
	}
}
