package mqtt

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/eclipse/paho.golang/packets"

	"github.com/ebbgate/ebbgate/bridge"
	"github.com/ebbgate/ebbgate/internal/peers"
	"github.com/ebbgate/ebbgate/upstream"
)

// came is what a handler was given.
type came struct {
	m    *bridge.Message
	wire int
	ack  func()
}

// run starts a downlink and returns what its handler gets, and how to stop it.
func run(t *testing.T, o Options, filters []string, hooks upstream.Hooks) (got <-chan came, stop func()) {
	t.Helper()
	ch := make(chan came, 1000)
	d := NewDownlink(o, "gateway-down", filters, func(m *bridge.Message, wire int, ack func()) {
		ch <- came{m, wire, ack}
	}, discard(), hooks)
	return ch, start(t, d)
}

func start(t *testing.T, d *Downlink) (stop func()) {
	t.Helper()
	return peers.Run(t, d.Run)
}

// grant answers a SUBSCRIBE with a code for each filter.
func (b *broker) grant(code func(filter string) byte) []string {
	s := expect[*packets.Subscribe](b)
	if s == nil {
		return nil
	}
	var filters []string
	answer := &packets.Suback{PacketID: s.PacketID, Properties: &packets.Properties{}}
	for _, o := range s.Subscriptions {
		filters = append(filters, o.Topic)
		answer.Reasons = append(answer.Reasons, code(o.Topic))
	}
	b.send(answer)
	return filters
}

func granted(string) byte { return 1 }

func (b *broker) publish(id uint16, topic string, user ...packets.User) {
	b.send(&packets.Publish{Topic: topic, QoS: 1, PacketID: id, Payload: []byte("do"), Properties: &packets.Properties{User: user}})
}

func TestDownlinkSubscribesEightFiltersAtATime(t *testing.T) {
	var filters []string
	for i := range 20 {
		filters = append(filters, fmt.Sprintf("cmd/%d/#", i))
	}
	connects, packs := make(chan *packets.Connect, 1), make(chan []string, 3)
	s := serve(t, func(b *broker) {
		connects <- b.accept(packets.Properties{})
		for range 3 {
			packs <- b.grant(granted)
		}
		b.drain()
	})
	run(t, quick(s.addr), filters, upstream.Hooks{})
	c := receive(t, connects, "CONNECT")
	if c.CleanStart || c.ClientID != "gateway-down" || c.Properties.SessionExpiryInterval == nil || *c.Properties.SessionExpiryInterval != 7*24*3600 || *c.Properties.ReceiveMaximum != 100 {
		t.Errorf("CONNECT %v", c)
	}
	var got []string
	for _, want := range []int{8, 8, 4} {
		pack := receive(t, packs, "SUBSCRIBE")
		if len(pack) != want {
			t.Errorf("%d filters in a packet, want %d", len(pack), want)
		}
		got = append(got, pack...)
	}
	if !slices.Equal(got, filters) {
		t.Errorf("subscribed to %v", got)
	}
}

func TestDownlinkAcknowledgesInOrder(t *testing.T) {
	acks := make(chan uint16, 10)
	s := serve(t, func(b *broker) {
		b.accept(packets.Properties{})
		b.grant(granted)
		for id := range uint16(3) {
			b.publish(id+1, "cmd/x")
		}
		for cp := b.next(); cp != nil; cp = b.next() {
			if p, ok := cp.Content.(*packets.Puback); ok {
				acks <- p.PacketID
			}
		}
	})
	got, _ := run(t, quick(s.addr), []string{"cmd/#"}, upstream.Hooks{})
	var m []came
	for range 3 {
		m = append(m, receive(t, got, "a message"))
	}
	if want := 2 + 7 + 2 + 1 + 2 + 4; m[0].wire != want {
		t.Errorf("%d bytes on the wire, want %d", m[0].wire, want)
	}
	m[2].ack()
	m[1].ack()
	m[1].ack()
	select {
	case id := <-acks:
		t.Fatalf("%d was acknowledged before 1", id)
	case <-time.After(50 * time.Millisecond):
	}
	m[0].ack()
	for id := range uint16(3) {
		if a := receive(t, acks, "an acknowledgement"); a != id+1 {
			t.Errorf("acknowledged %d, want %d", a, id+1)
		}
	}
}

func TestDownlinkKeepsAcknowledgingForEver(t *testing.T) {
	acks := make(chan uint16, 1000)
	s := serve(t, func(b *broker) {
		b.accept(packets.Properties{})
		b.grant(granted)
		for id := range uint16(1000) {
			b.publish(id+1, "cmd/x")
			acks <- expect[*packets.Puback](b).PacketID
		}
		b.drain()
	})
	got, _ := run(t, quick(s.addr), []string{"cmd/#"}, upstream.Hooks{})
	for id := range uint16(1000) {
		m := receive(t, got, "a message")
		m.ack()
		if a := receive(t, acks, "an acknowledgement"); a != id+1 {
			t.Fatalf("acknowledged %d, want %d", a, id+1)
		}
	}
}

func TestDownlinkDropsLoops(t *testing.T) {
	acks := make(chan uint16, 1)
	s := serve(t, func(b *broker) {
		b.accept(packets.Properties{})
		b.grant(granted)
		b.publish(1, "cmd/loop", packets.User{Key: bridge.PropHops, Value: "8"})
		acks <- expect[*packets.Puback](b).PacketID
		b.publish(2, "cmd/last", packets.User{Key: bridge.PropHops, Value: "7"})
		b.drain()
	})
	dropped := make(chan string, 1)
	got, _ := run(t, quick(s.addr), []string{"cmd/#"}, upstream.Hooks{
		Drop: func(reason string, m *bridge.Message) { dropped <- reason + " " + m.Topic },
	})
	if d := receive(t, dropped, "the loop is counted"); d != "downlink-loop cmd/loop" {
		t.Errorf("dropped as %s", d)
	}
	if id := receive(t, acks, "the loop is acknowledged"); id != 1 {
		t.Errorf("acknowledged %d", id)
	}
	if m := receive(t, got, "the other message"); m.m.Topic != "cmd/last" {
		t.Errorf("got %s", m.m.Topic)
	}
}

