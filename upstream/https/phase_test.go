package https

import (
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/ebbgate/ebbgate/bridge"
	"github.com/ebbgate/ebbgate/upstream"
)

// A person is told of a phase once, with what to do, and it is over when messages
// have been taken for a while without another answer of the kind.
func TestPhase(t *testing.T) {
	var raised []bridge.Warning
	over := 0
	hooks := upstream.Hooks{Raise: func(w bridge.Warning) { raised = append(raised, w) }, Clear: func(string) { over++ }}
	var text strings.Builder
	log := slog.New(slog.NewTextHandler(&text, nil))
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	var p phase
	for i, c := range []struct {
		after  time.Duration
		status int // 200: taken
		raised int
		over   int
	}{
		{0, 503, 0, 0}, {time.Second, 503, 0, 0}, {time.Second, 200, 0, 0}, // another message: the phase goes on
		{time.Second, 503, 1, 0}, {time.Second, 429, 2, 0}, {30 * time.Second, 200, 2, 0},
		{time.Second, 408, 3, 0}, {59 * time.Second, 200, 3, 0}, {time.Second, 200, 3, 1},
		{time.Second, 503, 3, 1}, {time.Hour, 200, 3, 1}, {time.Second, 503, 3, 1}, // bad moments
	} {
		now = now.Add(c.after)
		if c.status == 200 {
			p.took(now, hooks, log)
		} else {
			p.putOff(now, answer{status: c.status}, "dt/x", hooks, log)
		}
		if len(raised) != c.raised || over != c.over {
			t.Fatalf("step %d: raised %d times, over %d times, want %d and %d", i, len(raised), over, c.raised, c.over)
		}
	}
	for i, want := range []string{"3 times since 2026-03-01T12:00:00Z, the latest on dt/x with HTTP 503 Service Unavailable", "limits.messages_per_second", "limits.in_flight"} {
		if w := raised[i]; w.Code != "uplink-busy" || !strings.Contains(w.Text, want) {
			t.Errorf("warning %d: %+v, want %q", i, w, want)
		}
	}
	if n := strings.Count(text.String(), "level=WARN"); n != 1 {
		t.Errorf("%d lines in the log, want one:\n%s", n, text.String())
	}
}

// An uplink tells of a server that answers 5xx.
func TestAServerThatPutsOffIsToldOf(t *testing.T) {
	a := serve(t)
	a.answer(500, "InternalFailureException", `{"message":"try later"}`)
	raised := make(chan bridge.Warning, 10)
	l := connect(t, uplink(t, quick(a, a.Listener.Addr().String()), nil, upstream.Hooks{Raise: func(w bridge.Warning) { raised <- w }}))
	for i := range busyTold { // a device's lane asks no more behind an answer that put it off
		if o := send(t, l, delivery(fmt.Sprint("d", i), "dt/x")); o.Result != bridge.ResultRetry {
			t.Fatalf("outcome %+v", o)
		}
	}
	if len(raised) != 1 {
		t.Fatalf("%d warnings, want one", len(raised))
	}
	w := <-raised
	if w.Code != "uplink-busy" || !strings.Contains(w.Text, "HTTP 500") || !strings.Contains(w.Text, "try later") || !strings.Contains(w.Text, "dt/x") {
		t.Errorf("warning %+v", w)
	}
}
