package localbroker

import (
	"fmt"
	"testing"
	"time"

	"github.com/mochi-mqtt/server/v2/packets"

	"github.com/ebbgate/ebbgate/bridge"
)

// TestGroupQueue: with no member connected a message waits for the group, across
// a crash, and goes in order to whoever comes first, an old member or a new one
// (B178, B182).
func TestGroupQueue(t *testing.T) {
	each(t, func(t *testing.T, version byte) {
		for _, who := range []string{"member", "another"} {
			c := &clock{}
			disk := newDisk(c)
			h := disk.house(t, c, plain(profileAWSEdge))
			d := h.join(version, "member", persistent(600))
			d.subscribe(1, "$share/g/t")
			h.leave(d, "member")
			pub := h.join(4, "pub")
			const messages = 300
			for i := range messages {
				pub.send(publish(uint16(i+1), "t", fmt.Sprint(i)))
				pub.expect(packets.Puback)
			}
			pub.send(publish(0, "t", "nobody keeps QoS 0")) // B175
			pub.expectNothing()
			h, _ = disk.crashed(t, h, c, plain(profileAWSEdge))
			taker := h.join(version, who, persistent(600))
			if who != "member" {
				taker.subscribe(1, "$share/g/t")
			}
			for i := range messages {
				if got := string(taker.take().Payload); got != fmt.Sprint(i) {
					t.Fatalf("message %d is %q", i, got)
				}
			}
			taker.expectNothing()
			eventually(t, "an empty queue", func() bool { return h.Status().QueuedBytes == 0 })
		}
	})
}

// TestGroupQueueOff: then such a message is dropped (B177).
func TestGroupQueueOff(t *testing.T) {
	h := open(t, people{}, plain(profileAWSEdge))
	h.memory.SharedQueue = sharedQueueOff
	d := h.join(5, "member", persistent(600))
	d.subscribe(1, "$share/g/t")
	h.leave(d, "member")
	pub := h.join(4, "pub")
	pub.send(publish(1, "t", "x"))
	pub.expect(packets.Puback)
	h.join(5, "member", persistent(600)).expectNothing()
	if h.dropped("share-group-absent") != 1 {
		t.Error("not counted")
	}
}

// TestGroupPace: in profile aws each member draws 20 a second, at most (Q26),
// and what it leaves unacknowledged goes to another (B176).
func TestGroupPace(t *testing.T) {
	h, clock := enforcing(t)
	d := h.join(5, "member", persistent(600))
	d.subscribe(1, "$share/g/t")
	h.leave(d, "member")
	pub := h.join(4, "pub")
	const messages = 4
	for i := range messages {
		pub.send(publish(uint16(i+1), "t", fmt.Sprint(i)))
		pub.expect(packets.Puback)
	}
	d = h.join(5, "member", persistent(600))
	for range messages {
		d.expect(packets.Publish)
		d.expectNothing()
		clock.advance(time.Second / 20)
	}
	other := h.join(5, "other")
	other.subscribe(1, "$share/g/t")
	h.leave(d, "member")
	for i := range messages {
		if got := string(other.take().Payload); got != fmt.Sprint(i) {
			t.Errorf("message %d is %q", i, got)
		}
		clock.advance(time.Second / 20)
	}
	other.expectNothing()
}

