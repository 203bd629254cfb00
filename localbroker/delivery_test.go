package localbroker

import (
	"fmt"
	"testing"
	"time"

	"github.com/mochi-mqtt/server/v2/packets"

	"github.com/ebbgate/ebbgate/bridge"
)

// TestDeliveryOrder: a giver's messages arrive in the order in which they were
// accepted, QoS 0 and 1 together, and only after they were.
func TestDeliveryOrder(t *testing.T) {
	each(t, func(t *testing.T, version byte) {
		h := open(t, people{}, plain(profileAWS))
		done := h.waiting()
		sub, pub := h.join(version, "sub"), h.join(version, "pub")
		sub.subscribe(1, "t/+")
		for i := range 6 {
			pub.send(publish(uint16(i%2)*uint16(i+1), fmt.Sprintf("t/%d", i), "x"))
		}
		var steps []func(error)
		for range 6 {
			steps = append(steps, receive(t, "publish", done))
		}
		for i := 5; i > 0; i-- {
			steps[i](nil)
		}
		sub.expectNothing()
		steps[0](nil)
		for i := range 6 {
			pk := sub.take()
			if want := fmt.Sprintf("t/%d", i); pk.TopicName != want || int(pk.FixedHeader.Qos) != i%2 || pk.FixedHeader.Dup {
				t.Fatalf("got %q QoS %d, want %q QoS %d", pk.TopicName, pk.FixedHeader.Qos, want, i%2)
			}
		}
	})
}

// TestRefusedIsNotDelivered: what the walk refuses reaches nobody.
func TestRefusedIsNotDelivered(t *testing.T) {
	h := open(t, people{}, plain(profileAWS))
	h.rules.deny("iot:Publish t/no")
	sub, pub := h.join(5, "sub"), h.join(5, "pub")
	sub.subscribe(1, "t/#")
	pub.send(publish(1, "t/no", "x", retain))
	pub.answered(0x87)
	sub.expectNothing()
	if n := sub.subscribe(1, "t/no"); n[0] != 1 {
		t.Fatal("not subscribed")
	}
	sub.expectNothing() // nor was it retained
}

// TestReceiveIsAsked per delivery, in the subscriber's name.
func TestReceiveIsAsked(t *testing.T) {
	h := open(t, people{}, plain(profileAWS))
	h.rules.deny("one: iot:Receive t")
	one, two, pub := h.join(5, "one"), h.join(4, "two"), h.join(4, "pub")
	one.subscribe(1, "t")
	two.subscribe(1, "t")
	pub.send(publish(1, "t", "x"))
	two.take()
	one.expectNothing()
	if h.dropped("receive-denied") != 1 {
		t.Error("not counted")
	}
}

// TestWindow: min(Receive Maximum, 100) deliveries await their PUBACK (B39,
// B113), the rest waits in order.
func TestWindow(t *testing.T) {
	h := open(t, people{}, plain(profileAWS))
	sub := h.join(5, "sub", func(pk *packets.Packet) { pk.Properties.ReceiveMaximum = 2 })
	sub.subscribe(1, "t")
	pub := h.join(4, "pub")
	for i := range 4 {
		pub.send(publish(uint16(i+1), "t", fmt.Sprint(i)))
		pub.expect(packets.Puback)
	}
	first, second := sub.expect(packets.Publish), sub.expect(packets.Publish)
	sub.expectNothing()
	sub.puback(second.PacketID) // out of turn
	third := sub.expect(packets.Publish)
	sub.expectNothing()
	sub.puback(first.PacketID)
	fourth := sub.expect(packets.Publish)
	for i, pk := range []packets.Packet{first, second, third, fourth} {
		if string(pk.Payload) != fmt.Sprint(i) {
			t.Errorf("message %d is %q", i, pk.Payload)
		}
	}
}

