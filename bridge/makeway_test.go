package bridge_test

import (
	"fmt"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ebbgate/ebbgate/bridge"
)

const crowd = 11_000 // messages of two devices, more than are read past a refused one

// forwardLong is forwardFrom for what takes minutes of back-off: ten seconds pass
// whenever nothing moves any more.
func forwardLong(t *testing.T, old *aging, c *cloud, m bridge.Meter, h *bridge.Health, until func() bool) {
	t.Helper()
	f := bridge.NewForwarder(bridge.ForwarderConfig{Upstream: "cloud", Queues: []bridge.QueueRef{{Name: normal}}}, old, []bridge.Sender{c}, m, new(bridge.DropLog), h, slog.New(slog.DiscardHandler))
	still, sum := 0, bridge.Ledger{}
	runForwarder(t, f, old, c, func() bool {
		if now := old.Ledger(normal); now != sum {
			still, sum = 0, now
		}
		if still++; still%10 == 0 {
			old.ahead.Add(int64(10 * time.Second))
			f.Retry()
		}
		return until()
	})
}

func goodAndBad(i int) string { return []string{"good", "bad"}[i%2] }

// A receiver that has a bad moment makes no dead letters, however fast the others go
// by meanwhile.
func TestABadMomentMakesNoWay(t *testing.T) {
	t.Parallel()
	s := openAging(t)
	putMany(t, s.Spool, normal, crowd, goodAndBad)
	to := &cloud{window: 100, answer: func(d *bridge.Delivery) bridge.Outcome {
		if string(d.Payload) == "1" && d.Attempt <= 2 {
			return bridge.Outcome{Result: bridge.ResultRetry, Code: 0x80}
		}
		return bridge.Outcome{Result: bridge.ResultAcked}
	}}
	forwardFrom(t, []bridge.QueueRef{{Name: normal}}, s, to, new(noMeter), new(bridge.DropLog), new(bridge.Health), empty(s, normal))
	if l := s.Ledger(normal); l.Delivered != crowd {
		t.Errorf("%+v", l)
	}
}

// Nor does one that refuses everything for minutes: what it is tried with first when it
// is well again makes none of what is still held.
func TestABadMinuteMakesNoWay(t *testing.T) {
	t.Parallel()
	s := openAging(t)
	const devices = 300
	putMany(t, s.Spool, normal, crowd, func(i int) string { return fmt.Sprint("d", i%devices) })
	var refused atomic.Int64
	to := &cloud{window: 100, answer: func(*bridge.Delivery) bridge.Outcome {
		if refused.Add(1) <= 4*devices {
			return bridge.Outcome{Result: bridge.ResultRetry, Code: 0x80}
		}
		return bridge.Outcome{Result: bridge.ResultAcked}
	}}
	aged := false
	forwardFrom(t, []bridge.QueueRef{{Name: normal}}, s, to, new(noMeter), new(bridge.DropLog), new(bridge.Health), func() bool {
		if !aged && refused.Load() > 3*devices {
			aged = true
			s.ahead.Add(int64(time.Minute))
		}
		return empty(s, normal)()
	})
	if l := s.Ledger(normal); l.Delivered != crowd {
		t.Errorf("%+v", l)
	}
}

// One message that is always refused makes way alone: what follows of its device is
// delivered, in order.
func TestOneMessageMakesWay(t *testing.T) {
	t.Parallel()
	for code, result := range map[byte]bridge.Result{
		0x80: bridge.ResultRetry, // it may be the message
		0x97: bridge.ResultRetry, // that is mostly the moment
		0x87: bridge.ResultDenied,
	} {
		t.Run(fmt.Sprintf("%#x", code), func(t *testing.T) {
			t.Parallel()
			s := openAging(t)
			putMany(t, s.Spool, normal, crowd, goodAndBad)
			// With a window of 1 nothing that follows of the device goes before the refusal.
			to := &cloud{window: 1, answer: func(d *bridge.Delivery) bridge.Outcome {
				if string(d.Payload) == "101" {
					return bridge.Outcome{Result: result, Code: code}
				}
				return bridge.Outcome{Result: bridge.ResultAcked}
			}}
			forwardLong(t, s, to, new(noMeter), new(bridge.Health), empty(s, normal))
			if l := s.Ledger(normal); l.Delivered != crowd-1 || l.Moved != 1 {
				t.Errorf("%+v", l)
			}
			if got := content(t, s.Spool, bridge.DeadQueue(normal)); len(got) != 1 || got[0] != "101" {
				t.Errorf("dead letters %v", got)
			}
		})
	}
}

