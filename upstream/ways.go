package upstream

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"time"
)

// Ways is what all connections to one upstream know of the ways that lead there,
// the best first: which one worked last, why the others did not, and when to look
// at those again. It is safe for concurrent use.
type Ways struct {
	names []string
	gate  *Gate // knows of another network; nil: nobody does

	mu      sync.Mutex
	last    int // the way that worked last, or is about to be gone back to
	states  []wayState
	network string
}

// wayState is what is known of one way.
type wayState struct {
	err      error // why it could not be used, the last time; nil: it could, or was not needed
	at       time.Time
	up       time.Time // of the last login by it; zero: none, or it failed since
	shut     time.Time // behind the others until then: it let us in to no end
	next     time.Time // when to look at it again, while a worse one is in use
	failures int       // in a row
}

// WayStatus is one way to an upstream.
type WayStatus struct {
	Way string    // its endpoint
	Err error     // why it is not used; nil: it could be, for all that is known
	At  time.Time // of Err
}

// A better way is looked at after a minute, then after twice as long each time, up
// to an hour. Who comes after the first connection that went back waits until that
// has lived for a while. A way that lived for long begins anew.
const (
	lookFirst  = time.Minute
	lookMost   = time.Hour
	wayTrusted = 5 * time.Minute
)

// NewWays begins with nothing known. gate may be nil.
func NewWays(names []string, gate *Gate) *Ways {
	return &Ways{names: names, gate: gate, states: make([]wayState, len(names))}
}

// Same reports whether w is about these ways: then what it knows is worth keeping.
func (w *Ways) Same(names []string) bool { return slices.Equal(w.names, names) }

// Name is the endpoint of a way.
func (w *Ways) Name(i int) string { return w.names[i] }

// Order is in which order to try the ways: the one that worked last, then the
// others, the best first; behind them those that were reached a moment ago and to
// no end.
func (w *Ways) Order(now time.Time) []int {
	w.mu.Lock()
	defer w.mu.Unlock()
	order := make([]int, len(w.names))
	for i := range order {
		order[i] = i
	}
	rank := func(i int) int {
		switch {
		case now.Before(w.states[i].shut):
			return 2
		case i == w.last:
			return 0
		}
		return 1
	}
	slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(rank(a), rank(b)) })
	return order
}

// Unreached notes why a way leads nowhere now.
func (w *Ways) Unreached(i int, err error, now time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	s := &w.states[i]
	s.err, s.at, s.up = err, now, time.Time{}
}

// Refused notes that a way leads there and is of no use: the login by it failed,
// or its link did not live. The others come before it for a while.
func (w *Ways) Refused(i int, err error, now time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	s := &w.states[i]
	s.err, s.at, s.up = err, now, time.Time{}
	s.shut = now.Add(pauseOf(s.failures))
	s.next = s.shut
	s.failures++
}

// Up notes a login by a way, and when the better ones are to be looked at.
func (w *Ways) Up(i int, now time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	s := &w.states[i]
	s.err, s.up, w.last = nil, now, i
	for j := range i {
		if b := &w.states[j]; b.next.Before(now) {
			b.next = now.Add(pauseOf(b.failures))
		}
	}
}

// Lived notes how long a link by a way was up, and why it ended; nil for an end
// that says nothing about the way.
func (w *Ways) Lived(i int, d time.Duration, err error, now time.Time) {
	if err != nil && d < StableAfter {
		w.Refused(i, err, now)
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if d >= wayTrusted {
		w.states[i].failures, w.states[i].shut = 0, time.Time{}
	}
}

// Due are the better ways than the i-th that are to be looked at now. Each is
// named to one that asks only.
func (w *Ways) Due(i int, now time.Time) (out []int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	moved := w.moved(now)
	for j := range i {
		s := &w.states[j]
		if moved {
			s.failures, s.next = 0, now
		}
		if !now.Before(s.next) {
			s.next = now.Add(pauseOf(s.failures))
			s.failures++
			out = append(out, j)
		}
	}
	return out
}

// moved reports whether the machine is on another network than when it was asked
// last: what was shut there may be open here.
func (w *Ways) moved(now time.Time) bool {
	if w.gate == nil {
		return false
	}
	was := w.network
	w.network = w.gate.network.state(now)
	return was != "" && w.network != was
}

// GoBack makes a better way that is open again the one to try first.
func (w *Ways) GoBack(i int, now time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.last = i
	w.states[i].err, w.states[i].shut = nil, time.Time{}
}

// Left reports whether another connection is by a better way than the i-th, and
// has been for a while: then it is time to follow it.
func (w *Ways) Left(i int, now time.Time) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	up := w.states[w.last].up
	return w.last < i && !up.IsZero() && now.Sub(up) >= StableAfter
}

// Status lists the ways, the best first.
func (w *Ways) Status() []WayStatus {
	w.mu.Lock()
	defer w.mu.Unlock()
	var out []WayStatus
	for i, s := range w.states {
		out = append(out, WayStatus{Way: w.names[i], Err: s.err, At: s.at})
	}
	return out
}

// pauseOf doubles with every failure, and is never the same for two gateways.
func pauseOf(failures int) time.Duration {
	d := min(lookFirst<<min(failures, 10), lookMost)
	return d*7/8 + rand.N(d/4)
}

// WaysError says why none of several ways leads to an upstream.
type WaysError struct{ Ways []WayStatus }

// Error lists the ways with their reasons.
func (e *WaysError) Error() string {
	var parts []string
	for _, w := range e.Ways {
		parts = append(parts, fmt.Sprintf("by %s: %v", w.Way, w.Err))
	}
	return "no way leads there: " + strings.Join(parts, "; ")
}

// Unwrap is the reason that says most: what somebody refused, before what nobody
// answered.
func (e *WaysError) Unwrap() error {
	var best error
	for _, w := range e.Ways {
		if best == nil || answered(w.Err) > answered(best) {
			best = w.Err
		}
	}
	return best
}
