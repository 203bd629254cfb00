package mqtt

import (
	"errors"

	"github.com/eclipse/paho.golang/packets"

	"github.com/ebbgate/ebbgate/bridge"
)

// hangups is how many links in a row ended without a word while we sent nearly all that
// we may (busy), and with nothing on its way that had been before. One that hangs up on
// what is too much gets further each time; one that hangs up on a message does so again
// when it comes again. So the first of them says nothing yet.
type hangups int

// throttled reports whether a link ended because we sent too much: the broker said so,
// or has hung up for the second time, at least, while we were busy with what was new.
// The one time in a hundred when it had another reason costs ten seconds at a lower
// rate, and a minute at nine tenths.
func (h *hangups) throttled(err error, busy bool) bool {
	if e, ok := errors.AsType[*DisconnectedError](err); ok {
		switch e.Code {
		case packets.DisconnectQuotaExceeded, packets.DisconnectMessageRateTooHigh, packets.DisconnectReceiveMaximumExceeded:
			return true
		}
		return false
	}
	if !busy || !errors.Is(err, bridge.ErrClosedByPeer) {
		*h = 0
		return false
	}
	*h++
	return *h > 1
}
