package upstream

import (
	"math"
	"time"
)

// tokens is a token bucket of two depths: who has nothing to send saves the burst,
// who is late a second's worth.
type tokens struct {
	rate  float64 // a second; 0: unlimited
	burst float64
	have  float64 // negative: what came in has taken more than there was
}

func (t *tokens) set(rate, burst float64) {
	t.rate, t.burst = rate, burst
	t.have = max(min(t.have, burst+rate), -rate)
}

// grow adds what comes in so many seconds; beyond the burst only when that is free.
func (t *tokens) grow(seconds float64, free bool) {
	most := max(t.burst, t.have)
	if free {
		most = t.burst + t.rate
	}
	t.have = min(t.have+seconds*t.rate, most)
}

// take takes n.
func (t *tokens) take(n float64) {
	if t.rate > 0 {
		t.have -= n
	}
}

// owe takes n that nobody has waited for, down to a debt that a second pays.
func (t *tokens) owe(n float64) {
	if t.rate > 0 {
		t.have = max(t.have-n, min(t.have, 0, 1-t.rate))
	}
}

// until is how long it takes until there are n.
func (t *tokens) until(n float64) time.Duration {
	if t.rate == 0 || t.have >= n-1e-6 {
		return 0
	}
	return time.Duration(math.Ceil((n - t.have) / t.rate * float64(time.Second)))
}
