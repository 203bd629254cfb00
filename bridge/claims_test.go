package bridge_test

import (
	"testing"

	"github.com/ebbgate/ebbgate/bridge"
)

// Two never give up the same record: who comes second is told so, also while the
// first one's release is in the log and not seen yet; what came to nothing is free
// again.
func TestClaims(t *testing.T) {
	s := openSpool(t)
	put(t, s, normal, "d", "x")
	put(t, s, normal, "d", "y")
	log := openLog(t, s, bridge.DefaultDropLimits())
	one, two := new(int), new(int)
	claims := func(by any, place bridge.Place, want bool) {
		t.Helper()
		if log.Claim(by, normal, place) != want {
			t.Errorf("place %d: %v", place, !want)
		}
	}
	claims(one, 1, true)
	claims(two, 1, false)
	claims(two, 2, true)
	log.Disown(two)
	claims(one, 2, true)
	log.Committed(two, normal, 2) // which it does not hold
	log.Disown(one)
	claims(two, 2, true)
	log.Committed(two, normal, 2) // its release is not seen yet
	log.Disown(two)
	claims(one, 2, false)
	var b bridge.Batch
	b.Releases = []bridge.Release{{Queue: normal, Place: 1, Fate: bridge.Dropped}}
	commit(t, s, &b)
	log.Committed(one, normal, 1)
	claims(one, 1, false) // it is released
	if !new(bridge.DropLog).Claim(one, normal, 1) {
		t.Error("a log that keeps nothing refuses")
	}
}
