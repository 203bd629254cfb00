package upstream

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ebbgate/ebbgate/bridge"
)

// bulkSite is a link that carries 100,000 bytes a second, and a pace for it.
type bulkSite struct {
	*Bulk
	held   atomic.Pointer[string]
	behind atomic.Bool
}

// hold says what holds files back, nothing when it is empty.
func (s *bulkSite) hold(why string) { s.held.Store(&why) }

func newBulkSite(bandwidth bridge.Size) *bulkSite {
	s := &bulkSite{}
	s.hold("")
	s.Bulk = NewBulk(bandwidth, func() string { return *s.held.Load() }, s.behind.Load)
	return s
}

// carry sends n pieces of 10,000 bytes, which take 100 ms each.
func (s *bulkSite) carry(t *testing.T, n int) time.Duration {
	t.Helper()
	began := time.Now()
	for range n {
		if err := s.Wait(t.Context(), 10_000); err != nil {
			t.Fatal(err)
		}
		<-time.After(100 * time.Millisecond)
	}
	return time.Since(began)
}

// While messages wait, files have a tenth of the link's time; they are not starved,
// and have all of it when the messages are gone.
func TestFilesYieldToMessages(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newBulkSite(0)
		if took := s.carry(t, 10); took != time.Second {
			t.Errorf("alone: %v", took)
		}
		s.behind.Store(true)
		if took := s.carry(t, 10); took < 9*time.Second || took > 11*time.Second || !s.Yields() {
			t.Errorf("behind messages: %v", took)
		}
		began := time.Now()
		time.AfterFunc(300*time.Millisecond, func() { s.behind.Store(false) })
		if took := s.carry(t, 1); took > 500*time.Millisecond {
			t.Errorf("the messages were gone after 300ms, and the piece went after %v", time.Since(began))
		}
		<-time.After(time.Hour) // an idle hour is not paid for
		s.behind.Store(true)
		if took := s.carry(t, 1); took > time.Second {
			t.Errorf("after an hour: %v", took)
		}
	})
}

// Several at once have the share of one.
func TestSeveralFilesYieldTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newBulkSite(0)
		s.carry(t, 5)
		s.behind.Store(true)
		began := time.Now()
		var all sync.WaitGroup
		for range 4 {
			all.Go(func() { s.carry(t, 5) })
		}
		all.Wait()
		if took := time.Since(began); took < 10*time.Second {
			t.Errorf("20 pieces of 100 ms behind messages: %v", took)
		}
	})
}

func TestFilesKeepToTheirBandwidth(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newBulkSite(20_000)
		if took := s.carry(t, 20); took < 9*time.Second || took > 11*time.Second {
			t.Errorf("200,000 bytes at 20,000 a second: %v", took)
		}
	})
}

// Another bandwidth holds for who waits at the one before as well, and the same one again
// gives nobody a start.
func TestBandwidthChanges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newBulkSite(1000)
		time.AfterFunc(10*time.Second, func() { s.SetRate(100_000) })
		time.AfterFunc(15*time.Second, func() { s.SetRate(0) })
		began := time.Now()
		if err := s.Wait(t.Context(), 310_000); err != nil { // 10,000, then 300,000 in 3 s
			t.Fatal(err)
		}
		if took := time.Since(began); took < 12*time.Second || took > 14*time.Second {
			t.Errorf("faster after 10 s: %v", took)
		}
		<-time.After(10 * time.Second)
		began = time.Now()
		if err := s.Wait(t.Context(), 1<<30); err != nil || time.Since(began) > 0 {
			t.Errorf("without a bound: %v, %v", time.Since(began), err)
		}
		s.SetRate(20_000)
		began = time.Now()
		for range 40 {
			s.SetRate(20_000)
			if err := s.Wait(t.Context(), 5000); err != nil {
				t.Fatal(err)
			}
		}
		if took := time.Since(began); took < 9*time.Second || took > 11*time.Second {
			t.Errorf("200,000 bytes at 20,000 a second: %v", took)
		}
	})
}

// What holds files back ends a wait at once, and Open waits until it is over.
func TestFilesAreHeldBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newBulkSite(0)
		s.hold("a window")
		if err := s.Wait(t.Context(), 1); !errors.Is(err, bridge.ErrHeld) || !bridge.OfTarget(err) || s.Held() != "a window" {
			t.Error(err)
		}
		time.AfterFunc(time.Hour, func() { s.hold("") })
		began := time.Now()
		if err := s.Open(t.Context()); err != nil || time.Since(began) < time.Hour {
			t.Errorf("%v after %v", err, time.Since(began))
		}
		s.hold("a window")
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if err := s.Open(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}
	})
}
