package bridge_test

import (
	"testing"
	"testing/synctest"
)

// inNoTime is a test of what takes seconds or minutes of waiting, beside others and
// by a clock of its own: it goes on as soon as all that the test has started waits.
// What the disk and the processor take is no time by that clock.
func inNoTime(test func(*testing.T)) func(*testing.T) {
	return func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, test)
	}
}
