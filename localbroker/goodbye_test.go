package localbroker

import "testing"

// TestGoodbyeRightAfterConnack: who has CONNACK is told why the broker closes,
// also in the moment before its session is opened (B185).
func TestGoodbyeRightAfterConnack(t *testing.T) {
	h := open(t, people{}, plain(profileAWSEdge))
	for range 100 {
		d := dial(t, h.addr(), 5)
		if ack := d.connect("d"); ack.ReasonCode != 0 {
			t.Fatalf("CONNACK %#x", ack.ReasonCode)
		}
		h.Kick("d")
		d.expectGoodbye(0x98)
	}
}
