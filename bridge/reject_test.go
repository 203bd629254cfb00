package bridge_test

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ebbgate/ebbgate/bridge"
)

// stubborn forwards to a cloud that answers what bad says with code, with no
// back-off, until the condition holds.
func stubborn(t *testing.T, s bridge.Spool, h *bridge.Health, grace time.Duration, code byte, bad func(payload string) bool, until func(c *cloud) bool) *cloud {
	t.Helper()
	c := &cloud{window: 10, answer: func(d *bridge.Delivery) bridge.Outcome {
		if bad(string(d.Payload)) {
			return bridge.Outcome{Result: bridge.ResultRetry, Code: code, Reason: "unspecified"}
		}
		return bridge.Outcome{Result: bridge.ResultAcked}
	}}
	f := bridge.NewForwarder(bridge.ForwarderConfig{Upstream: "cloud", Queues: []bridge.QueueRef{{Name: normal}}, RefusalGrace: grace},
		s, []bridge.Sender{c}, new(noMeter), new(bridge.DropLog), h, slog.New(slog.DiscardHandler))
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	ended := make(chan error, 1)
	go func() { ended <- f.Run(ctx) }()
	for ctx.Err() == nil && !until(c) {
		f.Retry()
		time.Sleep(time.Millisecond) // polls a condition: the test fails by the context
	}
	if ctx.Err() != nil {
		t.Errorf("not reached: arrived %d, depth %+v, warnings %v", len(c.payloads()), s.Depth(normal), h.Warnings())
	}
	cancel()
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	return c
}

func (c *cloud) times(payload string) (n int) {
	for _, p := range c.payloads() {
		if p == payload {
			n++
		}
	}
	return n
}

func refusedWarning(h *bridge.Health) string {
	for _, w := range h.Warnings() {
		if w.Code == "refused-"+normal {
			return w.Text
		}
	}
	return ""
}

// TestUnexplainedRefusalIsToldAndEnds: a message that is always answered 0x80 is
// warned of with what a person needs, across restarts; once taken the warning ends.
func TestUnexplainedRefusalIsToldAndEnds(t *testing.T) {
	s, h := openSpool(t), new(bridge.Health)
	put(t, s, normal, "d", "bad")
	put(t, s, normal, "e", "good")
	isBad := func(p string) bool { return p == "bad" }
	stubborn(t, s, new(bridge.Health), time.Hour, 0x80, isBad, func(c *cloud) bool { return c.times("bad") >= 2 && s.Depth(normal).Records == 1 })
	stubborn(t, s, h, time.Hour, 0x80, isBad, func(c *cloud) bool {
		_, told, _ := strings.Cut(refusedWarning(h), "(topic \"dt/d\") ")
		n := 0
		_, _ = fmt.Sscanf(told, "%d times", &n) // 0 while it is not told
		return n > c.times("bad")               // it counts on from the run before
	})
	for _, want := range []string{"cloud has refused", bridge.MessageID{}.String(), "dt/d", "0x80 unspecified", "ebbgate spool drop up/cloud/normal --from ", "1h0m0s"} {
		if !strings.Contains(refusedWarning(h), want) {
			t.Errorf("%q is not in %q", want, refusedWarning(h))
		}
	}
	if n := s.Depth(bridge.DeadQueue(normal)).Records; n != 0 {
		t.Errorf("%d dead letters before the grace was over", n)
	}
	// The entry of an earlier run is found when the message is refused again.
	tries := 0
	mended := func(string) bool { tries++; return tries < 2 }
	stubborn(t, s, h, time.Hour, 0x80, mended, func(*cloud) bool { return empty(s, normal)() && refusedWarning(h) == "" })
}

