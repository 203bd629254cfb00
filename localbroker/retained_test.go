package localbroker

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/mochi-mqtt/server/v2/packets"

	"github.com/ebbgate/ebbgate/bridge"
)

// TestRetained is B147-B153, B156 and B158 on the wire, and what plain MQTT
// does instead.
func TestRetained(t *testing.T) {
	each(t, func(t *testing.T, version byte) {
		h := open(t, people{}, plain(profileAWS))
		live, pub := h.join(version, "live"), h.join(version, "pub")
		live.subscribe(1, "a/b")
		pub.send(publish(1, "a/b", "old", retain))
		pub.send(publish(2, "a/b", "new", retain))
		pub.send(publish(3, "a/b", "passing"))
		for _, want := range []string{"old", "new", "passing"} {
			if got := live.take(); string(got.Payload) != want || got.FixedHeader.Retain {
				t.Errorf("live: %q, retain %v", got.Payload, got.FixedHeader.Retain)
			}
		}
		late := h.join(version, "late")
		late.subscribe(1, "a/+", "a/#", "#", "$share/g/a/b")
		late.expectNothing() // B151, B152
		late.subscribe(0, "a/b")
		if got := late.take(); string(got.Payload) != "new" || !got.FixedHeader.Retain || got.FixedHeader.Qos != 0 {
			t.Errorf("late: %q, retain %v, QoS %d", got.Payload, got.FixedHeader.Retain, got.FixedHeader.Qos)
		}
		pub.send(publish(4, "a/b", "", retain))
		if got := live.take(); len(got.Payload) != 0 {
			t.Errorf("live: %q", got.Payload)
		}
		later := h.join(version, "later")
		later.subscribe(1, "a/b")
		later.expectNothing() // B148
	})
}

func TestRetainedInPlainMQTT(t *testing.T) {
	h := open(t, people{}, plain(profileMQTT))
	pub := h.join(5, "pub")
	for i, topic := range []string{"a", "a/b", "a/c", "$x/a"} {
		pub.send(publish(uint16(i+1), topic, topic, retain))
		pub.expect(packets.Puback)
	}
	d := h.join(5, "d")
	take := func(options packets.Subscription, want ...string) {
		t.Helper()
		d.send(packets.Packet{FixedHeader: packets.FixedHeader{Type: packets.Subscribe}, PacketID: 9, Filters: packets.Subscriptions{options}})
		d.expect(packets.Suback)
		for _, w := range want {
			if got := d.take(); got.TopicName != w || !got.FixedHeader.Retain {
				t.Errorf("%q: got %q, want %q", options.Filter, got.TopicName, w)
			}
		}
		d.expectNothing()
	}
	take(packets.Subscription{Filter: "a/#"}, "a", "a/b", "a/c") // the parent as well (M8)
	take(packets.Subscription{Filter: "+/#", RetainHandling: 1}, "a", "a/b", "a/c")
	take(packets.Subscription{Filter: "+/#", RetainHandling: 1}) // it existed [MQTT-3.3.1-10]
	take(packets.Subscription{Filter: "+/#", RetainHandling: 2}) // [MQTT-3.3.1-11]
	keeps := h.join(5, "keeps")
	keeps.send(packets.Packet{FixedHeader: packets.FixedHeader{Type: packets.Subscribe}, PacketID: 9, Filters: packets.Subscriptions{{Filter: "k", RetainAsPublished: true}}})
	keeps.expect(packets.Suback)
	pub.send(publish(9, "k", "x", retain))
	if got := keeps.take(); !got.FixedHeader.Retain {
		t.Error("Retain As Published is not honoured")
	}
}

func TestRetainedExpires(t *testing.T) {
	h := open(t, people{}, plain(profileAWS))
	pub := h.join(5, "pub")
	pub.send(publish(1, "t", "x", retain, func(pk *packets.Packet) { pk.Properties.MessageExpiryInterval = 10 }))
	pub.expect(packets.Puback)
	eventually(t, "retained", func() bool { return h.Status().Retained == 1 })
	h.clock.advance(11 * time.Second)
	d := h.join(4, "d")
	d.subscribe(1, "t")
	d.expectNothing()
	h.retained.sweep(h.age())
	if h.Status().Retained != 0 || h.retained.bytes != 0 {
		t.Error("it is still kept")
	}
}

