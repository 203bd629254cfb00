package main

import (
	"testing"
	"time"

	"github.com/ebbgate/ebbgate/bridge"
)

// The warning about a clock that has not been set goes away with its cause, and
// comes back only with new certificates.
func TestDatesUncheckedIsTakenBack(t *testing.T) {
	b := newStatusBuilder(&gateway{health: new(bridge.Health)})
	unset, set := time.Unix(90, 0), time.Date(2026, 11, 20, 0, 0, 0, 0, time.UTC)
	for i, step := range []struct {
		unchecked int64
		now       time.Time
		want      int
	}{
		{0, unset, 0}, // nobody came
		{2, unset, 1},
		{2, unset, 1}, // nobody new, and the clock is as wrong as before
		{2, set, 0},
		{2, unset, 0}, // those are told of
		{3, unset, 1},
		{3, set, 0},
	} {
		b.warnDates(step.unchecked, step.now)
		if got := len(b.g.health.Warnings()); got != step.want {
			t.Errorf("step %d: %d warnings, want %d", i, got, step.want)
		}
	}
}