// TestGroupQueueEnds: with its last member (B181, B182), or when a message has
// waited for as long as a session may live (B178).
func TestGroupQueueEnds(t *testing.T) {
	c := &clock{}
	disk := newDisk(c)
	h := disk.house(t, c, plain(profileAWS))
	pub := h.join(4, "pub")
	queue := func(group string) {
		d := h.join(5, group, persistent(3600))
		d.subscribe(1, "$share/"+group+"/t/"+group)
		h.leave(d, group)
		pub.send(publish(1, "t/"+group, "x"))
		pub.expect(packets.Puback)
	}
	queue("one")
	d := h.join(5, "one", persistent(3600))
	d.take()
	d.send(packets.Packet{FixedHeader: packets.FixedHeader{Type: packets.Unsubscribe}, PacketID: 9, Filters: packets.Subscriptions{{Filter: "$share/one/t/one"}}})
	d.expect(packets.Unsuback)
	queue("two")
	c.advance(30 * time.Minute)
	d = h.join(5, "other", persistent(3600))
	d.subscribe(1, "$share/two/t/none")
	h.leave(d, "other")
	c.advance(31 * time.Minute)
	h.sessions.sweep(h.age())
	eventually(t, "nothing on the shelf", func() bool {
		h.store.flush()
		n := 0
		for _, space := range []string{shelfQueue, shelfGroup} {
			if err := disk.Keys(space, "", func(string) bool { n++; return true }); err != nil {
				t.Fatal(err)
			}
		}
		return n == 0
	})
	if h.Status().QueuedBytes != 0 {
		t.Errorf("%d bytes", h.Status().QueuedBytes)
	}
}

// TestGroupQueueExpires: what has waited for too long is dropped and counted.
func TestGroupQueueExpires(t *testing.T) {
	h := open(t, people{}, plain(profileAWS))
	pub := h.join(4, "pub")
	first := h.join(5, "first", persistent(3600))
	first.subscribe(1, "$share/g/t")
	h.leave(first, "first")
	pub.send(publish(1, "t", "x"))
	pub.expect(packets.Puback)
	h.clock.advance(59 * time.Minute)
	second := h.join(5, "second", persistent(3600), func(pk *packets.Packet) { pk.Properties.ReceiveMaximum = 1 })
	second.subscribe(0, "u")
	h.rules.deny("iot:Subscribe none")
	h.clock.advance(2 * time.Minute)
	second.subscribe(1, "$share/g/t")
	second.expectNothing()
	eventually(t, "counted", func() bool { return h.dropped("expired") == 1 })
}

// TestGroupBound: a queue that is full loses the newest (Q24).
func TestGroupBound(t *testing.T) {
	h := open(t, people{}, plain(profileAWSEdge))
	h.memory.Quotas.GroupQueueMessages = 2
	d := h.join(5, "member", persistent(600))
	d.subscribe(1, "$share/g/t")
	h.leave(d, "member")
	l := h.downlink()
	for _, want := range []bridge.Result{bridge.ResultAcked, bridge.ResultAcked, bridge.ResultRetry} {
		l.send("t", 1)
		l.expect(want)
	}
	d = h.join(5, "member", persistent(600))
	d.take()
	d.take()
	d.expectNothing()
	if h.dropped("group-queue-full") != 1 {
		t.Error("not counted")
	}
}

// TestCleanMemberFails: what a member without a session leaves behind goes to
// another (B176), and what waits for no member to its queue.
func TestCleanMemberFails(t *testing.T) {
	h := open(t, people{}, plain(profileAWSEdge))
	one := h.join(5, "one")
	one.subscribe(1, "$share/g/t")
	pub := h.join(4, "pub")
	for i := range 3 {
		pub.send(publish(uint16(i+1), "t", fmt.Sprint(i)))
		pub.expect(packets.Puback)
		one.expect(packets.Publish)
	}
	two := h.join(5, "two")
	two.subscribe(1, "$share/g/t")
	_ = one.Close()
	got := map[string]bool{}
	for range 3 {
		got[string(two.take().Payload)] = true
	}
	if len(got) != 3 {
		t.Errorf("got %v", got)
	}
	kept := h.join(5, "kept", persistent(600))
	kept.subscribe(1, "$share/g/t")
	h.leave(kept, "kept")
	pub.send(publish(9, "t", "last"))
	two.expect(packets.Publish)
	_ = two.Close()
	eventually(t, "queued", func() bool { return h.store.bytes.Load() > 0 })
	if got := string(h.join(5, "kept", persistent(600)).take().Payload); got != "last" {
		t.Errorf("got %q", got)
	}
}
