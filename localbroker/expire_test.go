package localbroker

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/mochi-mqtt/server/v2/packets"
)

// expiring is a PUBLISH that expires in so many seconds.
func expiring(seconds uint32) func(*packets.Packet) {
	return func(pk *packets.Packet) { pk.Properties.MessageExpiryInterval = seconds }
}

// take10 is a listener whose queues take ten messages.
func take10(profile string) ListenerOptions {
	o := plain(profile)
	o.Limits.QueueMessages = 10
	return o
}

// waits is how many messages wait for a client id.
func (h *house) waits(id string) int { return h.sessions.find(id).info().Waiting }

// sweeps lets the broker look for what has expired, until something is so.
func (h *house) sweeps(what string, ok func() bool) {
	h.tb.Helper()
	eventually(h.tb, what, func() bool {
		h.sessions.sweep(h.age())
		h.groups.sweep(h.age())
		return ok()
	})
}

// TestExpiredMakesRoom: what has expired in the queue of an absent device takes no
// room from what comes, though nobody has read it; before a restart and after it.
func TestExpiredMakesRoom(t *testing.T) {
	for _, crash := range []bool{false, true} {
		c := &clock{}
		disk := newDisk(c)
		h := disk.house(t, c, take10(profileAWSEdge))
		d := h.join(5, "d", persistent(3600))
		d.subscribe(1, "t")
		h.leave(d, "d")
		pub := h.join(5, "pub")
		for i := range 10 {
			seconds := uint32(10)
			if i%5 == 2 {
				seconds = 1000
			}
			pub.send(publish(uint16(i+1), "t", fmt.Sprint(i), expiring(seconds)))
			pub.answered(0)
		}
		if crash {
			h, disk = disk.crashed(t, h, c, take10(profileAWSEdge))
			pub = h.join(5, "pub")
		}
		c.advance(11 * time.Second)
		h.sweeps("two are left", func() bool { return h.waits("d") == 2 })
		for i := 10; i < 18; i++ {
			pub.send(publish(uint16(i+1), "t", fmt.Sprint(i)))
			pub.answered(0)
		}
		eventually(t, "all of them wait", func() bool { return h.waits("d") == 10 })
		if full, expired := h.dropped("session-queue-full"), h.dropped("expired"); full != 0 || expired != 8 {
			t.Errorf("%d found no room, %d expired", full, expired)
		}
		h, _ = disk.crashed(t, h, c, take10(profileAWSEdge))
		d = h.join(5, "d", persistent(3600))
		var got []string
		for range 10 {
			got = append(got, string(d.take().Payload))
		}
		if want := []string{"2", "7", "10", "11", "12", "13", "14", "15", "16", "17"}; !slices.Equal(got, want) {
			t.Errorf("got %q, want %q", got, want)
		}
		d.expectNothing()
		eventually(t, "nothing waits", func() bool { return h.waits("d") == 0 && h.Status().QueuedBytes == 0 })
	}
}

// TestExpiredBehindOneThatStalls: the same for a device that is there and has
// stopped reading, beside what is in flight and in memory.
func TestExpiredBehindOneThatStalls(t *testing.T) {
	h := open(t, people{}, plain(profileAWSEdge))
	one := func(pk *packets.Packet) { pk.Properties.ReceiveMaximum = 1 }
	d, pub := h.join(5, "d", persistent(3600), one), h.join(5, "pub")
	d.subscribe(1, "t")
	const messages = 3 * aheadMessages
	for i := range messages {
		seconds := uint32(10)
		if i%2 == 0 {
			seconds = 1000
		}
		pub.send(publish(uint16(i+1), "t", fmt.Sprint(i), expiring(seconds)))
		pub.answered(0)
	}
	h.clock.advance(11 * time.Second)
	h.sweeps("what is on the shelf only has expired", func() bool { return h.dropped("expired") >= aheadMessages/2 })
	for i := 0; i < messages; i += 2 {
		if got := string(d.take().Payload); got != fmt.Sprint(i) {
			t.Fatalf("got %q, want %d", got, i)
		}
	}
	d.expectNothing()
	eventually(t, "nothing waits", func() bool { return h.waits("d") == 0 && h.Status().QueuedBytes == 0 })
	if n := h.dropped("expired"); n != messages/2 {
		t.Errorf("%d are counted, want %d", n, messages/2)
	}
}

// TestExpiredInGroupQueue: the same for the queue of a share group (B178).
func TestExpiredInGroupQueue(t *testing.T) {
	h := open(t, people{}, plain(profileAWSEdge))
	h.memory.Quotas.GroupQueueMessages = 2
	d := h.join(5, "d", persistent(3600))
	d.subscribe(1, "$share/g/t")
	h.leave(d, "d")
	pub := h.join(5, "pub")
	give := func(payload string, seconds uint32) {
		t.Helper()
		pub.send(publish(1, "t", payload, expiring(seconds)))
		pub.answered(0)
	}
	give("0", 10)
	give("1", 10)
	h.clock.advance(11 * time.Second)
	h.sweeps("both have expired", func() bool { return h.dropped("expired") == 2 })
	give("2", 100)
	give("3", 100)
	d = h.join(5, "d", persistent(3600))
	for _, want := range []string{"2", "3"} {
		if got := string(d.take().Payload); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	if n := h.dropped("group-queue-full"); n != 0 {
		t.Errorf("%d found no room", n)
	}
}

// TestExpiredTwice: what a device has begun to receive with QoS 2 does not go
// when its time is over, or the device would keep its packet id for ever.
func TestExpiredTwice(t *testing.T) {
	h := open(t, people{}, plain(profileMQTT))
	d, pub := h.join(5, "d", persistent(3600)), h.join(5, "pub")
	d.subscribe(2, "t")
	pub.publishTwice(1, "t", "x", expiring(10))
	id := d.expect(packets.Publish).PacketID
	h.leave(d, "d")
	h.clock.advance(11 * time.Second)
	h.sessions.sweep(h.age())
	if n := h.waits("d"); n != 1 {
		t.Fatalf("%d wait", n)
	}
	d = h.join(5, "d", persistent(3600))
	d.answer(packets.Pubrel, id, 0)
	d.step(packets.Pubcomp, id)
	eventually(t, "nothing waits", func() bool { return h.waits("d") == 0 })
}
