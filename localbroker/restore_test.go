package localbroker

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/mochi-mqtt/server/v2/packets"

	"github.com/ebbgate/ebbgate/bridge"
)

// TestCrash: what was acknowledged outlives the process: sessions of both
// versions, their subscriptions, what waits and what was in flight, in order,
// and retained messages (B51, B54, B63, B66).
func TestCrash(t *testing.T) {
	each(t, func(t *testing.T, version byte) {
		c := &clock{}
		disk := newDisk(c)
		h := disk.house(t, c, plain(profileAWSEdge))
		d := h.join(version, "d", persistent(600))
		d.subscribe(1, "t/+", "other")
		pub := h.join(4, "pub")
		const flying, waiting = 3, 300
		for i := range flying {
			pub.send(publish(uint16(i+1), fmt.Sprintf("t/%d", i), fmt.Sprint(i)))
			pub.expect(packets.Puback)
			d.expect(packets.Publish)
		}
		h.leave(d, "d")
		for i := flying; i < waiting; i++ {
			pub.send(publish(uint16(i+1), fmt.Sprintf("t/%d", i), fmt.Sprint(i)))
			pub.expect(packets.Puback)
		}
		pub.send(publish(1000, "kept", "retained", retain))
		pub.expect(packets.Puback)

		h, _ = disk.crashed(t, h, c, plain(profileAWSEdge))
		if st := h.Status(); st.Sessions != 1 || st.Retained != 1 || h.Sessions()[0].Waiting != waiting || len(h.Sessions()[0].Filters) != 2 {
			t.Fatalf("%+v %+v", st, h.Sessions())
		}
		d = dial(t, h.addr(), version)
		if !d.connect("d", persistent(600)).SessionPresent {
			t.Error("the session is not present")
		}
		for i := range waiting {
			if pk := d.take(); string(pk.Payload) != fmt.Sprint(i) || pk.TopicName != fmt.Sprintf("t/%d", i) {
				t.Fatalf("message %d is %q", i, pk.Payload)
			}
		}
		d.subscribe(0, "kept")
		if got := d.take(); string(got.Payload) != "retained" || !got.FixedHeader.Retain {
			t.Errorf("got %q", got.Payload)
		}
		d.expectNothing()
		eventually(t, "an empty queue", func() bool { return h.Sessions()[0].Waiting == 0 && h.Status().QueuedBytes == 0 })
	})
}

// TestNothingIsAcknowledgedEarly: neither a PUBLISH for an absent device, nor a
// retained one, nor a SUBSCRIBE, before its commit is done; and what never is
// leaves nothing behind.
func TestNothingIsAcknowledgedEarly(t *testing.T) {
	c := &clock{}
	disk := newDisk(c)
	h := disk.house(t, c, plain(profileAWSEdge))
	d := h.join(5, "d", persistent(600))
	d.subscribe(1, "t")
	h.leave(d, "d")
	pub, sub := h.join(5, "pub"), h.join(5, "sub", persistent(600))
	disk.hold()
	pub.send(publish(1, "t", "x"))
	pub.send(publish(2, "r", "x", retain))
	sub.send(packets.Packet{FixedHeader: packets.FixedHeader{Type: packets.Subscribe}, PacketID: 7, Filters: packets.Subscriptions{{Filter: "s", Qos: 1}}})
	pub.expectNothing()
	eventually(t, "three commits", func() bool { disk.mu.Lock(); defer disk.mu.Unlock(); return len(disk.held) == 3 })
	h, _ = disk.crashed(t, h, c, plain(profileAWSEdge))
	for _, s := range h.Sessions() {
		if s.ClientID == "sub" && len(s.Filters) > 0 || s.Waiting > 0 {
			t.Errorf("%+v", s)
		}
	}
	if h.Status().Retained != 0 {
		t.Error("retained")
	}
}

// TestAcknowledgedComesBack: a crash may bring back what was forgotten a moment
// before, then a device gets it again, and nothing else is amiss.
func TestAcknowledgedComesBack(t *testing.T) {
	c := &clock{}
	disk := newDisk(c)
	h := disk.house(t, c, plain(profileAWSEdge))
	one, two, pub := h.join(5, "one", persistent(600)), h.join(5, "two", persistent(600)), h.join(4, "pub")
	one.subscribe(1, "t")
	two.subscribe(1, "t")
	disk.mu.Lock()
	disk.lazy = true
	disk.mu.Unlock()
	pub.send(publish(1, "t", "x"))
	one.take()
	two.expect(packets.Publish)
	eventually(t, "forgotten", func() bool { disk.mu.Lock(); defer disk.mu.Unlock(); return len(disk.undone[shelfQueue]) == 1 })
	h, _ = disk.crashed(t, h, c, plain(profileAWSEdge))
	for _, id := range []string{"one", "two"} {
		d := h.join(5, id, persistent(600))
		if got := d.take(); string(got.Payload) != "x" {
			t.Errorf("%s got %q", id, got.Payload)
		}
		d.expectNothing()
	}
}

