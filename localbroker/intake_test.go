package localbroker

import (
	"testing"
	"time"

	"github.com/mochi-mqtt/server/v2/packets"

	"github.com/ebbgate/ebbgate/bridge"
)

func each(t *testing.T, fn func(t *testing.T, version byte)) {
	t.Run("v3.1.1", func(t *testing.T) { fn(t, 4) })
	t.Run("v5", func(t *testing.T) { fn(t, 5) })
}

// waiting collects what the walk is given, to be settled by the test.
func (h *house) waiting() chan func(error) {
	ch := make(chan func(error), 1000)
	h.walk.setStep(func(_ *bridge.Message, done func(error)) { ch <- done })
	return ch
}

// TestAcksLeaveInOrder: the walk settles in any order, PUBACKs leave in the
// order of the PUBLISHes, and none before its message is settled.
func TestAcksLeaveInOrder(t *testing.T) {
	each(t, func(t *testing.T, version byte) {
		h := open(t, people{}, plain(profileAWSEdge))
		done := h.waiting()
		d := h.join(version, "d")
		for id := uint16(1); id <= 5; id++ {
			d.send(publish(id*10, "t", "x"))
		}
		var steps []func(error)
		for range 5 {
			steps = append(steps, receive(t, "publish", done))
		}
		steps[3](nil)
		steps[1](nil)
		steps[4](nil)
		d.expectNothing()
		steps[0](nil)
		for _, want := range []uint16{10, 20} {
			if got := d.expect(packets.Puback).PacketID; got != want {
				t.Fatalf("PUBACK %d, want %d", got, want)
			}
		}
		d.expectNothing()
		steps[2](nil)
		for _, want := range []uint16{30, 40, 50} {
			if got := d.expect(packets.Puback); got.PacketID != want || got.ReasonCode != 0 {
				t.Fatalf("PUBACK %d %#x, want %d", got.PacketID, got.ReasonCode, want)
			}
		}
	})
}

// TestReceiveMaximum: more than 100 unacknowledged end a v5 connection (B88); a
// v3 device is not read until an answer leaves (B89).
func TestReceiveMaximum(t *testing.T) {
	t.Run("v5", func(t *testing.T) {
		h := open(t, people{}, plain(profileAWS))
		h.waiting()
		d := h.join(5, "d")
		for id := uint16(1); id <= 101; id++ {
			d.send(publish(id, "t", "x"))
		}
		d.expectGoodbye(0x93)
	})
	t.Run("v3.1.1", func(t *testing.T) {
		h := open(t, people{}, plain(profileAWS))
		done := h.waiting()
		d := h.join(4, "d")
		for id := uint16(1); id <= 101; id++ {
			d.send(publish(id, "t", "x"))
		}
		var first func(error)
		for i := range 100 {
			step := receive(t, "publish", done)
			if i == 0 {
				first = step
			}
		}
		select {
		case <-done:
			t.Fatal("the 101st was read before an answer left")
		case <-time.After(50 * time.Millisecond):
		}
		first(nil)
		d.expect(packets.Puback)
		receive(t, "the 101st", done)
	})
}

// TestPacketIDInUse (B87).
func TestPacketIDInUse(t *testing.T) {
	h := open(t, people{}, plain(profileAWS))
	done := h.waiting()
	d := h.join(5, "d")
	d.send(publish(9, "t", "x"))
	d.send(publish(9, "t", "y"))
	first := receive(t, "publish", done)
	in := &h.sessions.find("d").current().intake
	eventually(t, "two receipts", func() bool {
		in.mu.Lock()
		defer in.mu.Unlock()
		return in.open == 2
	})
	first(nil)
	if pk := d.expect(packets.Puback); pk.ReasonCode != 0 {
		t.Fatalf("first: %#x", pk.ReasonCode)
	}
	if pk := d.expect(packets.Puback); pk.ReasonCode != 0x91 {
		t.Fatalf("second: %#x, want 0x91", pk.ReasonCode)
	}
}
