package upstream

import (
	"sync"
	"sync/atomic"
	"time"
)

// slowdown is how a bucket answers throttling: the rate is halved, at most once
// a second, because a burst that is thrown away tells of itself many times, and
// grows by a twentieth of the full one with every second after that (additive
// increase, multiplicative decrease). Up to the rate that was too much it grows
// by no more than a tenth of that, near it ten times as slowly, and as before once
// it is past it: so most of what the cloud takes is used, and little is thrown
// away.
//
// Without a configured rate the full one is what was sent when the cloud first
// complained; from there on it grows to twice that, and is unlimited again.
type slowdown struct {
	full float64   // configured; 0: none
	made time.Time // what since counts from: no wall clock, which may be set

	active atomic.Bool
	count  atomic.Int64 // messages, when there is no configured rate
	since  atomic.Int64 // nanoseconds since made when count began
	before atomic.Int64 // messages a second till then
	times  atomic.Int64

	mu      sync.Mutex
	top     float64 // what it grows to
	step    float64 // a second
	rate    float64
	tooMuch float64 // the rate at the latest complaint
	changed time.Time
	halved  time.Time
}

const (
	slowest     = 1.0 / 64 // part of the full rate that is always left
	leastRate   = 1.0      // message a second that is, unless less is configured
	growth      = 1.0 / 20 // part of the full rate that comes back a second
	stablePause = time.Second
	countEvery  = 1 << 4 // messages after which it is seen whether a rate is to be measured anew

	near    = 0.9   // from this part of the rate that was too much
	past    = 1.1   // to this one
	slowly  = 0.005 // as much of it comes back a second
	atFirst = 0.1   // and before that as much at most
)

// now is the rate that may go: 0 for unlimited.
func (s *slowdown) now(now time.Time) float64 {
	if !s.active.Load() {
		return s.full
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.recover(now)
	if !s.active.Load() {
		return s.full
	}
	return s.rate
}

// rests counts a message that no configured rate holds back, and reports whether
// none of its own does.
func (s *slowdown) rests() bool {
	s.measure()
	return !s.active.Load()
}

// measure counts a message that no configured rate holds back.
func (s *slowdown) measure() {
	if n := s.count.Add(1); n%countEvery == 1 {
		now := int64(time.Since(s.made))
		if elapsed := now - s.since.Load(); n == 1 || elapsed > int64(time.Second) {
			if n > 1 {
				s.before.Store((n - 1) * int64(time.Second) / elapsed)
			}
			s.since.Store(now)
			s.count.Store(1)
		}
	}
}

// halve slows down.
func (s *slowdown) halve(now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.active.Load() && now.Sub(s.halved) < stablePause {
		return
	}
	s.times.Add(1)
	if !s.active.Load() {
		s.top, s.rate = s.full, s.full
		if s.full == 0 {
			elapsed := now.Sub(s.made) - time.Duration(s.since.Load())
			s.rate = max(float64(s.count.Load())/max(elapsed, time.Second).Seconds(), 1)
			if elapsed < time.Second { // all of a second is not known yet
				s.rate = max(s.rate, float64(s.before.Load()))
			}
			s.top = 2 * s.rate
		}
		s.step = s.rate * growth
		s.active.Store(true)
	} else {
		s.recover(now)
	}
	s.tooMuch, s.rate = s.rate, max(s.rate/2, s.top*slowest, min(s.top, leastRate))
	s.halved, s.changed = now, now
}

// recover lets more go, for every second that has passed without a complaint.
func (s *slowdown) recover(now time.Time) {
	seconds := now.Sub(s.changed) / stablePause
	if seconds <= 0 || !s.active.Load() {
		return
	}
	s.changed = s.changed.Add(seconds * stablePause)
	for ; seconds > 0 && s.rate < s.top; seconds-- {
		step := s.step
		switch {
		case s.rate < near*s.tooMuch:
			step = min(step, atFirst*s.tooMuch, near*s.tooMuch-s.rate+slowly*s.tooMuch)
		case s.rate < past*s.tooMuch:
			step = min(step, slowly*s.tooMuch)
		}
		s.rate = min(s.rate+step, s.top)
	}
	if s.rate >= s.top {
		s.active.Store(false)
	}
}

func (s *slowdown) pace(now time.Time) Pace {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.recover(now)
	p := Pace{Rate: s.full, Slowed: s.active.Load(), Throttled: s.times.Load()}
	if p.Slowed {
		p.Rate = s.rate
	}
	return p
}
