package localbroker

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/mochi-mqtt/server/v2/packets"

	"github.com/ebbgate/ebbgate/bridge"
)

// The tests of this file and of mochi_limits_test.go go through what is known of
// mochi-mqtt's server, M1 to M20, whose packets we use: no device meets it here.
// M21 is upkeep: archtest keeps all of mochi but its packets out.

// TestM01_NothingAcknowledgedIsDropped: 20,000 QoS 1 messages for an absent
// device arrive, all and in order. mochi acknowledges them and keeps 8,192.
func TestM01_NothingAcknowledgedIsDropped(t *testing.T) {
	const messages = 20_000
	h := open(t, people{}, plain(profileMQTT))
	sub := h.join(4, "sub", persistent(0))
	sub.subscribe(1, "t")
	h.leave(sub, "sub")
	pub := h.join(4, "pub")
	for i := range messages {
		if i >= 50 { // so many are in flight
			pub.expect(packets.Puback)
		}
		pub.send(publish(uint16(i+1), "t", fmt.Sprint(i)))
	}
	for range 50 {
		pub.expect(packets.Puback)
	}
	sub = h.join(4, "sub", persistent(0))
	for i := range messages {
		if got := string(sub.take().Payload); got != fmt.Sprint(i) {
			t.Fatalf("message %d is %q", i, got)
		}
	}
	sub.expectNothing()
}

// TestM02_StalledSubscriberHoldsUpNobody: one who stops reading, with keep alive
// 0, of 300 messages of 60 kB, delays neither the publisher nor the others: each
// message is acknowledged and read by both before the next. mochi's publisher
// waits for the stalled one's socket.
func TestM02_StalledSubscriberHoldsUpNobody(t *testing.T) {
	o := plain(profileMQTT)
	o.Limits.WriteTimeout = time.Hour // nobody puts an end to it
	h := open(t, people{}, o)
	never := func(pk *packets.Packet) { pk.Connect.Keepalive = 0 }
	stalled, one, two, pub := h.join(5, "stalled", never), h.join(4, "one"), h.join(5, "two"), h.join(5, "pub")
	for _, d := range []*device{stalled, one, two} {
		d.subscribe(1, "t")
	}
	payload := string(make([]byte, 60_000))
	for i := range 300 {
		pub.send(publish(uint16(i+1), "t", payload))
		pub.expect(packets.Puback)
		one.take()
		two.take()
	}
	s := h.sessions.find("stalled")
	if n := s.info().Waiting; n != 300 || s.current() == nil {
		t.Errorf("the stalled one is owed %d messages, want 300, connected: %v", n, s.current() != nil)
	}
}

// TestM03_RedeliveryInOrder: what waited arrives in order, and what was not
// acknowledged comes again in the same order with the same packet ids
// [MQTT-4.6.0-1]. mochi sorts by the second.
func TestM03_RedeliveryInOrder(t *testing.T) {
	each(t, func(t *testing.T, version byte) {
		h := open(t, people{}, plain(profileAWSEdge))
		sub := h.join(version, "sub", persistent(600))
		sub.subscribe(1, "t")
		h.leave(sub, "sub")
		pub := h.join(4, "pub")
		for i := range 60 {
			pub.send(publish(uint16(i+1), "t", fmt.Sprint(i)))
			pub.expect(packets.Puback)
		}
		var ids []uint16
		for range 2 {
			sub = h.join(version, "sub", persistent(600))
			var again []uint16
			for i := range 60 {
				pk := sub.expect(packets.Publish)
				if string(pk.Payload) != fmt.Sprint(i) {
					t.Fatalf("message %d is %q", i, pk.Payload)
				}
				again = append(again, pk.PacketID)
			}
			if ids != nil && !slices.Equal(ids, again) {
				t.Errorf("packet ids %v, then %v", ids, again)
			}
			ids = again
			h.leave(sub, "sub")
		}
	})
}

