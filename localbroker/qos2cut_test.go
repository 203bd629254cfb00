package localbroker

import (
	"fmt"
	"slices"
	"testing"

	"github.com/mochi-mqtt/server/v2/packets"
)

// stage is a house that a test tears down between any two packets of a device:
// the connection is cut, or the power goes.
type stage struct {
	t       *testing.T
	h       *house
	disk    *disk
	clock   *clock
	version byte
	restart bool
	at      int // the packet after which it happens
	packets int // sent and received so far
	cut     bool
}

func newStage(t *testing.T, version byte, restart bool, at int) *stage {
	c := &clock{}
	s := &stage{t: t, disk: newDisk(c), clock: c, version: version, restart: restart, at: at}
	s.disk.lazy = true
	s.h = s.disk.house(t, c, plain(profileMQTT))
	return s
}

// passed counts a packet and reports whether all ends here.
func (s *stage) passed(d *device) bool {
	s.packets++
	if s.packets != s.at {
		return false
	}
	s.cut = true
	if s.restart {
		s.disk.crash()
		_ = d.Close() // or it is given time to read the last words
		s.h, s.disk = s.disk.crashed(s.t, s.h, s.clock, plain(profileMQTT))
	} else {
		s.h.leave(d, "d")
	}
	return true
}

// torn runs a scene once for every place where it may be torn.
func torn(t *testing.T, scene func(s *stage) []string, want []string) {
	each(t, func(t *testing.T, version byte) {
		t.Parallel()
		for _, restart := range []bool{false, true} {
			for at := 1; ; at++ {
				s := newStage(t, version, restart, at)
				got := scene(s)
				s.h.stop()
				if !slices.Equal(got, want) {
					t.Fatalf("restart %v after packet %d: got %q", restart, at, got)
				}
				if !s.cut {
					break // it was over before
				}
			}
		}
	})
}

// TestTornIn: what a device publishes with QoS 2 arrives exactly once, in order,
// wherever its connection or the gateway ends [MQTT-4.4.0-1].
func TestTornIn(t *testing.T) {
	const messages = 3
	torn(t, func(s *stage) (got []string) {
		sub := s.h.join(s.version, "sub", persistent(300))
		sub.subscribe(2, "t", "end")
		s.h.leave(sub, "sub")
		for i := range messages {
			s.deliver(publish(1, "t", fmt.Sprint(i), twice)) // always the same packet id
		}
		s.h.join(4, "other").publishTwice(1, "end", "end")
		sub = s.h.join(s.version, "sub", persistent(300))
		for {
			pk := sub.expect(packets.Publish)
			if pk.TopicName == "end" {
				_ = sub.Close() // or the broker's end gives it time to read the last words
				return got
			}
			got = append(got, string(pk.Payload))
		}
	}, []string{"0", "1", "2"})
}

// deliver is a device that publishes one message and forgets nothing.
func (s *stage) deliver(pk packets.Packet) {
	for phase := packets.Publish; ; {
		d := s.h.join(s.version, "d", persistent(300))
		for {
			if phase == packets.Publish {
				d.send(pk)
				again(&pk)
			} else {
				d.step(packets.Pubrel, pk.PacketID)
			}
			if s.passed(d) {
				break
			}
			if phase == packets.Publish {
				d.answer(packets.Pubrec, pk.PacketID, 0)
			} else if got := d.expect(packets.Pubcomp); got.PacketID != pk.PacketID {
				s.t.Fatalf("PUBCOMP of %d", got.PacketID)
			}
			if s.passed(d) {
				break // what came is lost with the connection
			}
			if phase == packets.Pubrel {
				s.h.leave(d, "d")
				return
			}
			phase = packets.Pubrel
		}
	}
}

// TestTornOut: what is published for a device with QoS 2 arrives exactly once, in
// order, wherever its connection or the gateway ends.
func TestTornOut(t *testing.T) {
	const messages = 3
	torn(t, func(s *stage) (got []string) {
		d := s.h.join(s.version, "d", persistent(300))
		d.subscribe(2, "t")
		s.h.leave(d, "d")
		pub := s.h.join(4, "pub")
		for i := range messages {
			pub.publishTwice(uint16(i+1), "t", fmt.Sprint(i))
		}
		received := map[uint16]bool{}
		for {
			d := s.h.join(s.version, "d", persistent(300))
			if s.receive(d, received, &got, messages) {
				return got
			}
		}
	}, []string{"0", "1", "2"})
}

// receive is one connection of a device that takes what comes, and reports
// whether all has come and nothing is left.
func (s *stage) receive(d *device, received map[uint16]bool, got *[]string, messages int) (done bool) {
	for {
		if len(*got) == messages && len(received) == 0 {
			d.send(packets.Packet{FixedHeader: packets.FixedHeader{Type: packets.Pingreq}})
		}
		pk, err := d.read()
		if err != nil {
			s.t.Fatal(err)
		}
		answer := packets.Pubrec
		switch pk.FixedHeader.Type {
		case packets.Pingresp:
			s.h.leave(d, "d")
			return true
		case packets.Pubrel:
			answer = packets.Pubcomp
			delete(received, pk.PacketID)
		case packets.Publish:
			if received[pk.PacketID] && !pk.FixedHeader.Dup { // [MQTT-3.3.1-1]
				s.t.Errorf("packet id %d comes again without DUP", pk.PacketID)
			}
			if !received[pk.PacketID] {
				received[pk.PacketID] = true
				*got = append(*got, string(pk.Payload))
			}
		}
		if s.passed(d) {
			return false
		}
		d.step(answer, pk.PacketID)
		if s.passed(d) {
			return false
		}
	}
}
