package upstream

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"
)

// The answer to throttling: half the rate at once, once for a burst of
// complaints, nine tenths again after ten seconds without one, and all of it after
// a minute.
func TestThrottlingHalvesTheRate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := NewBucket(Limits{MessagesPerSecond: 80, Burst: 1})
		send(t, b, 80, 1)
		for range 50 {
			b.Throttled()
		}
		if p := b.Pace(); p.Rate != 40 || !p.Slowed || p.Throttled != 1 {
			t.Errorf("pace %+v after a burst of complaints", p)
		}
		if n := busiest(send(t, b, 40, 1), time.Second); n > 42 {
			t.Errorf("%d messages in a second, at 40", n)
		}
		time.Sleep(9 * time.Second)
		if n := busiest(send(t, b, 200, 1), time.Second); n < 72 || n > 80 {
			t.Errorf("%d messages in a second after ten quiet ones, at 72 to 80", n)
		}
		time.Sleep(50 * time.Second)
		if p := b.Pace(); p.Rate != 80 || p.Slowed {
			t.Errorf("pace %+v at the end", p)
		}
	})
}

// A cloud that takes less than the configured rate is found out: at least 80 of a
// hundred messages that it takes are sent, and little is thrown away.
func TestTheRateSettlesAtWhatTheCloudTakes(t *testing.T) {
	for _, takes := range []int{10, 20, 40, 60, 80, 90} {
		t.Run(fmt.Sprint(takes), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { findOut(t, takes) })
		})
	}
}

func findOut(t *testing.T, takes int) {
	const lasts = 10 * time.Minute
	b := NewBucket(Limits{MessagesPerSecond: 95, Burst: 1})
	var taken []time.Time // the latest second's
	arrived, thrown := 0, 0
	for begun := time.Now(); time.Since(begun) < lasts; {
		at := send(t, b, 1, 1)[0]
		for len(taken) > 0 && at.Sub(taken[0]) >= time.Second {
			taken = taken[1:]
		}
		if len(taken) >= takes {
			thrown++
			b.Throttled()
			continue
		}
		taken = append(taken, at)
		arrived++
	}
	all := takes * int(lasts/time.Second)
	t.Logf("of %d a second %.1f %% are used, and %.1f %% of what is sent is thrown away", takes, 100*float64(arrived)/float64(all), 100*float64(thrown)/float64(arrived+thrown))
	if arrived < all*80/100 || thrown > (arrived+thrown)*5/100 {
		t.Errorf("of %d a second: %d of %d were used, %d thrown away", takes, arrived, all, thrown)
	}
}

// Without a configured rate the cloud's complaint makes one, for a while.
func TestThrottlingWithoutALimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := NewBucket(Limits{})
		for range 4 {
			send(t, b, 1000, 1)
			time.Sleep(time.Second)
		}
		b.Throttled()
		if p := b.Pace(); p.Rate < 400 || p.Rate > 800 || !p.Slowed {
			t.Errorf("pace %+v, when 1000 a second were sent", p)
		}
		for range 20 {
			send(t, b, 1000, 1)
		}
		time.Sleep(time.Minute)
		if p := b.Pace(); p.Rate != 0 || p.Slowed {
			t.Errorf("pace %+v a minute later", p)
		}
	})
}

// What was sent in a burst counts as the rate, not what a quiet hour before it makes
// of that on average.
func TestABurstAfterQuietIsSlowedByItsOwnRate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := NewBucket(Limits{})
		for range 100 {
			send(t, b, 1, 1)
			time.Sleep(time.Minute)
		}
		send(t, b, 500, 1)
		b.Throttled()
		if p := b.Pace(); p.Rate < 200 {
			t.Errorf("pace %+v, when 500 were sent at once", p)
		}
	})
}

// Buckets within one share its rate, in both directions.
func TestBucketsWithinOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		account := NewBucket(Limits{MessagesPerSecond: 100, Burst: 1})
		var all [4]*Bucket
		for i := range all {
			all[i] = NewBucket(Limits{MessagesPerSecond: 95, Burst: 1})
			all[i].Within(account)
		}
		done := make(chan []time.Time)
		for _, b := range all {
			go func() { done <- send(t, b, 250, 1) }()
		}
		for range 50 {
			all[0].Take(1)
		}
		begun := time.Now()
		for range all {
			<-done
		}
		if d := time.Since(begun); d < 10*time.Second || d > 11*time.Second {
			t.Errorf("1050 messages at 100 a second took %v", d)
		}
	})
}