// TestM04_WalkErrorsFailClosed: whatever error the walk ends with, the message
// reaches nobody and is not acknowledged as a success; a payload that a rule
// refuses is, to MQTT 3.1.1, which has no way to be told. mochi logs most errors,
// publishes and acknowledges.
func TestM04_WalkErrorsFailClosed(t *testing.T) {
	for name, failure := range map[string]error{
		"an error of nobody's":      errors.New("something broke"),
		"one of mochi's codes":      packets.ErrQuotaExceeded,
		"mochi's success":           packets.CodeSuccessIgnore,
		"the policy":                bridge.Errorf("publish", bridge.NotAuthorized, "denied"),
		"a disk that is full":       bridge.Errorf("append", bridge.Full, "no space"),
		"a payload that is refused": bridge.Errorf("rule", bridge.PayloadInvalid, "not JSON"),
	} {
		t.Run(name, func(t *testing.T) {
			each(t, func(t *testing.T, version byte) {
				o := plain(profileAWSEdge)
				o.HoldTimeout = time.Millisecond
				h := open(t, people{}, o)
				h.walk.setStep(func(_ *bridge.Message, done func(error)) { done(failure) })
				sub := h.join(5, "sub")
				sub.subscribe(1, "t")
				for i, id := range []uint16{1, 0} {
					pub := h.join(version, fmt.Sprintf("pub-%d", i))
					pub.send(publish(id, "t", "x"))
					_, _ = pub.Write([]byte{packets.Pingreq << 4, 0})
					pk, err := pub.read() // an answer, PINGRESP, or the end
					pretends := version == 4 && bridge.KindOf(failure) == bridge.PayloadInvalid
					if err == nil && pk.FixedHeader.Type == packets.Puback && pk.ReasonCode < 0x80 && !pretends {
						t.Errorf("PUBACK %#x", pk.ReasonCode)
					}
				}
				sub.expectNothing()
			})
		})
	}
}

// TestM05_AcknowledgedWhenDurable: no PUBACK before the commit, which holds up no
// other PUBLISH of the connection: all are with the disk at once, and answered
// in order.
func TestM05_AcknowledgedWhenDurable(t *testing.T) {
	each(t, func(t *testing.T, version byte) {
		c := &clock{}
		disk := newDisk(c)
		h := disk.house(t, c, plain(profileAWSEdge))
		d := h.join(version, "d")
		disk.hold()
		const messages = 20
		for i := range messages {
			d.send(publish(uint16(100-i), fmt.Sprintf("state/%d", i), "x", retain))
		}
		eventually(t, "all are with the disk", func() bool {
			disk.mu.Lock()
			defer disk.mu.Unlock()
			return len(disk.held) == messages
		})
		d.expectNothing()
		disk.release()
		for i := range messages {
			if got := d.expect(packets.Puback).PacketID; got != uint16(100-i) {
				t.Fatalf("PUBACK %d, want %d", got, 100-i)
			}
		}
	})
}

// TestM06_AliasIsAuthorisedByItsTopic: the policy is asked about the topic that
// an alias stands for, and never about none.
func TestM06_AliasIsAuthorisedByItsTopic(t *testing.T) {
	h := open(t, people{}, plain(profileAWSEdge))
	h.rules.deny("iot:Publish secret")
	d := h.join(5, "d")
	for i, tt := range []struct {
		topic string
		code  int
	}{{"secret", 0x87}, {"", 0x87}, {"open", 0}, {"", 0}} {
		d.send(publish(uint16(i+1), tt.topic, "x", aliased))
		d.answered(tt.code)
	}
	if got := h.walk.topics(); !slices.Equal(got, []string{"open", "open"}) {
		t.Errorf("the walk took %q", got)
	}
	for _, q := range h.rules.asked {
		if q.Action == bridge.ActionPublish && q.Name == "" {
			t.Error("the policy was asked about a PUBLISH without a topic")
		}
	}
}

// TestM07_DeniedPublish: a device of MQTT 3.1.1 is closed without a DISCONNECT,
// which it could not read; one of MQTT 5 is told and stays; and a PUBLISH to
// $SYS is answered. mochi sends e0 00, and nothing for $SYS.
func TestM07_DeniedPublish(t *testing.T) {
	for topic, code := range map[string]int{"secret": 0x87, "$SYS/x": 0x90} {
		h := open(t, people{}, plain(profileAWSEdge))
		h.rules.deny("iot:Publish secret")
		v3, v5 := h.join(4, "three"), h.join(5, "five")
		v3.send(publish(1, topic, "x"))
		v3.expectEnd()
		v5.send(publish(1, topic, "x"))
		v5.answered(code)
		v5.expectNothing()
		v5.send(publish(0, topic, "x")) // QoS 0 has no answer but goodbye
		v5.expectGoodbye(byte(code))
	}
}

