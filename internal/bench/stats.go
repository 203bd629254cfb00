package main

import (
	"math"
	"slices"
	"time"
)

// median is the middle of the values, 0 of none.
func median(values []float64) float64 { return quantile(values, 0.5) }

// quantile is the value below which the share q of the values lies,
// interpolated between its two neighbours; 0 of none.
func quantile(values []float64, q float64) float64 {
	if len(values) == 0 {
		return 0
	}
	s := slices.Sorted(slices.Values(values))
	at := q * float64(len(s)-1)
	low := int(math.Floor(at))
	high := min(low+1, len(s)-1)
	return s[low] + (s[high]-s[low])*(at-float64(low))
}

// milliseconds converts durations.
func milliseconds(took []time.Duration) []float64 {
	out := make([]float64, len(took))
	for i, d := range took {
		out[i] = d.Seconds() * 1000
	}
	return out
}
