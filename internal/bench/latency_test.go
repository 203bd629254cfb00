package main

import (
	"slices"
	"testing"
	"time"
)

func TestFromDue(t *testing.T) {
	const ms = time.Millisecond
	got := fromDue([]time.Duration{ms / 2, 4 * ms, ms / 2, ms / 2, ms / 2, ms / 2}, ms)
	// The second ends at 5 ms; those that were due at 2, 3 and 4 ms come behind it.
	want := []time.Duration{ms / 2, 4 * ms, 7 * ms / 2, 3 * ms, 5 * ms / 2, 2 * ms}
	if !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
}
