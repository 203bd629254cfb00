package bridge_test

import (
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ebbgate/ebbgate/bridge"
)

// flaky is a spool of which one kind of commit fails once.
type flaky struct {
	bridge.Spool
	fail func(*bridge.Batch) bool
	once atomic.Bool
	most atomic.Int64 // releases in one batch
}

func (f *flaky) Commit(b *bridge.Batch, done func(bridge.Seq, error)) {
	f.most.Store(max(f.most.Load(), int64(len(b.Releases))))
	if f.fail != nil && f.fail(b) && f.once.CompareAndSwap(false, true) {
		done(0, bridge.Errorf("write state", bridge.Unavailable, "once"))
		return
	}
	f.Spool.Commit(b, done)
}

// A mark that could not be written is asked for again.
func TestForwarderAsksAgainForItsMark(t *testing.T) {
	s := openSpool(t)
	for i := range 10 {
		put(t, s, normal, "d", fmt.Sprint(i))
	}
	f := &flaky{Spool: s, fail: func(b *bridge.Batch) bool { return len(b.Puts) == 1 && b.Puts[0].Namespace == "sent" }}
	forward(t, f, &cloud{window: 10}, new(noMeter), new(bridge.Health), empty(s, normal))
}

// Releases that could not be written are written later, and nothing is sent
// twice for it.
func TestForwarderWritesReleasesAgain(t *testing.T) {
	s := openSpool(t)
	for i := range 10 {
		put(t, s, normal, "d", fmt.Sprint(i))
	}
	f := &flaky{Spool: s, fail: func(b *bridge.Batch) bool { return len(b.Releases) > 0 }}
	c, h := &cloud{window: 10}, new(bridge.Health)
	forward(t, f, c, new(noMeter), h, empty(s, normal))
	if n := len(c.payloads()); n != 10 {
		t.Errorf("%d sent", n)
	}
	if w := h.Warnings(); len(w) > 0 {
		t.Errorf("warnings %+v", w)
	}
}

// A backlog that has expired goes in bounded batches.
func TestForwarderExpiresInBatches(t *testing.T) {
	s := openSpool(t)
	var b bridge.Batch
	for i := range 5000 {
		b.Append(&bridge.Record{
			Message:   bridge.Message{Topic: "dt/x", Payload: []byte(fmt.Sprint(i)), QoS: 1},
			Origin:    bridge.Origin{Device: "d", Instant: bridge.Instant{Age: s.Age()}},
			Receivers: []bridge.Receiver{{Queue: normal, Topic: "dt/x", QoS: 1, TTL: time.Nanosecond}},
		})
	}
	commit(t, s, &b)
	f := &flaky{Spool: s}
	c := &cloud{window: 10}
	forward(t, f, c, new(noMeter), new(bridge.Health), empty(s, normal))
	if n := f.most.Load(); n > 1024 || len(c.payloads()) > 0 {
		t.Errorf("a batch of %d releases, %d expired messages sent", n, len(c.payloads()))
	}
}

// What is acknowledged beside a denied message does not let its device go on: only
// the trial does.
func TestForwarderUnbarsByTrialOnly(t *testing.T) {
	s := openSpool(t)
	for i := range 500 {
		put(t, s, normal, fmt.Sprint("d", i%5), fmt.Sprint(i))
	}
	put(t, s, alarms, "d0", "alarm")
	var denied atomic.Int64
	c := &cloud{window: 10, answer: func(d *bridge.Delivery) bridge.Outcome {
		if string(d.Payload) == "0" {
			denied.Add(1)
			return bridge.Outcome{Result: bridge.ResultDenied, Code: 0x87}
		}
		return bridge.Outcome{Result: bridge.ResultAcked}
	}}
	forward(t, s, c, new(noMeter), new(bridge.Health), func() bool { return denied.Load() > 0 && empty(s, alarms)() })
	if n := denied.Load(); n != 1 {
		t.Errorf("the denied message was sent %d times", n)
	}
}

// A receiver that hangs up on everything is not a poison in every message.
func TestForwarderDoesNotBlameEveryMessage(t *testing.T) {
	inNoTime(testForwarderDoesNotBlameEveryMessage)(t)
}

func testForwarderDoesNotBlameEveryMessage(t *testing.T) {
	s := openSpool(t)
	for i := range 50 {
		put(t, s, normal, "d", fmt.Sprint(i))
	}
	h := new(bridge.Health)
	var hangs atomic.Int64
	c := &cloud{window: 10, hangUp: func(*bridge.Delivery) bool { hangs.Add(1); return true }}
	warned := func() bool {
		for _, w := range h.Warnings() {
			if w.Code == "hangs-up-cloud" {
				return true
			}
		}
		return false
	}
	forward(t, s, c, new(noMeter), h, func() bool { return warned() && hangs.Load() > 60 })
	if d := s.Depth("dead/up/cloud/normal"); d.Records > 1 {
		t.Errorf("%d good messages are dead letters", d.Records)
	}
}
