package telemetry

import (
	"cmp"
	"sync"
	"time"
)

// Rate turns a counter that only grows into a rate a second over the last
// window. It is safe for concurrent use; the zero Rate is ready.
type Rate struct {
	Window time.Duration // 0: 5 s; it is not to be changed later

	mu      sync.Mutex
	samples []sample
}

type sample struct {
	at time.Time
	n  int64
}

const rateWindow = 5 * time.Second

// Observe takes the counter's value at a time and returns the present rate.
func (r *Rate) Observe(at time.Time, n int64) float64 {
	window := cmp.Or(r.Window, rateWindow)
	r.mu.Lock()
	defer r.mu.Unlock()
	if k := len(r.samples); k == 0 || at.Sub(r.samples[k-1].at) >= window/20 {
		r.samples = append(r.samples, sample{at, n})
	}
	for len(r.samples) > 2 && at.Sub(r.samples[1].at) > window {
		r.samples = r.samples[1:]
	}
	first := r.samples[0]
	dt := at.Sub(first.at).Seconds()
	if dt <= 0 {
		return 0
	}
	return float64(n-first.n) / dt
}