// TestUnexplainedRefusalBecomesADeadLetter: after its grace, alone, and what
// follows of its device goes on.
func TestUnexplainedRefusalBecomesADeadLetter(t *testing.T) {
	s, h := openSpool(t), new(bridge.Health)
	for _, p := range []string{"bad", "1", "2"} {
		put(t, s, normal, "d", p)
	}
	c := stubborn(t, s, h, time.Nanosecond, 0x83, func(p string) bool { return p == "bad" }, func(*cloud) bool { return empty(s, normal)() })
	if n := c.times("bad"); n != 3 {
		t.Errorf("sent %d times", n)
	}
	if got := c.payloads(); !slices.Contains(got, "1") || !slices.Contains(got, "2") {
		t.Errorf("the cloud got %q", got)
	}
	if n := s.Depth(bridge.DeadQueue(normal)).Records; n != 1 {
		t.Errorf("%d dead letters", n)
	}
	why, err := s.Get("dead", bridge.MessageID{}.String())
	if err != nil || !strings.Contains(string(why), "refused 3 times with 0x83 unspecified") {
		t.Errorf("%q, %v", why, err)
	}
}

// TestQuotaIsNotTheMessages: a code that speaks of the moment gives nothing up,
// however long it lasts.
func TestQuotaIsNotTheMessages(t *testing.T) {
	s, h := openSpool(t), new(bridge.Health)
	put(t, s, normal, "d", "1")
	stubborn(t, s, h, time.Nanosecond, 0x97, func(string) bool { return true }, func(c *cloud) bool { return c.times("1") >= 20 })
	if w := h.Warnings(); len(w) > 0 || s.Depth(normal).Records != 1 {
		t.Errorf("warnings %v, %+v", w, s.Depth(normal))
	}
}

// TestAQuotaWhileOthersAreTaken: with a code that speaks of the moment a message becomes
// a dead letter when it was refused ten times between which others were taken, and for
// the grace, which is a day; before that it is told.
func TestAQuotaWhileOthersAreTaken(t *testing.T) { inNoTime(testAQuotaWhileOthersAreTaken)(t) }

func testAQuotaWhileOthersAreTaken(t *testing.T) {
	s, h := openAging(t), new(bridge.Health)
	put(t, s, normal, "d", "bad")
	dead := func() int { return int(s.Depth(bridge.DeadQueue(normal)).Records) }
	told, late := 0, false
	stubborn(t, s, h, 0, 0x97, func(p string) bool { return p == "bad" }, func(c *cloud) bool {
		if s.Depth(normal).Records == 1 && !late {
			put(t, s, normal, "e", "good")
		}
		switch n := c.times("bad"); {
		case told == 0 && refusedWarning(h) != "":
			told = n
			s.ahead.Store(int64(24*time.Hour - time.Minute))
		case told > 0 && !late && (n >= told+20 || dead() > 0):
			late = true
			if told < 10 || dead() > 0 {
				t.Errorf("told after %d refusals; %d dead letters before the day was over", told, dead())
			}
			s.ahead.Store(int64(24 * time.Hour))
		}
		return empty(s, normal)()
	})
	if dead() != 1 || !late {
		t.Errorf("%d dead letters", dead())
	}
	if why, err := s.Get("dead", bridge.MessageID{}.String()); err != nil || !strings.Contains(string(why), "0x97 unspecified, for 24h0m0s") {
		t.Errorf("%q, %v", why, err)
	}
}

// TestTwoUnexplainedRefusals: one has its turn, three times, then the other.
func TestTwoUnexplainedRefusals(t *testing.T) {
	s := openSpool(t)
	for _, p := range []string{"bad1", "bad2"} {
		put(t, s, normal, p, p)
	}
	c := stubborn(t, s, new(bridge.Health), time.Nanosecond, 0x80, func(string) bool { return true }, func(*cloud) bool { return empty(s, normal)() })
	if n := s.Depth(bridge.DeadQueue(normal)).Records; n != 2 {
		t.Errorf("%d dead letters", n)
	}
	if first := min(c.times("bad1"), c.times("bad2")); first != 3 {
		t.Errorf("the first was sent %d times, want 3", first)
	}
}
