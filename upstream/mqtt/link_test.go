package mqtt

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/eclipse/paho.golang/packets"

	"github.com/ebbgate/ebbgate/bridge"
	"github.com/ebbgate/ebbgate/upstream"
)

func TestReasonCodes(t *testing.T) {
	for _, c := range []struct {
		name string
		code byte
		want bridge.Result
	}{
		{"success", 0x00, bridge.ResultAcked},
		{"no matching subscribers", 0x10, bridge.ResultAcked},
		{"unspecified", 0x80, bridge.ResultRetry},
		{"implementation specific", 0x83, bridge.ResultRetry},
		{"not authorized", 0x87, bridge.ResultDenied},
		{"topic name invalid", 0x90, bridge.ResultRefused},
		{"packet identifier in use", 0x91, bridge.ResultRetry},
		{"packet too large", 0x95, bridge.ResultRefused},
		{"quota exceeded", 0x97, bridge.ResultRetry},
		{"payload format invalid", 0x99, bridge.ResultRefused},
		{"a code of the future", 0xEE, bridge.ResultRetry},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := serve(t, func(b *broker) {
				b.accept(packets.Properties{})
				b.answer(c.code, "because")
			})
			l := connect(t, quick(s.addr), upstream.Hooks{})
			o := send(t, l, delivery("dt/x", []byte("m")))
			if o.Result != c.want || o.Code != c.code || o.Reason != "because" {
				t.Errorf("outcome %+v, want result %d", o, c.want)
			}
		})
	}
}

// What has to wait is not sent now, and nothing is done about it: for the limits,
// for a place in the window.
func TestSendNow(t *testing.T) {
	for _, c := range []struct {
		name string
		rate float64
		sent int
	}{{"a full window", 0, 2}, {"a limit", 95, 0}} {
		t.Run(c.name, func(t *testing.T) {
			s := serve(t, func(b *broker) {
				b.accept(packets.Properties{ReceiveMaximum: new(uint16(2))})
				b.pong()
			})
			o := quick(s.addr)
			o.Limits.MessagesPerSecond = c.rate
			l := connect(t, o, upstream.Hooks{}).(eager).Link.(bridge.PromptLink)
			var err error
			sent := 0
			for ; err == nil && sent < 5; sent++ {
				if err = l.SendNow(delivery("dt/x", nil), func(bridge.Outcome) {}); err != nil {
					break
				}
			}
			if sent != c.sent || !errors.Is(err, bridge.ErrWouldWait) {
				t.Errorf("%d sent, then %v", sent, err)
			}
		})
	}
}

func TestARefusalWithoutWordsGetsThem(t *testing.T) {
	s := serve(t, func(b *broker) {
		b.accept(packets.Properties{})
		b.answer(0x87, "")
	})
	if o := send(t, connect(t, quick(s.addr), upstream.Hooks{}), delivery("dt/x", nil)); o.Reason == "" {
		t.Errorf("outcome %+v has no reason", o)
	}
}

func TestLimitsOfTheBrokerAreKept(t *testing.T) {
	for _, c := range []struct {
		name   string
		props  packets.Properties
		d      *bridge.Delivery
		result bridge.Result
		code   byte
	}{
		{"too large", packets.Properties{MaximumPacketSize: of(uint32(512))}, delivery("a", make([]byte, 500)), bridge.ResultRefused, 0x95},
		{"just fits", packets.Properties{MaximumPacketSize: of(uint32(523))}, delivery("a", make([]byte, 500)), bridge.ResultAcked, 0},
		{"one byte too large", packets.Properties{MaximumPacketSize: of(uint32(522))}, delivery("a", make([]byte, 500)), bridge.ResultRefused, 0x95},
		{"QoS", packets.Properties{MaximumQOS: of(byte(0))}, delivery("a", nil), bridge.ResultDenied, 0x9B},
		{"QoS 0 where no more is taken", packets.Properties{MaximumQOS: of(byte(0))},
			delivery("a", nil, func(r *bridge.Record) { r.Receivers[0].QoS = 0 }), bridge.ResultAcked, 0},
		{"retain", packets.Properties{RetainAvailable: of(byte(0))},
			delivery("a", nil, func(r *bridge.Record) { r.Receivers[0].Retain = true }), bridge.ResultDenied, 0x9A},
		{"a topic with a wildcard", packets.Properties{}, delivery("a/#", nil), bridge.ResultRefused, 0x90},
		{"no topic", packets.Properties{}, delivery("", nil), bridge.ResultRefused, 0x90},
		{"a topic that MQTT cannot carry", packets.Properties{}, delivery(strings.Repeat("a", 65536), nil), bridge.ResultRefused, 0x90},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := serve(t, func(b *broker) {
				b.accept(c.props)
				b.answer(0, "")
			})
			l := connect(t, quick(s.addr), upstream.Hooks{})
			for range 300 { // more than the window: a refusal must give its place back
				if o := send(t, l, c.d); o.Result != c.result || o.Code != c.code {
					t.Fatalf("outcome %+v, want result %d with 0x%02X", o, c.result, c.code)
				}
			}
		})
	}
}

