package mqtt

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"

	"github.com/eclipse/paho.golang/packets"

	"github.com/ebbgate/ebbgate/bridge"
	"github.com/ebbgate/ebbgate/internal/peers"
	"github.com/ebbgate/ebbgate/upstream"
)

// seen is a PUBLISH as a broker reads it: the topic as it was spelled, and its
// alias.
type seen struct {
	topic string
	alias uint16
}

// answerSeeing is answer with the code that codes gives for each PUBLISH, which it
// shows.
func (b *broker) answerSeeing(got chan<- seen, codes func(seen) byte) {
	for {
		cp := b.next()
		if cp == nil {
			return
		}
		p, ok := cp.Content.(*packets.Publish)
		if !ok {
			continue
		}
		s := seen{topic: p.Topic}
		if p.Properties.TopicAlias != nil {
			s.alias = *p.Properties.TopicAlias
		}
		got <- s
		if p.QoS > 0 {
			b.send(&packets.Puback{PacketID: p.PacketID, ReasonCode: codes(s), Properties: &packets.Properties{}})
		}
	}
}

func qos0(r *bridge.Record) { r.Receivers[0].QoS = 0 }

// B93, B94, Q37: a topic goes as a number from when the broker has acknowledged it,
// and never more numbers than it takes.
func TestTopicsGoAsNumbers(t *testing.T) {
	got := make(chan seen, 100)
	s := serve(t, func(b *broker) {
		b.accept(packets.Properties{TopicAliasMaximum: of(uint16(2))})
		b.answerSeeing(got, func(seen) byte { return 0 })
	})
	l := connect(t, quick(s.addr), upstream.Hooks{})
	for i, c := range []struct {
		d    *bridge.Delivery
		want seen
	}{
		{delivery("dt/first", nil, qos0), seen{"dt/first", 0}}, // nobody would answer
		{delivery("dt/first", nil), seen{"dt/first", 1}},
		{delivery("dt/first", nil), seen{"", 1}},
		{delivery("dt/first", nil, qos0), seen{"", 1}},
		{delivery("short", nil), seen{"short", 0}}, // it would only get longer
		{delivery("dt/second", nil), seen{"dt/second", 2}},
		{delivery("dt/third", nil), seen{"dt/third", 0}},
		{delivery("dt/third", nil), seen{"dt/third", 0}},
		{delivery("dt/second", nil), seen{"", 2}},
	} {
		p := publishOf(bridge.Outgoing(c.d.Stored), 0, false)
		want := p.size() + 6 // and the PUBACK, as this broker writes it
		if c.d.Receiver.QoS == 0 {
			want = p.size()
		}
		if c.want.alias != 0 {
			want += 3 + len(c.want.topic) - len(c.d.Receiver.Topic)
		}
		if o := send(t, l, c.d); o.Result != bridge.ResultAcked || o.Wire != want {
			t.Errorf("message %d: %+v, want %d bytes on the wire", i, o, want)
		}
		if s := receive(t, got, "it comes"); s != c.want {
			t.Errorf("message %d came as %+v, want %+v", i, s, c.want)
		}
	}
}

// Q06, B95: a broker that refuses a message, or has not answered it yet, may not
// know the number in it: it is never used alone.
func TestNumbersThatTheBrokerMayNotKnow(t *testing.T) {
	got := make(chan seen, 100)
	refuse := true
	s := serve(t, func(b *broker) {
		b.accept(packets.Properties{TopicAliasMaximum: of(uint16(8))})
		b.answerSeeing(got, func(seen) byte {
			if refuse {
				refuse = false
				return packets.PubackQuotaExceeded
			}
			return 0
		})
	})
	l := connect(t, quick(s.addr), upstream.Hooks{})
	if o := send(t, l, delivery("dt/first", nil)); o.Result != bridge.ResultRetry {
		t.Fatalf("outcome %+v", o)
	}
	var answered sync.WaitGroup
	link := l.(eager).Link // which gathers: both are sent before an answer can come
	for range 2 {
		answered.Add(1)
		if err := link.Send(t.Context(), delivery("dt/first", nil), func(bridge.Outcome) { answered.Done() }); err != nil {
			t.Fatal(err)
		}
	}
	link.Flush()
	answered.Wait()
	send(t, l, delivery("dt/first", nil))
	for i, want := range []seen{{"dt/first", 1}, {"dt/first", 1}, {"dt/first", 0}, {"", 1}} {
		if s := receive(t, got, "it comes"); s != want {
			t.Errorf("message %d came as %+v, want %+v", i, s, want)
		}
	}
}

