package localbroker

import (
	"fmt"
	"testing"

	"github.com/mochi-mqtt/server/v2/packets"

	"github.com/ebbgate/ebbgate/bridge"
)

// TestSpill: a message for more kept sessions than one batch takes reaches all
// of them, across a crash; one that fails leaves nothing behind.
func TestSpill(t *testing.T) {
	c := &clock{}
	disk := newDisk(c)
	h := disk.house(t, c, plain(profileAWSEdge))
	h.Broker.spill = 300
	const devices = 20
	for i := range devices {
		id := fmt.Sprint(i)
		d := h.join(4, id, persistent(0))
		d.subscribe(1, "t")
		h.leave(d, id)
	}
	pub := h.join(5, "pub")
	disk.mu.Lock()
	before := disk.commits
	disk.mu.Unlock()
	pub.send(publish(1, "t", "x"))
	pub.answered(0)
	disk.mu.Lock()
	if n := disk.commits - before; n < 3 {
		t.Errorf("%d commits: nothing was spilled", n)
	}
	disk.mu.Unlock()

	disk.failing(bridge.Errorf("append", bridge.PayloadInvalid, "says the test"))
	pub.send(publish(2, "t", "refused"))
	pub.answered(0x99)
	disk.failing(nil)
	h.walk.setStep(func(_ *bridge.Message, done func(error)) { // the batches before it have been committed
		done(bridge.Errorf("append", bridge.PayloadInvalid, "says the test"))
	})
	pub.send(publish(3, "t", "refused"))
	pub.answered(0x99)
	h.walk.setStep(nil)
	for _, s := range h.Sessions() {
		if s.ClientID != "pub" && s.Waiting != 1 {
			t.Errorf("%s: %d wait", s.ClientID, s.Waiting)
		}
	}
	h, disk = disk.crashed(t, h, c, plain(profileAWSEdge))
	for i := range devices {
		d := h.join(4, fmt.Sprint(i), persistent(0))
		if got := string(d.take().Payload); got != "x" {
			t.Errorf("device %d got %q", i, got)
		}
		d.expectNothing()
	}
	eventually(t, "nothing on the shelf", func() bool {
		h.store.flush()
		n := 0
		for _, space := range []string{shelfQueue, shelfBody} {
			if err := disk.Keys(space, "", func(string) bool { n++; return true }); err != nil {
				t.Fatal(err)
			}
		}
		return n == 0
	})
}

// TestSpillFails: when a batch before the message's own cannot be committed and
// that one can, present devices get it all the same, and it is counted.
func TestSpillFails(t *testing.T) {
	c := &clock{}
	disk := newDisk(c)
	h := disk.house(t, c, plain(profileAWSEdge))
	h.Broker.spill = 300
	var devices []*device
	for i := range 20 {
		d := h.join(4, fmt.Sprint(i), persistent(0))
		d.subscribe(1, "t")
		devices = append(devices, d)
	}
	pub := h.join(5, "pub")
	disk.mu.Lock()
	disk.next = 1
	disk.mu.Unlock()
	pub.send(publish(1, "t", "x"))
	pub.answered(0)
	for _, d := range devices {
		if got := string(d.take().Payload); got != "x" {
			t.Errorf("got %q", got)
		}
	}
	if h.dropped("shelf-failed") == 0 {
		t.Error("not counted")
	}
	eventually(t, "nothing waits", func() bool { return h.Status().QueuedBytes == 0 })
}

// TestSpillIsAtomic: when the power goes between the batches of a message for many
// kept sessions, wherever, nobody gets it, and when its giver sends it again
// everybody gets it once. With QoS 2 and MQTT 3.1.1.
func TestSpillIsAtomic(t *testing.T) {
	batches := 1
	for taken := range 100 { // the first round is whole, and counts them
		if taken == batches {
			return
		}
		c := &clock{}
		disk := newDisk(c)
		h := disk.house(t, c, plain(profileMQTT))
		h.Broker.spill = 300
		const devices = 20
		for i := range devices {
			id := fmt.Sprint(i)
			d := h.join(4, id, persistent(0))
			d.subscribe(2, "t")
			h.leave(d, id)
		}
		pub := h.join(4, "pub", persistent(0))
		disk.mu.Lock()
		disk.last = taken
		before := disk.commits
		disk.mu.Unlock()
		pub.send(publish(7, "t", "x", twice))
		if taken == 0 {
			pub.answer(packets.Pubrec, 7, 0)
		}
		eventually(t, "the last batch was given to the disk", func() bool {
			disk.mu.Lock()
			defer disk.mu.Unlock()
			if taken == 0 {
				batches = disk.commits - before
			}
			return batches > 3 && disk.commits-before >= batches
		})
		h, disk = disk.crashed(t, h, c, plain(profileMQTT))
		if n := h.Status().QueuedBytes; taken > 0 && n > 0 {
			t.Errorf("%d batches of %d: %d bytes wait for devices", taken, batches, n)
		}
		pub = h.join(4, "pub", persistent(0))
		pub.send(publish(7, "t", "x", twice, again))
		pub.answer(packets.Pubrec, 7, 0)
		pub.step(packets.Pubrel, 7)
		pub.answer(packets.Pubcomp, 7, 0)
		for i := range devices {
			d := h.join(4, fmt.Sprint(i), persistent(0))
			pk := d.expect(packets.Publish)
			d.step(packets.Pubrec, pk.PacketID)
			d.answer(packets.Pubrel, pk.PacketID, 0)
			d.step(packets.Pubcomp, pk.PacketID)
			d.expectNothing()
		}
	}
}
