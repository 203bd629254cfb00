package mqtt

import (
	"errors"
	"testing"

	"github.com/ebbgate/ebbgate/bridge"
)

// A message is suspected only when the broker ended the link for something of
// ours: not when it stops, is busy, or we were taken over.
func TestWhoEndedTheLink(t *testing.T) {
	for code, ours := range map[byte]bool{
		0x80: true, 0x81: true, 0x82: true, 0x87: true, 0x90: true, 0x93: true, 0x95: true, 0x99: true,
		0x89: false, 0x8B: false, 0x8D: false, 0x8E: false, 0x97: false, 0x98: false,
	} {
		if got := errors.Is(&DisconnectedError{Code: code}, bridge.ErrClosedByPeer); got != ours {
			t.Errorf("DISCONNECT 0x%02X: blamed on a message: %v, want %v", code, got, ours)
		}
	}
	if errors.Is(ErrClosed, bridge.ErrClosedByPeer) {
		t.Error("our own close is blamed on a message")
	}
}
