package localbroker

import (
	"fmt"
	"testing"
	"time"

	"github.com/mochi-mqtt/server/v2/packets"

	"github.com/ebbgate/ebbgate/bridge"
)

// TestHoldThenRelease: a full spool holds the message and the socket; when
// there is room again everything is acknowledged in order, once.
func TestHoldThenRelease(t *testing.T) {
	each(t, func(t *testing.T, version byte) {
		h := open(t, people{}, plain(profileAWSEdge))
		full := make(chan struct{})
		h.walk.setStep(func(_ *bridge.Message, done func(error)) {
			select {
			case <-full:
				done(nil)
			default:
				done(bridge.Errorf("append", bridge.Full, "no space"))
			}
		})
		d := h.join(version, "d")
		for id := uint16(1); id <= 3; id++ {
			d.send(publish(id, "t", "x"))
		}
		eventually(t, "a hold", func() bool { return h.Status().Holding == 1 })
		other := h.join(version, "other") // nobody else is held up
		other.expectNothing()
		if n := len(h.walk.topics()); n > 50 {
			t.Fatalf("tried %d times at once", n)
		}
		close(full)
		for id := uint16(1); id <= 3; id++ {
			if pk := d.expect(packets.Puback); pk.PacketID != id || pk.ReasonCode != 0 {
				t.Fatalf("PUBACK %d %#x, want %d", pk.PacketID, pk.ReasonCode, id)
			}
		}
		d.expectNothing()
		eventually(t, "the hold's end", func() bool { return h.Status().Holding == 0 })
	})
}

// TestNothingPassesAHeldMessage: what comes after a message that was refused for now
// waits for it, also while the refused one is not the head and the socket is read.
func TestNothingPassesAHeldMessage(t *testing.T) {
	each(t, func(t *testing.T, version byte) {
		h := open(t, people{}, plain(profileAWSEdge))
		given := make(chan string, 100)
		first := make(chan func(error), 1)
		full := true // of the walk's goroutines, one after another
		h.walk.setStep(func(m *bridge.Message, done func(error)) {
			given <- string(m.Payload)
			switch {
			case string(m.Payload) == "1":
				first <- done // it takes a while
			case string(m.Payload) == "2" && full:
				full = false
				done(bridge.Errorf("append", bridge.Full, "no space for a moment"))
			default:
				done(nil)
			}
		})
		d := h.join(version, "d")
		for id := uint16(1); id <= 4; id++ {
			d.send(publish(id, "t", fmt.Sprint(id)))
		}
		in := &h.sessions.find("d").current().intake
		eventually(t, "all are read", func() bool {
			in.mu.Lock()
			defer in.mu.Unlock()
			return in.open == 4
		})
		receive(t, "the first", first)(nil)
		for id := uint16(1); id <= 4; id++ {
			if pk := d.expect(packets.Puback); pk.PacketID != id || pk.ReasonCode != 0 {
				t.Fatalf("PUBACK %d %#x, want %d", pk.PacketID, pk.ReasonCode, id)
			}
		}
		var got string
		for range 5 {
			got += receive(t, "a message", given)
		}
		if got != "12234" {
			t.Errorf("the walk was given %s", got)
		}
		in.mu.Lock()
		defer in.mu.Unlock()
		if in.back != 0 {
			t.Errorf("%d wait for their turn", in.back)
		}
	})
}

// TestHoldTimeout: after hold_timeout a v5 device is told 0x97, a v3 device is
// closed.
func TestHoldTimeout(t *testing.T) {
	each(t, func(t *testing.T, version byte) {
		o := plain(profileAWSEdge)
		o.HoldTimeout = 100 * time.Millisecond
		h := open(t, people{}, o)
		h.walk.setStep(func(_ *bridge.Message, done func(error)) {
			done(bridge.Errorf("append", bridge.Full, "no space"))
		})
		d := h.join(version, "d")
		d.send(publish(1, "t", "x"))
		if version == 4 {
			d.expectEnd()
		} else {
			if pk := d.expect(packets.Puback); pk.ReasonCode != 0x97 {
				t.Fatalf("PUBACK %#x, want 0x97", pk.ReasonCode)
			}
			d.expectNothing()
		}
		if n := h.dropped("full"); n != 1 {
			t.Errorf("drop log counts %d, want 1", n)
		}
	})
}

// TestNothingPassesAMessageThatWasHeldTooLong: a v3 device is closed, and sends it and
// what followed again; so what followed is not taken on the old connection, also when
// there is room for it by then.
func TestNothingPassesAMessageThatWasHeldTooLong(t *testing.T) {
	h := open(t, people{}, plain(profileAWSEdge))
	first, given := make(chan func(error), 1), make(chan string, 10)
	h.walk.setStep(func(m *bridge.Message, done func(error)) {
		given <- string(m.Payload)
		switch string(m.Payload) {
		case "1":
			first <- done
		case "2":
			done(bridge.Errorf("append", bridge.Full, "no space"))
		default:
			done(nil)
		}
	})
	d := h.join(4, "d")
	in := &h.sessions.find("d").current().intake
	read := func(n int) {
		eventually(t, "they are read", func() bool {
			in.mu.Lock()
			defer in.mu.Unlock()
			return in.open == n
		})
	}
	d.send(publish(1, "t", "1"))
	d.send(publish(2, "t", "2"))
	read(2)
	h.clock.advance(time.Hour) // only the second has been held for long
	d.send(publish(3, "t", "3"))
	read(3)
	receive(t, "the first", first)(nil)
	d.expect(packets.Puback)
	d.expectEnd()
	eventually(t, "the end of the connection", func() bool { return h.Status().Holding == 0 && h.sessions.find("d") == nil })
	got := ""
	for len(given) > 0 {
		got += <-given
	}
	if got != "122" { // the second once more when its turn has come
		t.Errorf("the walk was given %s", got)
	}
}