func TestDownlinkResubscribesOnlyWhenItMust(t *testing.T) {
	for _, c := range []struct {
		name    string
		present bool
		first   byte // SUBACK code on the first connection
		want    bool
	}{
		{"session present", true, 1, false},
		{"session gone", false, 1, true},
		{"a filter was refused", true, 0x87, true},
		{"a filter was granted QoS 0", true, 0, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			subscribed := make(chan bool, 1)
			s := serve(t, func(b *broker) {
				b.accept(packets.Properties{})
				b.grant(func(string) byte { return c.first })
				b.publish(1, "cmd/x") // follows the SUBACK, so it has been seen
				expect[*packets.Puback](b)
			}, func(b *broker) {
				expect[*packets.Connect](b)
				b.send(&packets.Connack{SessionPresent: c.present, Properties: &packets.Properties{}})
				_ = b.SetReadDeadline(time.Now().Add(200 * time.Millisecond))
				cp := b.next() // nil when nothing comes
				subscribed <- cp != nil && cp.Type == packets.SUBSCRIBE
				_ = b.SetReadDeadline(time.Time{})
				b.drain()
			})
			got, _ := run(t, quick(s.addr), []string{"cmd/#"}, upstream.Hooks{})
			receive(t, got, "the message after the SUBACK").ack()
			if got := receive(t, subscribed, "the second connection"); got != c.want {
				t.Errorf("subscribed again: %v, want %v", got, c.want)
			}
		})
	}
}

func TestRefusedFiltersAreWarnedOfAndAskedForAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		asked := make(chan []string, 10)
		play := func(b *broker) {
			b.accept(packets.Properties{})
			asked <- b.grant(func(f string) byte {
				if f == "cmd/secret" {
					return 0x87
				}
				return 1
			})
			for cp := b.next(); cp != nil; cp = b.next() {
				switch p := cp.Content.(type) {
				case *packets.Pingreq:
					_, _ = b.Write([]byte{packets.PINGRESP << 4, 0})
				case *packets.Subscribe:
					asked <- []string{p.Subscriptions[0].Topic}
					b.send(&packets.Suback{PacketID: p.PacketID, Reasons: []byte{1}, Properties: &packets.Properties{}})
				}
			}
		}
		var health bridge.Health
		d := NewDownlink(quick("pipe"), "gateway-down", []string{"cmd/open", "cmd/secret"}, func(*bridge.Message, int, func()) {}, discard(), upstream.Hooks{
			Raise: func(w bridge.Warning) { health.Raise(w) },
			Clear: func(code string) { health.Clear(code) },
		})
		piped(t, &d.dialer, play)
		stop := peers.Run(t, d.Run)
		time.Sleep(time.Minute)
		w := health.Warnings()
		if len(w) != 1 || w[0].Code != "downlink-filters-refused" || !strings.Contains(w[0].Text, `"cmd/secret" was refused with 0x87`) || strings.Contains(w[0].Text, "cmd/open") {
			t.Errorf("warnings %v", w)
		}
		time.Sleep(2 * time.Minute)
		if w := health.Warnings(); len(w) != 0 {
			t.Errorf("warnings %v after the filter was granted", w)
		}
		stop()
		<-asked
		if again := <-asked; !slices.Equal(again, []string{"cmd/secret"}) {
			t.Errorf("asked again for %v", again)
		}
	})
}

// TestDownlinkAgainstMosquitto publishes while the downlink is connected, while
// it is away, and while a message is not acknowledged.
func TestDownlinkAgainstMosquitto(t *testing.T) {
	b := peers.Mosquitto(t, peers.MosquittoOptions{})
	p := peers.NewProxy(t, b.Addr)
	up := connect(t, quick(b.Addr), upstream.Hooks{})
	publish := func(payload string) {
		t.Helper()
		if o := send(t, up, delivery("cmd/device-1", []byte(payload))); o.Result != bridge.ResultAcked {
			t.Fatalf("publish: %+v", o)
		}
	}
	next := func(from <-chan came, want string) came {
		t.Helper()
		m := receive(t, from, want)
		if string(m.m.Payload) != want || m.m.Topic != "cmd/device-1" || m.m.QoS != 1 {
			t.Fatalf("got %+v, want %s", m.m, want)
		}
		return m
	}

	got, stop := run(t, quick(p.Addr), []string{"cmd/#"}, upstream.Hooks{})
	await(t, "it subscribes", func() bool { return strings.Contains(b.Log(), "SUBACK to gateway-down") })
	publish("live")
	next(got, "live").ack()
	await(t, "mosquitto has the acknowledgement", func() bool { return strings.Contains(b.Log(), "PUBACK from gateway-down") }) // the reset must not swallow it

	publish("not acknowledged")
	next(got, "not acknowledged")
	p.Reset()
	m := next(got, "not acknowledged")
	m.ack()
	publish("after the cut")
	next(got, "after the cut").ack()
	await(t, "mosquitto has the acknowledgement", func() bool { return strings.Count(b.Log(), "PUBACK from gateway-down") >= 3 })

	stop()
	publish("while away")
	got, _ = run(t, quick(p.Addr), []string{"cmd/#"}, upstream.Hooks{})
	next(got, "while away").ack()
}
