package bridge_test

import (
	"errors"
	"fmt"
	"sync"
	"testing"

	"github.com/ebbgate/ebbgate/bridge"
)

// moving is what moves s to the dead letters, if nobody has released it.
func moving(s *bridge.Stored) *bridge.Batch {
	r, to := *s.Record, *s.Receiver
	to.Queue = deadNormal
	r.Receivers = []bridge.Receiver{to}
	b := &bridge.Batch{IfLive: true}
	b.Append(&r)
	b.ReleaseAs(s, bridge.Moved)
	return b
}

// Who moves a message while it is being delivered moves it, or finds it gone: it is
// never in the ledger of both queues, also when it is read again after a start.
func TestAMoveRacesADelivery(t *testing.T) {
	const n = 300
	s := openSpool(t)
	for i := range n {
		put(t, s, normal, "d", fmt.Sprint(i))
	}
	all := stored(t, s, normal, n)
	var both sync.WaitGroup
	moved := 0
	both.Go(func() {
		for _, r := range all {
			switch err := ended(s, moving(r)); {
			case err == nil:
				moved++
			case !errors.Is(err, bridge.ErrReleased):
				t.Error(err)
			}
		}
	})
	both.Go(func() {
		for i := n - 3; i >= 0; i -= 3 {
			var b bridge.Batch
			for _, r := range all[i : i+3] {
				b.Release(r)
			}
			if err := ended(s, &b); err != nil {
				t.Error(err)
			}
		}
	})
	both.Wait()
	ledgers := balance(t, s)
	if l := ledgers[normal]; l.Delivered+l.Moved != n || l.Moved != int64(moved) {
		t.Errorf("%d were moved, and the ledger says %+v", moved, l)
	}
	if l := ledgers[deadNormal]; l.Accepted != int64(moved) {
		t.Errorf("%d were moved to %+v", moved, l)
	}
	t.Logf("%d of %d were moved", moved, n)
}

// A move of what is released appends nothing, and one that the spool does not take
// leaves its record to whoever releases it.
func TestAMoveThatComesToNothing(t *testing.T) {
	s := openSpool(t)
	put(t, s, normal, "d", "x")
	put(t, s, normal, "d", "y")
	two := stored(t, s, normal, 2)
	var b bridge.Batch
	b.Release(two[0])
	commit(t, s, &b)
	if err := ended(s, moving(two[0])); !errors.Is(err, bridge.ErrReleased) {
		t.Errorf("it was delivered, and its move ends with %v", err)
	}
	refused := moving(two[1])
	refused.Appends[0].Receivers = nil
	if err := ended(s, refused); err == nil || errors.Is(err, bridge.ErrReleased) {
		t.Errorf("a record for nobody ends with %v", err)
	}
	b = bridge.Batch{}
	b.Release(two[1])
	commit(t, s, &b)
	if err := ended(s, moving(two[1])); !errors.Is(err, bridge.ErrReleased) {
		t.Errorf("it was delivered, and its move ends with %v", err)
	}
	if all := balance(t, s); all[normal] != (bridge.Ledger{Accepted: 2, Delivered: 2}) || all[deadNormal].Accepted != 0 {
		t.Errorf("%+v", all)
	}
}