// TestFullShelf: who cannot be made durable is told, and once there is room
// everything goes on.
func TestFullShelf(t *testing.T) {
	c := &clock{}
	disk := newDisk(c)
	h := disk.house(t, c, plain(profileAWSEdge))
	v5, v3 := h.join(5, "v5", persistent(600)), h.join(4, "v3", persistent(0))
	v5.subscribe(1, "had")
	disk.failing(bridge.Errorf("append", bridge.Full, "no room"))
	if got := v5.subscribe(1, "t", "had"); got[0] != 0x97 || got[1] != 0x97 {
		t.Errorf("SUBACK %#x", got)
	}
	if got := v3.subscribe(1, "t"); got[0] != 0x80 {
		t.Errorf("SUBACK %#x", got)
	}
	disk.failing(errors.New("broken"))
	if got := v5.subscribe(1, "t"); got[0] != 0x80 {
		t.Errorf("SUBACK %#x", got)
	}
	late := h.join(5, "late", persistent(600)) // nobody is kept out
	disk.failing(nil)
	eventually(t, "the records", func() bool {
		h.sessions.sweep(h.age())
		late, _ := disk.Get(shelfSession, "late")
		return late != nil
	})
	if got := late.subscribe(1, "t"); got[0] != 1 {
		t.Errorf("SUBACK %#x", got)
	}
	pub := h.join(5, "pub")
	pub.send(publish(1, "had", "x"))
	pub.answered(0)
	if got := v5.take(); got.TopicName != "had" {
		t.Errorf("got %q", got.TopicName)
	}
	v3.expectNothing()
}

// TestExpiryAcrossRestarts: a session ends when its time is over, which goes on
// while the gateway is down; that of a connected device begins with the restart
// (B59, B67, B68).
func TestExpiryAcrossRestarts(t *testing.T) {
	c := &clock{}
	disk := newDisk(c)
	h := disk.house(t, c, plain(profileAWSEdge))
	for _, id := range []string{"away", "present", "long"} {
		seconds := uint32(60)
		if id == "long" {
			seconds = 600
		}
		h.join(5, id, persistent(seconds)).subscribe(1, "t")
		if id == "away" {
			h.Kick(id)
			eventually(t, "away", func() bool { return h.sessions.find(id).current() == nil })
		}
	}
	pub := h.join(4, "pub")
	pub.send(publish(1, "t", "x"))
	pub.expect(packets.Puback)
	disk.crash()
	h.stop()
	c.advance(2 * time.Minute)
	disk = disk.back()
	h = disk.house(t, c, plain(profileAWSEdge))
	if h.sessions.find("away") != nil || h.sessions.find("present") == nil || h.sessions.find("long") == nil {
		t.Fatalf("%+v", h.Sessions())
	}
	c.advance(61 * time.Second)
	h.sessions.sweep(h.age())
	if h.sessions.find("present") != nil || h.sessions.find("long") == nil {
		t.Errorf("%+v", h.Sessions())
	}
	h.join(5, "long", persistent(60)).take()
	eventually(t, "nothing of the others on the shelf", func() bool {
		h.store.flush()
		n := 0
		for _, space := range []string{shelfQueue, shelfBody, shelfSession} {
			if err := disk.Keys(space, "", func(string) bool { n++; return true }); err != nil {
				t.Fatal(err)
			}
		}
		return n == 1
	})
}

// TestRetainedIsOwed: a retained message that a kept session was sent and has
// not acknowledged comes again after a crash (B66).
func TestRetainedIsOwed(t *testing.T) {
	c := &clock{}
	disk := newDisk(c)
	h := disk.house(t, c, plain(profileAWSEdge))
	pub := h.join(4, "pub")
	pub.send(publish(1, "t", "x", retain))
	pub.expect(packets.Puback)
	d := h.join(4, "d", persistent(0))
	d.subscribe(1, "t")
	d.expect(packets.Publish)
	h, _ = disk.crashed(t, h, c, plain(profileAWSEdge))
	d = h.join(4, "d", persistent(0))
	if got := d.take(); string(got.Payload) != "x" || !got.FixedHeader.Retain {
		t.Errorf("got %q, retain %v", got.Payload, got.FixedHeader.Retain)
	}
	d.expectNothing()
}