// TestRetainedBounds: at the bound v5 is told (B154), v3's message goes on and
// is not kept; deleting and replacing always work.
func TestRetainedBounds(t *testing.T) {
	h := open(t, people{}, plain(profileAWS))
	h.retained.limits.RetainedMessages = 1
	v5, v3 := h.join(5, "five"), h.join(4, "three")
	v5.send(publish(1, "a", "x", retain))
	v5.answered(0)
	v5.send(publish(2, "b", "x", retain))
	v5.answered(0x97)
	v3.send(publish(1, "c", "x", retain))
	v3.answered(0)
	v5.send(publish(3, "a", "y", retain))
	v5.answered(0)
	if h.dropped("retained-full") != 2 || h.Status().Retained != 1 {
		t.Errorf("%d counted, %d retained", h.dropped("retained-full"), h.Status().Retained)
	}
	v5.send(publish(4, "a", "", retain))
	v5.answered(0)
	eventually(t, "forgotten", func() bool { return h.Status().Retained == 0 && h.retained.bytes == 0 })
}

// TestRetainedBytes: the sum of sizes is right after every kind of change.
func TestRetainedBytes(t *testing.T) {
	r := newRetained(MemoryOptions{RetainedMessages: 10, RetainedSize: 1000}, newStore(NewMemory(nil), nil, &bridge.DropLog{}))
	store := func(topic string, size int) {
		m := &bridge.Message{Topic: topic, Payload: make([]byte, size)}
		r.settle(r.plan(m), retainedMessage{msg: m}, nil)
	}
	store("a", 100)
	store("b", 200)
	store("a", 300)
	if want := int64(2*deliveryOverhead + 2 + 500); r.bytes != want {
		t.Errorf("%d bytes, want %d", r.bytes, want)
	}
	store("a", 900) // too much: the old one is no longer the last
	if _, there := r.find("a"); len(r.byTopic) != 1 || there {
		t.Error("a stale message is kept")
	}
	store("b", 0)
	if r.bytes != 0 {
		t.Errorf("%d bytes of nothing", r.bytes)
	}
}

// TestM08_OneCopyForTheLate: who subscribes while a retained message is being
// committed or carried to the others receives it once: as the retained one if it
// was that already, else live (B149, B150).
func TestM08_OneCopyForTheLate(t *testing.T) {
	for _, x := range []struct {
		name, profile, filter string
		early, retained       bool // subscribed before the commit; which copy
	}{
		{"before the commit", profileMQTT, "+/#", true, false},
		{"after the commit", profileMQTT, "+/#", false, true},
		{"before the commit, on AWS", profileAWS, "par", true, false},
		{"after the commit, on AWS", profileAWS, "par", false, true},
		{"a wildcard on AWS", profileAWS, "par/#", false, false}, // which is given none that are retained (B151)
	} {
		t.Run(x.name, func(t *testing.T) {
			topic := "par"
			if x.filter == "par/#" {
				topic = "par/b" // B134
			}
			h := open(t, people{}, plain(x.profile))
			d := h.join(5, "late")
			p := &parcel{broker: h.Broker, from: "pub", msg: &bridge.Message{Topic: topic, Payload: []byte("x"), QoS: 1, Retain: true}}
			var batch bridge.Batch
			p.extend(&batch)
			if x.early {
				d.subscribe(1, x.filter)
			}
			p.settle(nil)
			if !x.early {
				d.subscribe(1, x.filter)
			}
			p.deliver(offer)
			if got := d.take(); got.TopicName != topic || got.FixedHeader.Retain != x.retained {
				t.Errorf("got %q, retain %v", got.TopicName, got.FixedHeader.Retain)
			}
			d.expectNothing()
		})
	}
}