// TestQueueBounds: above the bound the newest is dropped and counted; what was
// queued stays, in order.
func TestQueueBounds(t *testing.T) {
	o := plain(profileAWS)
	o.Limits.QueueMessages = 3
	h := open(t, people{}, o)
	sub := h.join(4, "sub", persistent(0))
	sub.subscribe(1, "t")
	h.leave(sub, "sub")
	pub := h.join(4, "pub")
	for i := range 5 {
		pub.send(publish(uint16(i+1), "t", fmt.Sprint(i)))
		pub.expect(packets.Puback)
	}
	eventually(t, "the drops", func() bool { return h.dropped("session-queue-full") == 2 })
	sub = h.join(4, "sub", persistent(0))
	for i := range 3 {
		if got := string(sub.take().Payload); got != fmt.Sprint(i) {
			t.Errorf("message %d is %q", i, got)
		}
	}
	sub.expectNothing()
	eventually(t, "nothing queued", func() bool { return h.Status().QueuedBytes == 0 })
}

// TestStalledSubscriberHoldsUpNobody: not even for as long as it may stall (M2).
func TestStalledSubscriberHoldsUpNobody(t *testing.T) {
	stall(t, time.Hour)
}

// TestStalledSubscriber: whoever stops reading is closed in time; its session
// keeps what it was owed.
func TestStalledSubscriber(t *testing.T) {
	h := stall(t, time.Second)
	if why := receive(t, "the stalled one's end", h.ended); why != "write-stalled" {
		t.Errorf("ended by %q", why)
	}
	for _, s := range h.Sessions() {
		if s.ClientID == "stalled" && s.Waiting < 100 {
			t.Errorf("the session keeps %d messages", s.Waiting)
		}
	}
}

// stall lets one of two subscribers stop reading, for which it has timeout, and
// the other read everything.
func stall(t *testing.T, timeout time.Duration) *house {
	o := plain(profileAWS)
	o.Limits.WriteTimeout = timeout
	h := open(t, people{}, o)
	stalled, healthy, pub := h.join(5, "stalled", persistent(600)), h.join(5, "healthy"), h.join(5, "pub")
	stalled.subscribe(1, "t")
	healthy.subscribe(1, "t")
	payload := string(make([]byte, 100<<10))
	const messages = 200
	go func() {
		for i := range messages {
			if i >= 50 { // stay within Receive Maximum
				if pk, err := pub.read(); err != nil || pk.FixedHeader.Type != packets.Puback {
					return
				}
			}
			if _, err := pub.Write(encode(t, publish(uint16(i+1), "t", payload), 5)); err != nil {
				return
			}
		}
	}()
	for range messages {
		healthy.take()
	}
	return h
}

// TestVersions: v5 properties reach v5 subscribers and not v3 ones, and the
// expiry counts down (B100, B115-B118).
func TestVersions(t *testing.T) {
	h := open(t, people{}, plain(profileAWS))
	v5, v3, pub := h.join(5, "v5", persistent(600)), h.join(4, "v3"), h.join(5, "pub")
	v5.subscribe(1, "t")
	v3.subscribe(1, "t")
	pub.send(publish(1, "t", "x", func(pk *packets.Packet) {
		pk.Properties.MessageExpiryInterval = 100
		pk.Properties.User = []packets.UserProperty{{Key: "k", Val: "1"}, {Key: "k", Val: "2"}}
	}))
	got := v5.take()
	if e := got.Properties.MessageExpiryInterval; e < 98 || e > 100 || len(got.Properties.User) != 2 || got.Properties.User[1].Val != "2" {
		t.Errorf("v5 got %+v", got.Properties)
	}
	if got := v3.take(); string(got.Payload) != "x" {
		t.Errorf("v3 got %q", got.Payload)
	}
	eventually(t, "it has acknowledged that", func() bool { return h.waits("v5") == 0 })
	h.leave(v5, "v5")
	pub.send(publish(2, "t", "late", func(pk *packets.Packet) { pk.Properties.MessageExpiryInterval = 50 }))
	pub.expect(packets.Puback)
	eventually(t, "it waits for that one", func() bool { return h.waits("v5") == 1 })
	h.clock.advance(time.Minute)
	v5 = h.join(5, "v5", persistent(600))
	v5.expectNothing()
	eventually(t, "it is counted", func() bool { return h.dropped("expired") == 1 })
}