// TestM08_ParentOfAHash: in plain MQTT "#" covers the level above it
// [MQTT-4.7.1-2], live and retained, behind "+" as well. AWS's does not (B134).
func TestM08_ParentOfAHash(t *testing.T) {
	topics := []string{"par", "par/b"}
	for filter, want := range map[string][]string{"par/#": topics, "+/#": topics, "par/+/#": {"par/b"}} {
		h := open(t, people{}, plain(profileMQTT))
		live, pub := h.join(4, "live"), h.join(4, "pub")
		live.subscribe(1, filter)
		for i, topic := range topics {
			pub.send(publish(uint16(i+1), topic, topic, retain))
			pub.expect(packets.Puback)
		}
		late := h.join(4, "late")
		late.subscribe(1, filter)
		for name, d := range map[string]*device{"live": live, "retained": late} {
			var got []string
			for range want {
				got = append(got, d.take().TopicName)
			}
			d.expectNothing()
			if slices.Sort(got); !slices.Equal(got, want) {
				t.Errorf("%s, %s: %q, want %q", filter, name, got, want)
			}
		}
	}
}

// TestM09_ReceiveMaximumLosesNothing: what waits behind a device's Receive
// Maximum is owed until its PUBACK, also across a lost connection. mochi forgets
// it as it is sent.
func TestM09_ReceiveMaximumLosesNothing(t *testing.T) {
	h := open(t, people{}, plain(profileAWSEdge))
	one := func(pk *packets.Packet) { pk.Properties.ReceiveMaximum = 1 }
	sub, pub := h.join(5, "sub", persistent(600), one), h.join(4, "pub")
	sub.subscribe(1, "t")
	for i := range 5 {
		pub.send(publish(uint16(i+1), "t", fmt.Sprint(i)))
		pub.expect(packets.Puback)
	}
	sub.take()
	sub.expect(packets.Publish) // the second: not acknowledged
	h.leave(sub, "sub")
	sub = h.join(5, "sub", persistent(600), one)
	for i := 1; i < 5; i++ {
		pk := sub.expect(packets.Publish)
		sub.expectNothing()
		if string(pk.Payload) != fmt.Sprint(i) {
			t.Fatalf("message %d is %q", i, pk.Payload)
		}
		sub.puback(pk.PacketID)
	}
	sub.expectNothing()
}

// TestM10_NoExpiryOfOurOwn: a message without an expiry has none on delivery, and
// is there after more than a day, queued and retained.
func TestM10_NoExpiryOfOurOwn(t *testing.T) {
	o := plain(profileMQTT)
	o.Quotas.SessionExpiry = 7 * 24 * time.Hour
	h := open(t, people{}, o)
	const week = 7 * 24 * 3600
	sub := h.join(5, "sub", persistent(week))
	sub.subscribe(1, "t")
	h.leave(sub, "sub")
	pub := h.join(5, "pub", func(pk *packets.Packet) { pk.Connect.Keepalive = 0 })
	pub.send(publish(1, "t", "x", retain))
	pub.expect(packets.Puback)
	h.clock.advance(50 * time.Hour)
	h.sessions.sweep(h.age())
	h.retained.sweep(h.age())
	sub = h.join(5, "sub", persistent(week))
	if got := sub.take(); got.Properties.MessageExpiryInterval != 0 {
		t.Errorf("queued: Message Expiry Interval %d", got.Properties.MessageExpiryInterval)
	}
	sub.subscribe(1, "t")
	if got := sub.take(); got.Properties.MessageExpiryInterval != 0 || !got.FixedHeader.Retain {
		t.Errorf("retained: Message Expiry Interval %d, retain %v", got.Properties.MessageExpiryInterval, got.FixedHeader.Retain)
	}
}
