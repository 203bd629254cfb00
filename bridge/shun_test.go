package bridge_test

import (
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/ebbgate/ebbgate/bridge"
)

// A connection that is hung up on whatever is sent on it makes no dead letters: its
// devices go by the others, in order, and it is told.
func TestABadConnectionMakesNoDeadLetters(t *testing.T) {
	t.Parallel()
	s, h := openSpool(t), new(bridge.Health)
	const devices, each = 30, 40
	device := func(i int) string { return fmt.Sprint("d", i%devices) }
	var hangs atomic.Int64
	good := &cloud{window: 10}
	bad := &cloud{window: 10, hangUp: func(*bridge.Delivery) bool { hangs.Add(1); return true }}
	f, end := startWith(t, bridge.ForwarderConfig{Upstream: "cloud", Queues: []bridge.QueueRef{{Name: normal}}}, s, []bridge.Sender{good, bad, good}, h)
	putMany(t, s, normal, devices*each, device)
	await(t, func() string { return fmt.Sprintf("%+v, %+v, %d hang-ups", f.Stats(), s.Depth(normal), hangs.Load()) }, empty(s, normal))
	warnings := h.Warnings()
	end()
	if n := s.Depth(bridge.DeadQueue(normal)).Records; n != 0 {
		t.Errorf("%d dead letters", n)
	}
	if hangs.Load() < 3 {
		t.Fatalf("%d hang-ups: nothing was tried on the bad connection", hangs.Load())
	}
	if !slices.ContainsFunc(warnings, func(w bridge.Warning) bool {
		return w.Code == "shunned-cloud-2" && strings.Contains(w.Text, "connection 2")
	}) {
		t.Errorf("nobody is told: %v", warnings)
	}
	last := map[int]int{}
	for _, p := range good.payloads() {
		var n int
		if _, err := fmt.Sscan(p, &n); err != nil {
			t.Fatal(err)
		}
		if before, some := last[n%devices]; some && n <= before {
			t.Fatalf("%d comes after %d", n, before)
		}
		last[n%devices] = n
	}
}

// What has become a dead letter is not sent after all, though a hold of its device ends
// in the moment in which the release is in the log and not seen yet.
func TestADeadLetterIsNotSent(t *testing.T) {
	t.Parallel()
	s := openSpool(t)
	const n = 2000
	putMany(t, s, normal, n, func(i int) string { return fmt.Sprint("d", i%7) })
	var again atomic.Int64
	refused := map[string]bool{}
	to := &cloud{window: 100, answer: func(d *bridge.Delivery) bridge.Outcome {
		switch p := string(d.Payload); {
		case refused[p]:
			again.Add(1)
		case strings.HasSuffix(p, "7"):
			refused[p] = true
			return bridge.Outcome{Result: bridge.ResultRefused, Code: 0x99}
		case d.Attempt == 1: // a hold, which the next look at the queue ends
			return bridge.Outcome{Result: bridge.ResultRetry, Code: 0x97}
		}
		return bridge.Outcome{Result: bridge.ResultAcked}
	}}
	f, end := start(t, bridge.ForwarderConfig{Upstream: "cloud", Queues: []bridge.QueueRef{{Name: normal}}}, s, []bridge.Sender{to})
	await(t, func() string { return fmt.Sprintf("%+v", s.Depth(normal)) }, func() bool {
		f.Retry()
		return empty(s, normal)()
	})
	end()
	if n := again.Load(); n > 0 {
		t.Errorf("%d dead letters were sent again", n)
	}
	if l := s.Ledger(normal); l.Moved != n/10 || l.Delivered != n-n/10 {
		t.Errorf("%+v", l)
	}
}