// TestRestoredSessionIsAskedAbout: the policy of today decides on what waits and
// on what comes for a device that has not been seen since the start, and a
// change of policy takes its subscriptions away for good.
func TestRestoredSessionIsAskedAbout(t *testing.T) {
	c := &clock{}
	disk := newDisk(c)
	h := disk.house(t, c, plain(profileAWSEdge))
	d := h.join(5, "d", persistent(600))
	d.subscribe(1, "t", "u")
	h.leave(d, "d")
	pub := h.join(4, "pub")
	send := func(pub *device, topic string) {
		pub.send(publish(1, topic, topic))
		pub.expect(packets.Puback)
	}
	send(pub, "t")
	send(pub, "u")
	h, disk = disk.crashed(t, h, c, plain(profileAWSEdge))
	h.rules.deny("d: iot:Receive t", "d: iot:Subscribe t")
	send(h.join(4, "pub"), "t")
	if h.dropped("receive-denied") != 1 {
		t.Error("the policy was not asked about what came")
	}
	if got := h.Enforce(); got.Subscriptions != 1 {
		t.Errorf("%+v", got)
	}
	eventually(t, "the record", func() bool {
		v, _ := disk.Get(shelfSession, "d")
		r, err := decodeSession("d", v)
		return err == nil && len(r.subs) == 1
	})
	h, _ = disk.crashed(t, h, c, plain(profileAWSEdge))
	h.rules.deny("d: iot:Receive t")
	d = h.join(5, "d", persistent(600))
	if got := d.take(); got.TopicName != "u" {
		t.Errorf("got %q", got.TopicName)
	}
	d.expectNothing()
	if got := h.sessions.find("d").info().Filters; len(got) != 1 {
		t.Errorf("subscriptions %v", got)
	}
}

// TestListenerGone: a session whose listener is no longer there receives
// nothing, and waits for it to come back.
func TestListenerGone(t *testing.T) {
	c := &clock{}
	disk := newDisk(c)
	h := disk.house(t, c, plain(profileAWSEdge))
	d := h.join(5, "d", persistent(600))
	d.subscribe(1, "t")
	h.leave(d, "d")
	other := plain(profileAWSEdge)
	other.Name = "other"
	h, disk = disk.crashed(t, h, c, other)
	pub := h.join(4, "pub")
	pub.send(publish(1, "t", "x"))
	pub.expect(packets.Puback)
	if h.dropped("receive-denied") != 1 || len(h.Sessions()) != 2 {
		t.Errorf("%d denied, %+v", h.dropped("receive-denied"), h.Sessions())
	}
	h, _ = disk.crashed(t, h, c, plain(profileAWSEdge))
	pub = h.join(4, "pub")
	pub.send(publish(1, "t", "y"))
	pub.expect(packets.Puback)
	if got := h.join(5, "d", persistent(600)).take(); string(got.Payload) != "y" {
		t.Errorf("got %q", got.Payload)
	}
}

// TestDamage: what cannot be read is given up, and everything else is there.
func TestDamage(t *testing.T) {
	c := &clock{}
	disk := newDisk(c)
	h := disk.house(t, c, plain(profileAWSEdge))
	for _, id := range []string{"one", "two"} {
		d := h.join(5, id, persistent(600), withWill)
		d.subscribe(1, "t")
		h.leave(d, id)
	}
	pub := h.join(4, "pub")
	for i := range 5 {
		pub.send(publish(uint16(i+1), "t", fmt.Sprint(i)))
		pub.expect(packets.Puback)
	}
	for _, topic := range []string{"a", "b"} {
		pub.send(publish(9, topic, topic, retain))
		pub.expect(packets.Puback)
	}
	disk.crash()
	h.stop()
	disk = disk.back()
	damage := func(namespace string, from int, key func(i int, key string) bool) {
		n, keys := 0, []string{}
		if err := disk.Keys(namespace, "", func(k string) bool { keys = append(keys, k); return true }); err != nil {
			t.Fatal(err)
		}
		for i, k := range keys {
			if key(i, k) {
				v, _ := disk.Get(namespace, k)
				disk.putLocked(namespace, k, v[:from])
				n++
			}
		}
		if n == 0 {
			t.Fatalf("nothing to damage in %s", namespace)
		}
	}
	damage(shelfSession, 3, func(_ int, k string) bool { return k == "one" })
	damage(shelfBody, 5, func(i int, _ string) bool { return i == 2 })
	damage(shelfQueue, 1, func(_ int, k string) bool { e, _ := parseEntry(k); return e.ordinal == 2 })
	damage(shelfRetained, 4, func(_ int, k string) bool { return k == "a" })
	h = disk.house(t, c, plain(profileAWSEdge))
	if st := h.Status(); st.Sessions != 1 || st.Retained != 1 {
		t.Errorf("%+v", st)
	}
	d := h.join(5, "two", persistent(600))
	for _, want := range []string{"0", "3", "4"} {
		if got := string(d.take().Payload); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	d.expectNothing()
	eventually(t, "an empty queue", func() bool { return h.sessions.find("two").info().Waiting == 0 })
}
