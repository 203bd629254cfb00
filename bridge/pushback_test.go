package bridge_test

import (
	"fmt"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ebbgate/ebbgate/bridge"
)

// A message that ends each link in a way that is mostly not a message's (AWS says quota
// exceeded of a payload that is too large, others never answer) becomes a dead letter
// when all others are taken, and they do not wait for a person. It takes its time: what
// is too much is pushed back the same way, and may be so several times.
func TestAMessageThatIsPushedBackBecomesADeadLetter(t *testing.T) {
	inNoTime(testAMessageThatIsPushedBackBecomesADeadLetter)(t)
}

func testAMessageThatIsPushedBackBecomesADeadLetter(t *testing.T) {
	s := openSpool(t)
	put(t, s, normal, "buggy", "poison")
	putMany(t, s, normal, 200, func(i int) string { return fmt.Sprint("d", i%5) })
	put(t, s, normal, "buggy", "after")
	var times atomic.Int64
	c := &cloud{window: 10, how: bridge.ErrPushedBack, hangUp: func(d *bridge.Delivery) bool {
		if !isPoison(d) {
			return false
		}
		times.Add(1)
		return true
	}}
	begun := s.Age()
	forward(t, s, c, new(noMeter), new(bridge.Health), empty(s, normal))
	if got := content(t, s, bridge.DeadQueue(normal)); !slices.Equal(got, []string{"poison"}) {
		t.Errorf("dead letters %q", got)
	}
	if d := s.Age() - begun; times.Load() < 10 || d < 3*time.Minute {
		t.Errorf("given up after %d times and %v", times.Load(), d)
	}
	if l := s.Ledger(normal); l.Delivered != 201 {
		t.Errorf("%+v", l)
	}
}

// A receiver that pushes everything back for a while makes no dead letters, nor when
// there is nothing to compare with: it is not the messages.
func TestPushingEverythingBackMakesNoDeadLetters(t *testing.T) {
	t.Parallel()
	for _, devices := range []int{1, 5} {
		t.Run(fmt.Sprint(devices, " devices"), inNoTime(func(t *testing.T) {
			s := openSpool(t)
			putMany(t, s, normal, 50, func(i int) string { return fmt.Sprint("d", i%devices) })
			var times atomic.Int64
			c := &cloud{window: 10, how: bridge.ErrPushedBack, hangUp: func(*bridge.Delivery) bool { return times.Add(1) <= 30 }}
			forward(t, s, c, new(noMeter), new(bridge.Health), empty(s, normal))
			if l := s.Ledger(normal); l.Delivered != 50 || len(c.payloads()) != 50 {
				t.Errorf("%+v, %d arrived", l, len(c.payloads()))
			}
		}))
	}
}