// TestLargeRetained: the largest retained message fits into a commit, whoever gets
// it and whoever is away; it is there after a crash, until another one or none
// takes its place, and leaves nothing behind.
func TestLargeRetained(t *testing.T) {
	for kept := range 3 {
		c := &clock{}
		disk := newDisk(c)
		h := disk.house(t, c, plain(profileMQTT))
		for i := range kept {
			id := fmt.Sprint(i)
			d := h.join(5, id, persistent(600))
			d.subscribe(1, "t")
			h.leave(d, id)
		}
		bodies := func() (n int) {
			h.store.flush()
			if err := disk.Keys(shelfBody, "", func(string) bool { n++; return true }); err != nil {
				t.Fatal(err)
			}
			return n
		}
		want := strings.Repeat("x", 1<<20-100)
		retained := func() {
			t.Helper()
			d := h.join(5, "late")
			d.subscribe(1, "t")
			if pk := d.take(); string(pk.Payload) != want || !pk.FixedHeader.Retain {
				t.Fatalf("%d kept sessions: the retained message has %d bytes", kept, len(pk.Payload))
			}
			h.leave(d, "late")
		}
		pub := h.join(5, "pub")
		pub.send(publish(1, "t", "small", retain))
		pub.answered(0)
		pub.send(publish(2, "t", want, retain))
		pub.answered(0)
		retained()
		h, disk = disk.crashed(t, h, c, plain(profileMQTT))
		retained()
		for i := range kept {
			d := h.join(5, fmt.Sprint(i), persistent(600))
			for _, payload := range []string{"small", want} {
				if got := string(d.take().Payload); got != payload {
					t.Fatalf("device %d of %d got %d bytes", i, kept, len(got))
				}
			}
			d.expectNothing()
			d.unsubscribe("t")
			h.leave(d, fmt.Sprint(i))
		}
		if n := bodies(); n != min(kept, 1) {
			t.Errorf("%d kept sessions: %d bodies are on the shelf", kept, n)
		}
		h, disk = disk.crashed(t, h, c, plain(profileMQTT))
		retained()
		pub = h.join(5, "pub")
		pub.send(publish(3, "t", "", retain))
		pub.answered(0)
		eventually(t, "nothing is left", func() bool { return bodies() == 0 })
	}
}

// TestRetainedTogether: those who publish at the same time do not exceed the
// bounds together, whatever becomes of their commits, and in whatever order; what
// finds no room then is counted (B154).
func TestRetainedTogether(t *testing.T) {
	c := &clock{}
	disk := newDisk(c)
	h := disk.house(t, c, plain(profileAWSEdge))
	h.retained.limits.RetainedMessages = 2
	disk.hold()
	var pubs []*device
	for i := range 4 {
		pub := dial(t, h.addr(), 4)
		pubs = append(pubs, pub)
		pub.connect(fmt.Sprint("pub", i))
		pub.send(publish(1, fmt.Sprint("t", i), "x", retain))
	}
	eventually(t, "two found no room", func() bool { return h.dropped("retained-full") == 2 })
	disk.release()
	for _, pub := range pubs {
		pub.expect(packets.Puback)
	}
	if n := h.Status().Retained; n != 2 {
		t.Errorf("%d are retained", n)
	}
	r := h.retained
	rnd := rand.New(rand.NewPCG(1, 5))
	type plan struct {
		what retaining
		k    retainedMessage
	}
	var plans []plan
	r.limits.RetainedSize = 3000
	for range 20_000 {
		if rnd.IntN(2) == 0 || len(plans) == 0 {
			m := &bridge.Message{Topic: fmt.Sprint("t", rnd.IntN(5)), Payload: make([]byte, rnd.IntN(3)*500)}
			plans = append(plans, plan{r.plan(m), retainedMessage{msg: m}})
			continue
		}
		var err error
		if rnd.IntN(5) == 0 {
			err = errPowerless
		}
		r.settle(plans[0].what, plans[0].k, err)
		plans = plans[1:]
		if len(r.byTopic) > 2 || r.bytes > 3000 || r.fresh < 0 || r.growth < 0 {
			t.Fatalf("%d messages, %d bytes; %d and %d to come", len(r.byTopic), r.bytes, r.fresh, r.growth)
		}
	}
	for _, p := range plans {
		r.settle(p.what, p.k, nil)
	}
	if r.fresh != 0 || r.growth != 0 || len(r.coming) != 0 {
		t.Errorf("%d and %d are still to come", r.fresh, r.growth)
	}
}
