package upstream

import (
	"testing"
	"testing/synctest"
	"time"
)

// The answer to throttling: half the rate at once, once for a burst of
// complaints, and all of it again after ten seconds without one.
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
		if n := busiest(send(t, b, 200, 1), time.Second); n < 75 || n > 82 {
			t.Errorf("%d messages in a second after ten quiet ones, at 80", n)
		}
		if p := b.Pace(); p.Rate != 80 || p.Slowed {
			t.Errorf("pace %+v at the end", p)
		}
	})
}

// A cloud that takes less than the configured rate is found out: most of what it
// takes is used, and little is thrown away.
func TestTheRateSettlesAtWhatTheCloudTakes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := NewBucket(Limits{MessagesPerSecond: 95, Burst: 1})
		const takes = 40
		var taken, thrown, second int
		begun := time.Now()
		for time.Since(begun) < 10*time.Minute {
			at := send(t, b, 1, 1)[0]
			if s := int(at.Sub(begun) / time.Second); s != second {
				second, taken = s, 0
			}
			if taken++; taken > takes {
				thrown++
				b.Throttled()
			}
		}
		sent := 0
		begun = time.Now()
		for ; time.Since(begun) < time.Minute; sent++ {
			send(t, b, 1, 1)
		}
		if thrown > 10*60*takes/10 {
			t.Errorf("%d messages thrown away in ten minutes", thrown)
		}
		if sent < 60*takes/2 {
			t.Errorf("%d messages a minute of %d that would be taken", sent, 60*takes)
		}
	})
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
