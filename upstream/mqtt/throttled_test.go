package mqtt

import (
	"testing"

	"github.com/eclipse/paho.golang/packets"

	"github.com/ebbgate/ebbgate/bridge"
)

// A hang-up without a word is throttling from the second in a row on, and only while we
// were busy with what is new; a word about it is, at once.
func TestHangupsThatThrottle(t *testing.T) {
	word := func(code byte) error { return &DisconnectedError{Code: code} }
	type end struct {
		err  error
		busy bool
		want bool
	}
	silent, idle := end{bridge.ErrClosedByPeer, true, false}, end{bridge.ErrClosedByPeer, false, false}
	again := end{bridge.ErrClosedByPeer, true, true}
	for name, ends := range map[string][]end{
		"one":               {silent},
		"in a row":          {silent, again, again},
		"one over the same": {silent, idle, silent, idle, silent},
		"a word":            {{word(packets.DisconnectQuotaExceeded), false, true}, {word(packets.DisconnectNotAuthorized), true, false}},
	} {
		t.Run(name, func(t *testing.T) {
			var h hangups
			for i, e := range ends {
				if got := h.throttled(e.err, e.busy); got != e.want {
					t.Errorf("%d: %v, busy %v: %v", i, e.err, e.busy, got)
				}
			}
		})
	}
}
