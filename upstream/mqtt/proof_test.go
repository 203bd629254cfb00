package mqtt

import (
	"testing"
	"time"

	"github.com/eclipse/paho.golang/packets"

	"github.com/ebbgate/ebbgate/bridge"
	"github.com/ebbgate/ebbgate/upstream"
)

// reads takes all that comes and answers what it is told to.
func (b *broker) reads(came chan<- byte, answers ...byte) {
	for cp := b.next(); cp != nil; cp = b.next() {
		for _, kind := range answers {
			switch {
			case kind != cp.Type:
			case kind == packets.PINGREQ:
				_, _ = b.Write([]byte{packets.PINGRESP << 4, 0})
			default:
				if p := cp.Content.(*packets.Publish); p.QoS == 1 {
					b.send(&packets.Puback{PacketID: p.PacketID, Properties: &packets.Properties{}})
				}
			}
		}
		came <- cp.Type
	}
}

// oneOf0 sends at QoS 0 and returns where it will be told whether it has arrived.
func oneOf0(t *testing.T, l bridge.Link) <-chan bool {
	t.Helper()
	o := send(t, l, delivery("dt/x", []byte("m"), func(r *bridge.Record) { r.Receivers[0].QoS = 0 }))
	if o.Result != bridge.ResultAcked || o.Proof == nil {
		t.Fatalf("%+v", o)
	}
	told := make(chan bool, 1)
	o.Proof.Then(func(arrived bool) { told <- arrived })
	return told
}

func untold(t *testing.T, told <-chan bool) {
	t.Helper()
	select {
	case arrived := <-told:
		t.Fatalf("told %t, and nobody knows", arrived)
	default:
	}
}

// What goes at QoS 0 has arrived when something was answered that was written later, and
// is not known to have when the connection ends before.
func TestQoS0IsProvedByTheNextAnswer(t *testing.T) {
	came := make(chan byte, 100)
	s := serve(t, func(b *broker) {
		b.accept(packets.Properties{})
		b.reads(came)
	})
	l := connect(t, quick(s.addr), upstream.Hooks{}).(eager)
	first, second := oneOf0(t, l), oneOf0(t, l)
	c := l.Link.(*link).c
	receive(t, came, "a message")
	receive(t, came, "another")
	untold(t, first)
	c.ask()
	third := oneOf0(t, l)
	if kind := receive(t, came, "a PINGREQ"); kind != packets.PINGREQ {
		t.Fatalf("packet type %d", kind)
	}
	if err := c.handle(packets.PINGRESP<<4, nil, 2); err != nil { // as if it came now
		t.Fatal(err)
	}
	for _, told := range []<-chan bool{first, second} {
		if !receive(t, told, "what was before the PINGREQ") {
			t.Error("it has not arrived")
		}
	}
	untold(t, third)
	_ = l.Close()
	receive(t, l.Done(), "the link goes down")
	if receive(t, third, "what was after it") {
		t.Error("nobody knows, and it is said to have arrived")
	}
}

// Who asks when it is known is told at once.
func TestAProofIsToldLate(t *testing.T) {
	for _, want := range []bool{true, false} {
		p := &proof{}
		p.settle(want)
		told := make(chan bool, 1)
		p.Then(func(arrived bool) { told <- arrived })
		if receive(t, told, "what is known") != want {
			t.Errorf("not %t", want)
		}
	}
}

// A broker that answers no PINGREQ gets them all the same, for its keep alive; what it
// says later is taken for no proof, and a PUBACK is.
func TestABrokerThatAnswersNoPings(t *testing.T) {
	came := make(chan byte, 100)
	s := serve(t, func(b *broker) {
		b.accept(packets.Properties{})
		b.reads(came, packets.PUBLISH)
	})
	l := connect(t, quick(s.addr), upstream.Hooks{}).(eager)
	c := l.Link.(*link).c
	told := oneOf0(t, l)
	receive(t, came, "the message")
	for range 2 * maxAsked {
		c.ask()
		if kind := receive(t, came, "a PINGREQ"); kind != packets.PINGREQ {
			t.Fatalf("packet type %d", kind)
		}
	}
	if err := c.handle(packets.PINGRESP<<4, nil, 2); err != nil {
		t.Fatal(err)
	}
	untold(t, told)
	send(t, l, delivery("dt/x", nil))
	if !receive(t, told, "what was before the PUBACK") {
		t.Error("it has not arrived")
	}
}

// A PUBACK proves what was written before its message, and nothing that came after.
func TestQoS0IsProvedByAPuback(t *testing.T) {
	came := make(chan byte, 100)
	s := serve(t, func(b *broker) {
		b.accept(packets.Properties{})
		b.reads(came, packets.PUBLISH)
	})
	l := connect(t, quick(s.addr), upstream.Hooks{}).(eager)
	if o := send(t, l, delivery("dt/x", nil)); o.Proof != nil {
		t.Errorf("%+v is answered, and awaits a proof", o)
	}
	before := oneOf0(t, l)
	send(t, l, delivery("dt/x", nil))
	if !receive(t, before, "what was before") {
		t.Error("it has not arrived")
	}
	untold(t, oneOf0(t, l))
}

// Much at QoS 0 is asked after before the keep alive does, once a second at most.
func TestMuchAtQoS0IsAskedAfter(t *testing.T) {
	came := make(chan byte, 4*askAfter)
	s := serve(t, func(b *broker) {
		b.accept(packets.Properties{})
		b.reads(came, packets.PINGREQ)
	})
	l := connect(t, quick(s.addr), upstream.Hooks{}).(eager)
	first := oneOf0(t, l)
	for range askAfter - 1 {
		oneOf0(t, l)
	}
	if !receive(t, first, "the first of many") {
		t.Error("it has not arrived")
	}
	for i := range askAfter + 1 {
		if kind := receive(t, came, "a packet"); (kind == packets.PINGREQ) != (i == askAfter) {
			t.Fatalf("packet %d is of type %d", i, kind)
		}
	}
	if c := l.Link.(*link).c; c.unproved() || c.proofs.some != 0 {
		t.Errorf("%+v", c.proofs)
	}
}

// A link that is being renewed, or closed because it is idle, asks first whether what it
// wrote has arrived, and does not wait for ever.
func TestALinkThatIsRetiredAwaitsTheProof(t *testing.T) {
	for _, c := range []struct {
		name    string
		answers []byte
		want    bool
	}{{"answered", []byte{packets.PINGREQ}, true}, {"silence", nil, false}} {
		t.Run(c.name, func(t *testing.T) {
			came := make(chan byte, 100)
			s := serve(t, func(b *broker) {
				b.accept(packets.Properties{})
				b.reads(came, c.answers...)
			})
			o := quick(s.addr)
			o.AckTimeout = 200 * time.Millisecond
			l := connect(t, o, upstream.Hooks{}).(eager)
			told := oneOf0(t, l)
			l.Link.(*link).retire(ErrIdle)
			receive(t, l.Done(), "the link goes down")
			if got := receive(t, told, "what was written"); got != c.want {
				t.Errorf("arrived: %t", got)
			}
			for _, want := range []byte{packets.PUBLISH, packets.PINGREQ, packets.DISCONNECT} {
				if kind := receive(t, came, "a packet"); kind != want {
					t.Errorf("packet type %d, want %d", kind, want)
				}
			}
		})
	}
}
