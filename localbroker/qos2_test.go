package localbroker

import (
	"fmt"
	"testing"

	"github.com/mochi-mqtt/server/v2/packets"

	"github.com/ebbgate/ebbgate/bridge"
)

func twice(pk *packets.Packet) { pk.FixedHeader.Qos = 2 }

func again(pk *packets.Packet) { pk.FixedHeader.Dup = true }

// step sends a packet of the QoS 2 handshake.
func (d *device) step(kind byte, id uint16) {
	d.tb.Helper()
	d.send(packets.Packet{FixedHeader: packets.FixedHeader{Type: kind}, PacketID: id})
}

// answer expects a packet of the QoS 2 handshake.
func (d *device) answer(kind byte, id uint16, code byte) {
	d.tb.Helper()
	if pk := d.expect(kind); pk.PacketID != id || d.version == 5 && pk.ReasonCode != code {
		d.tb.Fatalf("%s of %d, %#x; want %d, %#x", packets.PacketNames[kind], pk.PacketID, pk.ReasonCode, id, code)
	}
}

// publishTwice publishes with QoS 2, to the end.
func (d *device) publishTwice(id uint16, topic, payload string, change ...func(*packets.Packet)) {
	d.tb.Helper()
	d.send(publish(id, topic, payload, append(change, twice)...))
	d.answer(packets.Pubrec, id, 0)
	d.step(packets.Pubrel, id)
	d.answer(packets.Pubcomp, id, 0)
}

// TestExactlyOnceIn: a packet id is taken once until PUBREL, and counts until
// then.
func TestExactlyOnceIn(t *testing.T) {
	each(t, func(t *testing.T, version byte) {
		h := open(t, people{}, plain(profileMQTT))
		d := h.join(version, "d")
		d.send(publish(3, "t", "a", twice))
		d.answer(packets.Pubrec, 3, 0)
		d.send(publish(3, "t", "a", twice, again)) // [MQTT-4.3.3-10]
		d.answer(packets.Pubrec, 3, 0)
		if n := len(h.walk.topics()); n != 1 {
			t.Fatalf("processed %d times", n)
		}
		d.step(packets.Pubrel, 3)
		d.answer(packets.Pubcomp, 3, 0)
		d.step(packets.Pubrel, 3)
		d.answer(packets.Pubcomp, 3, 0)
		d.publishTwice(3, "t", "b") // [MQTT-4.3.3-12]: another message
		if n := len(h.walk.topics()); n != 2 {
			t.Fatalf("processed %d times", n)
		}
		d.step(packets.Pubrec, 77)
		d.answer(packets.Pubrel, 77, 0)
		d.expectNothing()
	})
}

// TestRefusedTwice: a refusal is in PUBREC, and ends the packet id.
func TestRefusedTwice(t *testing.T) {
	h := open(t, people{}, plain(profileMQTT))
	h.rules.deny("iot:Publish secret")
	d := h.join(5, "d")
	for range 2 {
		d.send(publish(3, "secret", "x", twice))
		d.answer(packets.Pubrec, 3, 0x87)
	}
	d.step(packets.Pubrel, 3)
	d.answer(packets.Pubcomp, 3, 0)
	d.send(publish(4, "$SYS/x", "x", twice))
	d.answer(packets.Pubrec, 4, 0x90)
	d.publishTwice(3, "t", "x")
}

// TestReceiveMaximumTwice: who is owed a PUBREL for all that it may send breaks
// the protocol with the next PUBLISH [MQTT-3.3.4-9]; MQTT 3.1.1 has no such
// bound.
func TestReceiveMaximumTwice(t *testing.T) {
	o := plain(profileMQTT)
	o.Quotas.InboundInFlight = 3
	each(t, func(t *testing.T, version byte) {
		d := open(t, people{}, o).join(version, "d")
		for id := range uint16(3) {
			d.send(publish(id+1, "t", "x", twice))
			d.answer(packets.Pubrec, id+1, 0)
		}
		d.step(packets.Pubrel, 2)
		d.answer(packets.Pubcomp, 2, 0)
		d.send(publish(2, "t", "x", twice))
		d.answer(packets.Pubrec, 2, 0)
		d.send(publish(4, "t", "x", twice))
		if version == 5 {
			d.expectGoodbye(0x93)
			return
		}
		d.answer(packets.Pubrec, 4, 0)
	})
}

// TestTakenWhileCut: a PUBLISH whose commit outlives its connection is not taken
// again when it comes on the next one.
func TestTakenWhileCut(t *testing.T) {
	for name, outcome := range map[string]error{"accepted": nil, "refused": bridge.Errorf("up", bridge.PayloadInvalid, "no")} {
		t.Run(name, func(t *testing.T) {
			h := open(t, people{}, plain(profileMQTT))
			decide := make(chan func(error), 2)
			h.walk.setStep(func(_ *bridge.Message, done func(error)) { decide <- done })
			d := h.join(5, "d", persistent(300))
			d.send(publish(3, "t", "a", twice))
			done := receive(t, "the walk", decide)
			h.leave(d, "d")
			d = h.join(5, "d", persistent(300))
			d.send(publish(3, "t", "a", twice, again))
			done(outcome)
			if outcome != nil {
				receive(t, "the walk, again", decide)(nil)
			}
			d.answer(packets.Pubrec, 3, 0)
			if n := len(h.walk.topics()); n != 1 && outcome == nil {
				t.Errorf("processed %d times", n)
			}
		})
	}
}