func TestWindowIsTheLesserOfOursAndTheBrokers(t *testing.T) {
	for _, c := range []struct {
		name   string
		theirs *uint16
		ours   int
		want   int
	}{
		{"theirs", of(uint16(20)), 100, 20},
		{"ours", of(uint16(1000)), 100, 100},
		{"none told", nil, 100, 100},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := serve(t, func(b *broker) {
				b.accept(packets.Properties{ReceiveMaximum: c.theirs})
				b.drain()
			})
			o := quick(s.addr)
			o.Limits.InFlight = c.ours
			l := connect(t, o, upstream.Hooks{})
			if got := l.Window(); got != c.want {
				t.Fatalf("window %d, want %d", got, c.want)
			}
			for range c.want {
				if err := l.Send(t.Context(), delivery("a", nil), func(bridge.Outcome) {}); err != nil {
					t.Fatal(err)
				}
			}
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
			defer cancel()
			if err := l.Send(ctx, delivery("a", nil), func(bridge.Outcome) {}); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("a send above the window: %v", err)
			}
		})
	}
}

func TestSilenceOfOneAckEndsTheLink(t *testing.T) {
	s := serve(t, func(b *broker) {
		b.accept(packets.Properties{})
		for i := 0; ; i++ { // all but the third, like a broker that throttles (B90)
			cp := b.next()
			if cp == nil {
				return
			}
			if p, ok := cp.Content.(*packets.Publish); ok && i != 2 {
				b.send(&packets.Puback{PacketID: p.PacketID, Properties: &packets.Properties{}})
			}
		}
	})
	o := quick(s.addr)
	o.AckTimeout = 200 * time.Millisecond
	l := connect(t, o, upstream.Hooks{})
	lost := make(chan bridge.Outcome, 1)
	for i := range 3 {
		report := func(bridge.Outcome) {}
		if i == 2 {
			report = func(o bridge.Outcome) { lost <- o }
		}
		if err := l.Send(t.Context(), delivery("a", nil), report); err != nil {
			t.Fatal(err)
		}
	}
	for l.Err() == nil { // others are acknowledged all the while
		_ = l.Send(t.Context(), delivery("a", nil), func(bridge.Outcome) {})
	}
	if o := receive(t, lost, "its outcome comes"); o.Result != bridge.ResultLost {
		t.Errorf("outcome %+v", o)
	}
	receive(t, l.Done(), "the link goes down")
	if err := l.Err(); !strings.Contains(err.Error(), "no acknowledgement") {
		t.Errorf("ended by %v", err)
	}
}

func TestHowLinksEnd(t *testing.T) {
	for _, c := range []struct {
		name string
		play func(*broker)
		want string
		code byte // of our DISCONNECT; 0: none
	}{
		{"disconnected with a code", func(b *broker) {
			b.send(&packets.Disconnect{ReasonCode: 0x8B, Properties: &packets.Properties{}})
		}, "0x8B: Server shutting down", 0},
		{"disconnected with words", func(b *broker) {
			b.send(&packets.Disconnect{ReasonCode: 0x97, Properties: &packets.Properties{ReasonString: "too fast for us"}})
		}, "0x97: too fast for us", 0},
		{"disconnected in the short form", func(b *broker) { _, _ = b.Write([]byte{0xE0, 0}) }, "0x00: Normal disconnection", 0},
		{"closed", func(b *broker) { _ = b.Close() }, "closed the connection", 0},
		{"a length without end", func(b *broker) { _, _ = b.Write([]byte{0x30, 0xff, 0xff, 0xff, 0xff, 0x7f}) }, "length", 0x81},
		{"a packet of 256 MB", func(b *broker) { _, _ = b.Write([]byte{0x30, 0xff, 0xff, 0xff, 0x7f}) }, "268435460 bytes", 0x95},
		{"a packet that makes no sense", func(b *broker) { _, _ = b.Write([]byte{0x40, 1, 0}) }, "PUBACK of 1 bytes", 0x81},
		{"a packet of type 0", func(b *broker) { _, _ = b.Write([]byte{0, 0}) }, "packet type 0", 0x81},
		{"a client's packet", func(b *broker) { _, _ = b.Write([]byte{0xC0, 0}) }, "no place", 0x82},
		{"a SUBACK", func(b *broker) {
			b.send(&packets.Suback{PacketID: 1, Reasons: []byte{1}, Properties: &packets.Properties{}})
		}, "nothing was subscribed to", 0x82},
		{"an UNSUBACK", func(b *broker) {
			b.send(&packets.Unsuback{PacketID: 1, Reasons: []byte{0}, Properties: &packets.Properties{}})
		}, "nothing was unsubscribed from", 0x82},
		{"QoS 2", func(b *broker) {
			b.send(&packets.Publish{Topic: "a", QoS: 2, PacketID: 1, Properties: &packets.Properties{}})
		}, "QoS 2", 0x9B},
		{"a topic alias", func(b *broker) {
			b.send(&packets.Publish{Topic: "a", QoS: 0, Properties: &packets.Properties{TopicAlias: of(uint16(1))}})
		}, "alias", 0x94},
	} {
		t.Run(c.name, func(t *testing.T) {
			said := make(chan byte, 1)
			s := serve(t, func(b *broker) {
				b.accept(packets.Properties{})
				c.play(b)
				if cp := b.next(); cp != nil {
					said <- cp.Content.(*packets.Disconnect).ReasonCode
				}
				close(said)
			})
			l := connect(t, quick(s.addr), upstream.Hooks{})
			receive(t, l.Done(), "the link goes down")
			if err := l.Err(); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("ended by %v, want %s", err, c.want)
			}
			if code := receive(t, said, "the broker hears why"); code != c.code {
				t.Errorf("we said 0x%02X, want 0x%02X", code, c.code)
			}
		})
	}
}

