package upstream

import (
	"math"
	"time"
)

// tokens is a token bucket, which who is late may find fuller than who has nothing
// to send.
type tokens struct {
	rate  float64 // a second; 0: unlimited
	burst float64
	have  float64 // negative: what came in has taken more than there was
}

// set sets the rate. No debt is more than a second pays.
func (t *tokens) set(rate float64) { t.rate, t.have = rate, max(t.have, -rate) }

// grow adds what comes in d, up to the burst and what comes in spare.
func (t *tokens) grow(d, spare time.Duration) {
	t.have = min(t.have+d.Seconds()*t.rate, t.burst+spare.Seconds()*t.rate)
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