// A broker that calls a number invalid gets every topic in full from then on.
func TestABrokerThatQuarrelsWithAliases(t *testing.T) {
	got := make(chan seen, 100)
	first := func(b *broker) {
		b.accept(packets.Properties{TopicAliasMaximum: of(uint16(8))})
		b.next()
		b.send(&packets.Disconnect{ReasonCode: packets.DisconnectTopicAliasInvalid, Properties: &packets.Properties{}})
	}
	s := serve(t, first, func(b *broker) {
		b.accept(packets.Properties{TopicAliasMaximum: of(uint16(8))})
		b.answerSeeing(got, func(seen) byte { return 0 })
	})
	u := NewUplink(quick(s.addr), "gateway", discard(), upstream.Hooks{})
	for i := range 2 {
		l, err := u.Connect(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		o := send(t, eager{l}, delivery("dt/first", nil))
		if want := []bridge.Result{bridge.ResultLost, bridge.ResultAcked}[i]; o.Result != want {
			t.Fatalf("outcome %+v", o)
		}
		if i == 1 {
			_ = l.Close() // never fails
		}
		receive(t, l.Done(), "the link goes down")
	}
	if s := receive(t, got, "it comes"); s != (seen{"dt/first", 0}) {
		t.Errorf("it came as %+v", s)
	}
}

// Topics that come often displace those that came first, and topics that all come
// as often displace nothing.
func TestWhichTopicsGetNumbers(t *testing.T) {
	a := newAliases(2)
	bare := func(topic string) bool {
		p := publish{Message: &bridge.Message{Topic: topic, QoS: 1}}
		if x := a.shorten(&p); x != nil {
			x.told(func(bridge.Outcome) {})(bridge.Outcome{Result: bridge.ResultAcked})
		}
		return p.bare
	}
	bare("dt/rare/1")
	bare("dt/rare/2")
	for i := range 3 * ageEvery {
		bare(fmt.Sprintf("dt/often/%d", i%2))
	}
	if !bare("dt/often/0") || !bare("dt/often/1") || bare("dt/rare/1") {
		t.Errorf("what comes often has no number: %v", a.bound)
	}
	for i := range 3 * ageEvery {
		bare(fmt.Sprintf("dt/often/%d", i%40))
	}
	if !bare("dt/often/0") || !bare("dt/often/1") {
		t.Error("a number went from one topic to another that does not come more often")
	}
	for i := range 2 * ageEvery {
		bare(fmt.Sprintf("dt/once/%d", i))
		if len(a.seen) > countFor {
			t.Fatalf("%d topics are remembered", len(a.seen))
		}
	}
}

// Whatever becomes a number, every message arrives under its own topic.
func TestTopicsArriveThroughMosquitto(t *testing.T) {
	b := peers.Mosquitto(t, peers.MosquittoOptions{}) // which takes ten aliases
	s := subscribe(t, b.Addr, "dt/#")
	l := connect(t, quick(b.Addr), upstream.Hooks{})
	const messages = 6000
	var acked sync.WaitGroup
	for i := range messages {
		topic := fmt.Sprintf("dt/some-device/%d", rand.IntN(8)+i/1500*8) // others with time
		acked.Add(1)
		err := l.Send(t.Context(), delivery(topic, []byte(topic)), func(o bridge.Outcome) {
			if o.Result != bridge.ResultAcked {
				t.Errorf("outcome %+v", o)
			}
			acked.Done()
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	acked.Wait()
	await(t, "all arrive", func() bool { return len(s.arrived()) == messages })
	for _, p := range s.arrived() {
		if p.Topic != string(p.Payload) {
			t.Fatalf("a message to %s arrived under %s", p.Payload, p.Topic)
		}
	}
	if n := len(l.(eager).Link.(*link).aliases.bound); n != 10 {
		t.Errorf("%d topics have a number, and mosquitto takes 10", n)
	}
}
