package localbroker

import (
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/mochi-mqtt/server/v2/packets"
)

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

// TestGoodbyeIsSaid: a device that is closed by somebody in the same instant as by
// what it sends is told one of the two reasons (B185).
func TestGoodbyeIsSaid(t *testing.T) {
	h := open(t, people{}, plain(profileAWSEdge))
	for range 100 {
		d := h.join(5, "d")
		var both sync.WaitGroup
		both.Go(func() { h.Kick("d") })
		both.Go(func() { _, _ = d.Write([]byte{packets.Publish<<4 | 6, 2, 0, 0}) }) // QoS 3
		if pk := d.expect(packets.Disconnect); pk.ReasonCode != 0x98 && pk.ReasonCode != 0x81 {
			t.Fatalf("DISCONNECT %#x", pk.ReasonCode)
		}
		d.expectEnd()
		both.Wait()
	}
}

// talker is a peer that goes on sending.
type talker struct {
	net.Conn
	left, read int
	deadlines  int
}

func (t *talker) Read(p []byte) (int, error) {
	if t.left == 0 {
		return 0, io.EOF
	}
	n := min(t.left, len(p))
	t.left -= n
	t.read += n
	return n, nil
}

func (t *talker) SetReadDeadline(at time.Time) error {
	if !at.IsZero() {
		t.deadlines++
	}
	return nil
}

// TestDrain: what a device sends beside our goodbye is read, each time with a
// deadline, and not for ever: a socket that is closed with unread input is reset.
func TestDrain(t *testing.T) {
	brief := &talker{left: drainBytes - 1000}
	drain(brief)
	if brief.left != 0 || brief.deadlines < brief.read/lentBuffer {
		t.Errorf("%d bytes are unread, %d deadlines", brief.left, brief.deadlines)
	}
	endless := &talker{left: 1 << 40}
	drain(endless)
	if endless.read != drainBytes {
		t.Errorf("%d bytes were read, want %d", endless.read, drainBytes)
	}
}