func TestUnaskedMessagesAreAcknowledgedAndDropped(t *testing.T) {
	acked := make(chan uint16, 1)
	s := serve(t, func(b *broker) {
		b.accept(packets.Properties{})
		b.send(&packets.Publish{Topic: "direct", QoS: 1, PacketID: 9, Properties: &packets.Properties{}})
		acked <- expect[*packets.Puback](b).PacketID
		b.drain()
	})
	dropped := make(chan string, 1)
	connect(t, quick(s.addr), upstream.Hooks{Drop: func(reason string, m *bridge.Message) { dropped <- reason + " " + m.Topic }})
	if id := receive(t, acked, "it is acknowledged"); id != 9 {
		t.Errorf("acknowledged %d", id)
	}
	if d := receive(t, dropped, "it is counted"); d != "uplink-unasked direct" {
		t.Errorf("dropped as %s", d)
	}
}

// TestB212_UnaskedMessagesAreOffered: AWS answers jobs and provisioning on the
// connection that asked, without a subscription.
func TestB212_UnaskedMessagesAreOffered(t *testing.T) {
	s := serve(t, func(b *broker) {
		b.accept(packets.Properties{})
		b.send(&packets.Publish{Topic: "mine", QoS: 1, PacketID: 9, Payload: []byte("x"), Properties: &packets.Properties{}})
		_ = expect[*packets.Puback](b)
		b.send(&packets.Publish{Topic: "nobody's", Properties: &packets.Properties{}})
		b.drain()
	})
	dropped, offered := make(chan string, 2), make(chan string, 2)
	u := NewUplink(quick(s.addr), "gateway", discard(), upstream.Hooks{Drop: func(_ string, m *bridge.Message) { dropped <- m.Topic }})
	u.Unasked(func(m *bridge.Message, wire int) bool {
		offered <- fmt.Sprintf("%s %s %d", m.Topic, m.Payload, wire)
		return m.Topic == "mine"
	})
	l, err := u.Connect(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	// 2 and the topic, 2 for the id, 1 for no properties, 1 of payload, 2 in front; and 4 of PUBACK
	if got, want := receive(t, offered, "the answer is offered"), "mine x 16"; got != want {
		t.Errorf("offered %q, want %q", got, want)
	}
	receive(t, offered, "the other is offered too")
	if got := receive(t, dropped, "what nobody takes is dropped"); got != "nobody's" {
		t.Errorf("dropped %q", got)
	}
	_ = l.Close()
	receive(t, l.Done(), "the link goes down")
}

func TestQoS0IsLostWhenItIsNotWritten(t *testing.T) {
	s := serve(t, func(b *broker) {
		b.accept(packets.Properties{})
		b.drain()
	})
	l := connect(t, quick(s.addr), upstream.Hooks{}).(eager).Link.(*link)
	qos0 := delivery("a", nil, func(r *bridge.Record) { r.Receivers[0].QoS = 0 })
	if o := send(t, eager{l}, qos0); o.Result != bridge.ResultAcked || o.Wire == 0 {
		t.Errorf("outcome %+v", o)
	}
	outcome := make(chan bridge.Outcome, 1)
	if err := l.Send(t.Context(), qos0, func(o bridge.Outcome) { outcome <- o }); err != nil {
		t.Fatal(err)
	}
	l.c.end(errors.New("gone"), false, 0) // before it is flushed
	if o := receive(t, outcome, "the outcome comes"); o.Result != bridge.ResultLost {
		t.Errorf("outcome %+v", o)
	}
}