// A quota that is used up for two minutes makes no dead letters.
func TestAQuotaOfAWhileMakesNoWay(t *testing.T) {
	t.Parallel()
	s := openAging(t)
	putMany(t, s.Spool, normal, crowd, goodAndBad)
	to := &cloud{window: 100, answer: func(d *bridge.Delivery) bridge.Outcome {
		if d.Device == "bad" && s.ahead.Load() < int64(2*time.Minute) {
			return bridge.Outcome{Result: bridge.ResultRetry, Code: 0x97}
		}
		return bridge.Outcome{Result: bridge.ResultAcked}
	}}
	forwardLong(t, s, to, new(noMeter), new(bridge.Health), empty(s, normal))
	if l := s.Ledger(normal); l.Delivered != crowd || l.Moved != 0 {
		t.Errorf("%+v", l)
	}
}

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
		{"denied", bridge.Outcome{Result: bridge.ResultDenied, Code: 0x87, Reason: "not authorized"}},
		{"over a quota", bridge.Outcome{Result: bridge.ResultRetry, Code: 0x97, Reason: "quota exceeded"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s, h := openAging(t), new(bridge.Health)
			putMany(t, s.Spool, normal, crowd, goodAndBad)
			to := &cloud{window: 100, answer: func(d *bridge.Delivery) bridge.Outcome {
				if d.Device == "bad" {
					return c.Outcome
				}
				return bridge.Outcome{Result: bridge.ResultAcked}
			}}
			forwardLong(t, s, to, new(noMeter), h, func() bool { return s.Ledger(normal).Delivered == crowd/2 })
			dead := s.Ledger(bridge.DeadQueue(normal)).Accepted
			if least := int64(crowd-10_000) / 2; dead < least || dead > least+1000 { // every second is of it
				t.Errorf("%d became dead letters", dead)
			}
			if waits := s.Depth(normal).Records; waits+dead != crowd/2 {
				t.Errorf("%d of it wait, and %d are dead letters", waits, dead)
			}
			for i, payload := range content(t, s.Spool, bridge.DeadQueue(normal)) {
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
	s := openAging(t)
	putMany(t, s.Spool, normal, crowd, func(i int) string { return fmt.Sprint("d", i%10) })
	var met atomic.Bool
	to := &cloud{window: 100, answer: func(d *bridge.Delivery) bridge.Outcome {
		if d.Device == "d0" {
			return bridge.Outcome{Result: bridge.ResultAcked}
		}
		if d.Device == "d1" && d.Attempt >= 10 { // long after the front has come as far as it may
			met.Store(true)
		}
		return bridge.Outcome{Result: bridge.ResultRetry, Code: 0x80}
	}}
	forwardLong(t, s, to, new(noMeter), new(bridge.Health), func() bool {
		return met.Load() && s.Ledger(normal).Delivered >= 1000
	})
	if dead := s.Ledger(bridge.DeadQueue(normal)).Accepted; dead > 0 {
		t.Errorf("%d became dead letters", dead)
	}
}

// What has expired meanwhile is dropped, as everywhere, and is no dead letter.
func TestWhatHasExpiredMakesNoDeadLetter(t *testing.T) {
	t.Parallel()
	s := openAging(t)
	b := new(bridge.Batch)
	for i := range crowd {
		r := &bridge.Record{
			Message:   bridge.Message{Topic: "dt", Payload: []byte(fmt.Sprint(i)), QoS: 1},
			Origin:    bridge.Origin{Device: goodAndBad(i), Instant: bridge.Instant{Age: s.Age()}},
			Receivers: []bridge.Receiver{{Queue: normal, Topic: "dt", QoS: 1}},
		}
		if i%4 == 3 { // every second of the bad one's
			r.Receivers[0].TTL = 20 * time.Second
		}
		if b.Append(r); len(b.Appends) == 500 {
			commit(t, s, b)
			b = new(bridge.Batch)
		}
	}
	to := &cloud{window: 100, answer: func(d *bridge.Delivery) bridge.Outcome {
		if d.Device == "bad" {
			return bridge.Outcome{Result: bridge.ResultRetry, Code: 0x80}
		}
		return bridge.Outcome{Result: bridge.ResultAcked}
	}}
	forwardLong(t, s, to, new(noMeter), new(bridge.Health), func() bool { return s.Ledger(normal).Delivered == crowd/2 })
	dead := content(t, s.Spool, bridge.DeadQueue(normal))
	if l := s.Ledger(normal); len(dead) == 0 || l.Dropped == 0 {
		t.Errorf("%+v", l)
	}
	for i, payload := range dead {
		if payload != fmt.Sprint(4*i+1) {
			t.Fatalf("dead letter %d is message %s", i, payload)
		}
	}
}
