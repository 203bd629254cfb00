package mqtt

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/ebbgate/ebbgate/bridge"
	"github.com/ebbgate/ebbgate/internal/peers"
	"github.com/ebbgate/ebbgate/upstream"
)

// Two gateways with one client id end each other's links in turn. In MQTT 3.1.1 the
// broker has no word for it, and mosquitto 2.0.11 says none: the warning says what it
// may be and where to change it, and stays while the links come and go.
func TestTwoClientsOfOneIDWithoutAWord(t *testing.T) {
	b := peers.Mosquitto(t, peers.MosquittoOptions{})
	o := quick(b.Addr)
	o.Protocol = protocol311
	var told board
	one := NewUplink(o, "same", discard(), told.hooks())
	other := NewUplink(o, "same", discard(), upstream.Hooks{})
	for range fewCuts {
		if _, ok := told.raised("uplink-taken-over"); ok {
			t.Fatal("warned of a link or two that ended")
		}
		l, err := one.Connect(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		theirs, err := other.Connect(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		receive(t, l.Done(), "the link is taken over")
		t.Cleanup(func() { _ = theirs.Close(); <-theirs.Done() })
	}
	for _, code := range []string{"uplink-down", "uplink-taken-over"} {
		w, _ := told.raised(code)
		for _, want := range []string{`another client may use the client id "same"`, "client_id of the upstream, or gateway.id"} {
			if !strings.Contains(w.Text, want) {
				t.Errorf("%s: %q does not say %q", code, w.Text, want)
			}
		}
	}
	l, err := one.Connect(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close(); <-l.Done() })
	if _, ok := told.raised("uplink-taken-over"); !ok {
		t.Error("the warning goes with each link that comes up")
	}
	one.health.stable()
	if w := told.Warnings(); len(w) != 0 {
		t.Errorf("with a stable link: %v", w)
	}
}

// Whoever says why, or hangs up on a link that had lived, is no second client.
func TestWhatIsNoSecondClient(t *testing.T) {
	cut := fmt.Errorf("closed: %w", bridge.ErrClosedByPeer)
	for name, c := range map[string]struct {
		err   error
		lived time.Duration
	}{
		"a word":               {&DisconnectedError{Code: 0x82, Reason: "protocol error"}, time.Second},
		"after a while":        {cut, upstream.StableAfter},
		"the network":          {errors.New("no answer to PINGREQ"), time.Second},
		"an end from our side": {ErrClosed, time.Second},
		"a protocol error's":   {&ProtocolError{Text: "x"}, time.Second},
	} {
		h := new(health)
		for range fewCuts - 1 {
			h.count(cut, time.Second)
		}
		if h.cut != fewCuts-1 {
			t.Fatalf("%d", h.cut)
		}
		if h.count(c.err, c.lived); h.cut != 0 {
			t.Errorf("%s counts", name)
		}
	}
}