// TestMaximumPacketSize: what a device cannot take is dropped for it (B41).
func TestMaximumPacketSize(t *testing.T) {
	h := open(t, people{}, plain(profileAWS))
	sub, pub := h.join(5, "sub", func(pk *packets.Packet) { pk.Properties.MaximumPacketSize = 512 }), h.join(4, "pub")
	sub.subscribe(1, "t")
	pub.send(publish(1, "t", string(make([]byte, 600))))
	pub.send(publish(2, "t", "small"))
	if got := string(sub.take().Payload); got != "small" {
		t.Errorf("got %d bytes", len(got))
	}
	if h.dropped("client-packet-size") != 1 {
		t.Error("not counted")
	}
}

// TestNoLocal is honoured in profile mqtt only (B120).
func TestNoLocal(t *testing.T) {
	for profile, silent := range map[string]bool{profileAWS: false, profileMQTT: true} {
		h := open(t, people{}, plain(profile))
		d := h.join(5, "d")
		d.send(packets.Packet{FixedHeader: packets.FixedHeader{Type: packets.Subscribe}, PacketID: 1, Filters: packets.Subscriptions{{Filter: "t", NoLocal: true}}})
		d.expect(packets.Suback)
		d.send(publish(0, "t", "x"))
		if silent {
			d.expectNothing()
		} else {
			d.take()
		}
	}
}

// TestShared: each message goes to one member of the group, and to ordinary
// subscribers as well.
func TestShared(t *testing.T) {
	h := open(t, people{}, plain(profileAWS))
	one, two, all, pub := h.join(5, "one"), h.join(4, "two"), h.join(4, "all"), h.join(4, "pub")
	one.subscribe(1, "$share/g/t")
	two.subscribe(1, "$share/g/t")
	all.subscribe(1, "t")
	for i := range 20 {
		pub.send(publish(uint16(i+1), "t", "x"))
		pub.expect(packets.Puback)
	}
	for range 20 {
		all.take()
	}
	eventually(t, "20 deliveries to the group", func() bool {
		n := 0
		for _, s := range h.Sessions() {
			n += s.Waiting
		}
		return n == 20
	})
}

// TestFullQueueIsNotAskedAbout: who does not read what it has asked for costs the
// givers little: its messages are counted as dropped, and the policy is not asked
// in vain. With room it has the next one again.
func TestFullQueueIsNotAskedAbout(t *testing.T) {
	o := plain(profileAWSEdge)
	o.Limits.QueueMessages = 3
	h := open(t, people{}, o)
	lazy, other, pub := h.join(4, "lazy"), h.join(4, "other"), h.join(4, "pub")
	lazy.subscribe(1, "t/x", "t/+") // overlapping: still one message
	other.subscribe(1, "other")
	send := func(id uint16) {
		pub.send(publish(id, "t/x", fmt.Sprint(id)))
		pub.expect(packets.Puback)
		pub.send(publish(id+100, "other", "x"))
		pub.expect(packets.Puback)
		other.take()
		eventually(t, "its acknowledgement", func() bool { return h.sessions.find("other").info().Waiting == 0 })
	}
	for id := range uint16(10) {
		send(id + 1)
	}
	asked := 0
	for _, q := range h.rules.asked {
		if q.Action == bridge.ActionReceive && q.Name == "t/x" {
			asked++
		}
	}
	if n := h.dropped("session-queue-full"); n != 7 || asked != 4 { // the first that finds no room is asked about
		t.Errorf("%d dropped, want 7; the policy was asked %d times, want 4", n, asked)
	}
	var last uint16
	for range 3 {
		last = lazy.expect(packets.Publish).PacketID
	}
	lazy.puback(last)
	lazy.expectNothing()
	send(11)
	if got := string(lazy.take().Payload); got != "11" {
		t.Errorf("with room again: got %q", got)
	}
}
