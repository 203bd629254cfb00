package https

import (
	"net/http"
	"slices"
	"testing"

	"github.com/ebbgate/ebbgate/bridge"
	"github.com/ebbgate/ebbgate/upstream"
)

// A message that was on its way when one before it was not taken, and comes when all
// others of its device have come back, is not sent before them either. When they come
// again all go, each once and in their order; another device does not wait, nor does a
// device whose messages were given up meanwhile.
func TestAStragglerOvertakesNothing(t *testing.T) {
	a := serve(t)
	l := connect(t, uplink(t, quick(a, a.Listener.Addr().String()), nil, upstream.Hooks{}))
	nth := func(device string, i, attempt int) *bridge.Delivery {
		d := delivery(device, "dt/x")
		d.Seq, d.Place, d.Attempt = bridge.Seq(i), bridge.Place(i), attempt
		d.Record.Payload = []byte{'0' + byte(i)}
		return d
	}
	all := func(attempt int, want bridge.Result, places ...int) {
		t.Helper()
		outcomes := make(chan bridge.Outcome, len(places))
		a.mu.Lock() // nobody is answered until all are there
		for _, i := range places {
			if err := l.Send(t.Context(), nth("d", i, attempt), func(o bridge.Outcome) { outcomes <- o }); err != nil {
				t.Fatal(err)
			}
		}
		a.mu.Unlock()
		for range places {
			if o := <-outcomes; o.Result != want {
				t.Errorf("attempt %d of %v: %+v", attempt, places, o)
			}
		}
	}
	arrived := func(when string, want ...string) {
		t.Helper()
		if got := a.arrived(); !slices.Equal(got, want) {
			t.Errorf("%s the server was asked for %v, want %v", when, got, want)
		}
	}
	for attempt := 1; attempt <= 2; attempt++ { // the second time they are no news
		a.answer(http.StatusInternalServerError, "", "")
		all(attempt, bridge.ResultRetry, 1, 2, 3, 4, 5)
		a.answer(http.StatusOK, "", "")
		all(attempt, bridge.ResultRetry, 6)
		if o := send(t, l, nth("e", 7, 1)); o.Result != bridge.ResultAcked {
			t.Errorf("another device: %+v", o)
		}
	}
	arrived("before they come again", "1", "7", "1", "7")
	all(3, bridge.ResultAcked, 1, 2, 3, 4, 5, 6)
	arrived("then", "1", "7", "1", "7", "1", "2", "3", "4", "5", "6")

	a.answer(http.StatusInternalServerError, "", "")
	all(1, bridge.ResultRetry, 7, 8)
	a.answer(http.StatusOK, "", "")
	all(1, bridge.ResultRetry, 9) // 7 and 8 have expired
	all(2, bridge.ResultAcked, 9)
}

// What is held is bounded.
func TestHeldDevicesAreBounded(t *testing.T) {
	l := &link{held: map[string]*held{}}
	for i := range 2 * mostHeld {
		l.hold(string(rune(i)), &job{}, "429")
	}
	if len(l.held) > mostHeld {
		t.Errorf("%d devices are held", len(l.held))
	}
	if l.heldBack(string(rune(2*mostHeld-1)), &job{}) != "429" {
		t.Error("the latest is not")
	}
}
