package mqtt

import (
	"errors"

	"github.com/eclipse/paho.golang/packets"

	"github.com/ebbgate/ebbgate/bridge"
)

// throttled reports whether a link ended because we sent too much: the broker
// said so, or hung up without a word while we sent nearly all that we may (busy).
// The one time in a hundred when it had another reason costs ten seconds at a
// lower rate, and a minute at nine tenths.
func throttled(err error, busy bool) bool {
	if e, ok := errors.AsType[*DisconnectedError](err); ok {
		switch e.Code {
		case packets.DisconnectQuotaExceeded, packets.DisconnectMessageRateTooHigh, packets.DisconnectReceiveMaximumExceeded:
			return true
		}
		return false
	}
	return busy && errors.Is(err, bridge.ErrClosedByPeer)
}