// TestWhatFollowsARefusalIsRefused: a v5 device that is told 0x97 of a message sends it
// again, behind what it sent before it could know; so that is refused too, also when
// there is room for it by then. Once the device knows, it is taken again.
func TestWhatFollowsARefusalIsRefused(t *testing.T) {
	h := open(t, people{}, plain(profileAWSEdge))
	room := make(chan struct{})
	h.walk.setStep(func(m *bridge.Message, done func(error)) {
		select {
		case <-room:
			done(nil)
		default:
			if string(m.Payload) == "1" {
				done(bridge.Errorf("append", bridge.Full, "no space"))
			} else {
				done(nil)
			}
		}
	})
	d := h.join(5, "d")
	for id := uint16(1); id <= 9; id++ {
		d.send(publish(id, "t", fmt.Sprint(id)))
	}
	eventually(t, "a hold", func() bool { return h.Status().Holding == 1 })
	h.clock.advance(time.Hour)
	for id := uint16(1); id <= 9; id++ {
		if pk := d.expect(packets.Puback); pk.PacketID != id || pk.ReasonCode != 0x97 {
			t.Fatalf("PUBACK %d %#x, want %d and 0x97", pk.PacketID, pk.ReasonCode, id)
		}
	}
	close(room)
	for id := uint16(1); id <= 9; id++ {
		d.send(publish(id, "t", fmt.Sprint(id)))
		if pk := d.expect(packets.Puback); pk.PacketID != id || pk.ReasonCode != 0 {
			t.Fatalf("PUBACK %d %#x, want %d", pk.PacketID, pk.ReasonCode, id)
		}
	}
}

// TestHoldEndsWithConnection: a held message of a device that goes away is
// neither tried on nor counted: it was never acknowledged.
func TestHoldEndsWithConnection(t *testing.T) {
	h := open(t, people{}, plain(profileAWSEdge))
	h.walk.setStep(func(_ *bridge.Message, done func(error)) {
		done(bridge.Errorf("append", bridge.Unavailable, "closing"))
	})
	d := h.join(5, "d")
	d.send(publish(1, "t", "x"))
	eventually(t, "a hold", func() bool { return h.Status().Holding == 1 })
	d.send(publish(2, "t", "the reading goroutine waits with this one"))
	h.Kick("d")
	d.expectGoodbye(0x98)
	eventually(t, "the hold's end", func() bool { return h.Status().Holding == 0 })
	if n := h.dropped("unavailable"); n != 0 {
		t.Errorf("drop log counts %d", n)
	}
}

// TestStopWhileHolding: a full spool does not keep the broker from stopping,
// nor devices whose receipts the walk never settles.
func TestStopWhileHolding(t *testing.T) {
	h := open(t, people{}, plain(profileAWSEdge))
	full := bridge.Errorf("append", bridge.Full, "no space")
	h.walk.setStep(func(m *bridge.Message, done func(error)) {
		if m.Topic == "t/full" {
			done(full)
		}
	})
	held, stuck := h.join(5, "held"), h.join(4, "stuck")
	for id := uint16(1); id <= 3; id++ {
		held.send(publish(id, "t/full", "x"))
	}
	for id := uint16(1); id <= 120; id++ {
		stuck.send(publish(id, "t/never", "x"))
	}
	eventually(t, "a hold", func() bool { return h.Status().Holding == 1 })
	began := time.Now()
	h.stop()
	if passed := time.Since(began); passed > 2*time.Second {
		t.Errorf("it took %v", passed)
	}
	held.expectGoodbye(0x8B)
	stuck.expectEnd()
}

// TestWhatWaitsBehindIsTried: what waits behind a message that is taken in the end is
// tried before it is refused, however long that has taken.
func TestWhatWaitsBehindIsTried(t *testing.T) {
	each(t, func(t *testing.T, version byte) {
		h := open(t, people{}, plain(profileAWSEdge))
		room, first := make(chan struct{}), make(chan func(error), 1)
		h.walk.setStep(func(m *bridge.Message, done func(error)) {
			if string(m.Payload) == "1" {
				first <- done // it takes a while
				return
			}
			select {
			case <-room:
				done(nil)
			default:
				done(bridge.Errorf("append", bridge.Full, "no space"))
			}
		})
		d := h.join(version, "d")
		in := &h.sessions.find("d").current().intake
		for id := uint16(1); id <= 4; id++ {
			d.send(publish(id, "t", fmt.Sprint(id)))
		}
		eventually(t, "all are read", func() bool {
			in.mu.Lock()
			defer in.mu.Unlock()
			return in.back == 3
		})
		receive(t, "the first", first)(bridge.Errorf("append", bridge.Full, "no space"))
		again := receive(t, "the first once more", first)
		h.clock.advance(31 * time.Second)
		close(room)
		again(nil)
		for id := uint16(1); id <= 4; id++ {
			if pk := d.expect(packets.Puback); pk.PacketID != id || pk.ReasonCode != 0 {
				t.Fatalf("PUBACK %d %#x, want %d", pk.PacketID, pk.ReasonCode, id)
			}
		}
	})
}
