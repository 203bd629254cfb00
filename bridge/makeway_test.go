package bridge_test

import (
	"fmt"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/ebbgate/ebbgate/bridge"
)

const crowd = 24_000 // messages of two devices, twice as far as is read past a refused one and more

// A device whose messages are all refused without a reason does not stop the others
// of its route: when thousands of theirs have gone by, its oldest become dead letters.
// Nothing is lost, and what waits of it still waits in order.
func TestARefusedDeviceMakesWay(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name string
		bridge.Outcome
	}{
		{"refused", bridge.Outcome{Result: bridge.ResultRetry, Code: 0x80, Reason: "unspecified"}},
		{"nobody there", bridge.Outcome{Result: bridge.ResultAbsent}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s, h := openSpool(t), new(bridge.Health)
			putMany(t, s, normal, crowd, func(i int) string { return []string{"good", "bad"}[i%2] })
			to := &cloud{window: 100, answer: func(d *bridge.Delivery) bridge.Outcome {
				if d.Device == "bad" {
					return c.Outcome
				}
				return bridge.Outcome{Result: bridge.ResultAcked}
			}}
			queues := []bridge.QueueRef{{Name: normal}}
			forwardFrom(t, queues, s, to, new(noMeter), new(bridge.DropLog), h, func() bool { return s.Ledger(normal).Delivered == crowd/2 })
			dead := s.Ledger(bridge.DeadQueue(normal)).Accepted
			if least := int64(crowd-10_000) / 2; dead < least || dead > least+1000 { // every second is of it
				t.Errorf("%d became dead letters", dead)
			}
			if waits := s.Depth(normal).Records; waits+dead != crowd/2 {
				t.Errorf("%d of it wait, and %d are dead letters", waits, dead)
			}
			for i, payload := range content(t, s, bridge.DeadQueue(normal)) {
				if payload != fmt.Sprint(2*i+1) {
					t.Fatalf("dead letter %d is message %s", i, payload)
				}
			}
			told := false
			for _, w := range h.Warnings() {
				told = told || strings.Contains(w.Text, "10000 others waited behind")
			}
			if !told {
				t.Errorf("nobody is told: %v", h.Warnings())
			}
		})
	}
}

// A receiver that refuses nearly everything makes no dead letters of a backlog.
func TestARefusalOfAllMakesNoWay(t *testing.T) {
	t.Parallel()
	s := openSpool(t)
	putMany(t, s, normal, crowd, func(i int) string { return fmt.Sprint("d", i%10) })
	var met atomic.Bool
	to := &cloud{window: 100, answer: func(d *bridge.Delivery) bridge.Outcome {
		if d.Device == "d0" {
			return bridge.Outcome{Result: bridge.ResultAcked}
		}
		if d.Device == "d1" && d.Attempt >= 3 { // long after the front has come as far as it may
			met.Store(true)
		}
		return bridge.Outcome{Result: bridge.ResultRetry, Code: 0x80}
	}}
	forwardFrom(t, []bridge.QueueRef{{Name: normal}}, s, to, new(noMeter), new(bridge.DropLog), new(bridge.Health), func() bool {
		return met.Load() && s.Ledger(normal).Delivered >= 1000
	})
	if dead := s.Ledger(bridge.DeadQueue(normal)).Accepted; dead > 0 {
		t.Errorf("%d became dead letters", dead)
	}
}