// TestExactlyOnceOut: the handshake towards a device, its order, its window.
func TestExactlyOnceOut(t *testing.T) {
	each(t, func(t *testing.T, version byte) {
		h := open(t, people{}, plain(profileMQTT))
		d, pub := h.join(version, "d", persistent(300)), h.join(4, "pub")
		d.subscribe(2, "t")
		for i := range 3 {
			pub.publishTwice(uint16(i+1), "t", fmt.Sprint(i))
		}
		var ids []uint16
		for i := range 3 {
			pk := d.expect(packets.Publish)
			if pk.FixedHeader.Qos != 2 || pk.FixedHeader.Dup || string(pk.Payload) != fmt.Sprint(i) {
				t.Fatalf("%+v %q", pk.FixedHeader, pk.Payload)
			}
			ids = append(ids, pk.PacketID)
		}
		d.puback(ids[0]) // the wrong packet: it ends nothing
		for _, id := range ids {
			d.step(packets.Pubrec, id)
		}
		for _, id := range ids { // [MQTT-4.6.0-4]
			d.answer(packets.Pubrel, id, 0)
		}
		h.leave(d, "d")
		d = h.join(version, "d", persistent(300))
		for _, id := range ids {
			d.answer(packets.Pubrel, id, 0)
			d.step(packets.Pubcomp, id)
		}
		d.expectNothing()
		eventually(t, "an empty queue", func() bool { return h.sessions.find("d").info().Waiting == 0 })
	})
}

// TestRefusedByDevice: a PUBREC that refuses ends the delivery [MQTT-4.3.3-7].
func TestRefusedByDevice(t *testing.T) {
	h := open(t, people{}, plain(profileMQTT))
	d, pub := h.join(5, "d", persistent(300)), h.join(4, "pub")
	d.subscribe(2, "t")
	pub.publishTwice(1, "t", "x")
	id := d.expect(packets.Publish).PacketID
	d.send(packets.Packet{FixedHeader: packets.FixedHeader{Type: packets.Pubrec}, PacketID: id, ReasonCode: 0x83})
	d.expectNothing()
	if n := h.sessions.find("d").info().Waiting; n != 0 {
		t.Errorf("%d wait", n)
	}
}

// TestPubrecIsDurable: PUBREL does not leave before the shelf has it that PUBREC
// came; a shelf that fails is tried again.
func TestPubrecIsDurable(t *testing.T) {
	c := &clock{}
	disk := newDisk(c)
	h := disk.house(t, c, plain(profileMQTT))
	d, pub := h.join(4, "d", persistent(0)), h.join(4, "pub")
	d.subscribe(2, "t")
	pub.publishTwice(1, "t", "x")
	id := d.expect(packets.Publish).PacketID
	disk.hold()
	disk.failing(bridge.Errorf("append", bridge.Full, "full"))
	d.step(packets.Pubrec, id)
	d.expectNothing()
	disk.failing(nil)
	disk.release()
	d.answer(packets.Pubrel, id, 0)
	d.step(packets.Pubcomp, id)
	d.expectNothing()
}

// TestRetainedTwice: retained messages and wills of QoS 2 are delivered so, and a
// session that is kept keeps what it was sent of them, before what comes later.
func TestRetainedTwice(t *testing.T) {
	each(t, func(t *testing.T, version byte) {
		c := &clock{}
		disk := newDisk(c)
		h := disk.house(t, c, plain(profileMQTT))
		pub := h.join(4, "pub", func(pk *packets.Packet) {
			pk.Connect.WillFlag, pk.Connect.WillTopic, pk.Connect.WillQos, pk.Connect.WillPayload = true, "t", 2, []byte("will")
		})
		pub.publishTwice(1, "t", "old", retain)
		d := h.join(version, "d", persistent(300))
		d.subscribe(2, "t")
		_ = pub.Close()
		first := d.expect(packets.Publish)
		if string(first.Payload) != "old" || first.FixedHeader.Qos != 2 || !first.FixedHeader.Retain {
			t.Fatalf("%+v %q", first.FixedHeader, first.Payload)
		}
		if pk := d.expect(packets.Publish); string(pk.Payload) != "will" || pk.FixedHeader.Qos != 2 {
			t.Fatalf("%+v %q", pk.FixedHeader, pk.Payload)
		}
		h, _ = disk.crashed(t, h, c, plain(profileMQTT))
		d = h.join(version, "d", persistent(300))
		if pk := d.expect(packets.Publish); string(pk.Payload) != "old" || pk.PacketID != first.PacketID || !pk.FixedHeader.Dup {
			t.Fatalf("%+v %q", pk.FixedHeader, pk.Payload)
		}
	})
}

// TestFixedIDs: a packet id that another delivery has is waited for.
func TestFixedIDs(t *testing.T) {
	o := &outbox{}
	far := func(ordinal uint64) *delivery { return &delivery{qos: 2, kept: entry{ordinal: ordinal}} }
	first, same := far(5), far(5+65535)
	if !o.numbered(first) || first.id != 6 {
		t.Fatalf("id %d", first.id)
	}
	o.flight = []*delivery{first}
	if o.numbered(same) || same.id != 0 {
		t.Fatalf("id %d is given twice", same.id)
	}
	o.next = 5
	if once := (&delivery{qos: 1}); !o.numbered(once) || once.id == first.id {
		t.Fatalf("id %d is given twice", once.id)
	}
	o.flight = nil
	if !o.numbered(same) || same.id != first.id {
		t.Fatalf("id %d", same.id)
	}
}
