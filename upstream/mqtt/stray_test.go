package mqtt

import (
	"fmt"
	"io"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/eclipse/paho.golang/packets"

	"github.com/ebbgate/ebbgate/bridge"
	"github.com/ebbgate/ebbgate/upstream"
)

// board keeps what is raised, as the gateway does.
type board struct {
	bridge.Health
	mu    sync.Mutex
	calls int // of Raise
}

func (b *board) hooks() upstream.Hooks {
	return upstream.Hooks{Raise: func(w bridge.Warning) {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.calls++
		b.Raise(w)
	}, Clear: func(code string) { b.Clear(code) }}
}

func (b *board) raised(code string) (bridge.Warning, bool) {
	for _, w := range b.Warnings() {
		if w.Code == code {
			return w, true
		}
	}
	return bridge.Warning{}, false
}

// A cloud, or a proxy before it, that acknowledges each message twice, or what it
// never got, costs no link: that was a reconnect for each message.
func TestAnAcknowledgementOfNothingIsPassedOver(t *testing.T) {
	for _, version := range []string{protocol5, protocol311} {
		for _, kind := range []byte{packets.PUBACK, packets.PUBREC, packets.PUBCOMP} {
			t.Run(fmt.Sprint(version, " ", puback{kind: kind}.name()), func(t *testing.T) {
				s := serve(t, func(b *broker) {
					if b.hello() == level311 {
						_, _ = b.Write([]byte{packets.CONNACK << 4, 2, 0, 0})
					} else {
						b.send(&packets.Connack{Properties: &packets.Properties{}})
					}
					stray := func(id uint16) []byte { return []byte{kind << 4, 2, byte(id >> 8), byte(id)} }
					_, _ = b.Write(stray(7))
					for id := b.published(); id != 0; id = b.published() {
						ack := pubackFor(id)
						_, _ = b.Write(append(append(ack, stray(id)...), stray(60_000)...)) // in one write, so that More looks at it
					}
				})
				var told board
				o := quick(s.addr)
				o.Protocol = version
				l := connect(t, o, told.hooks())
				for i := range 300 { // more than the window
					if o := send(t, l, delivery("dt/x", nil)); o.Result != bridge.ResultAcked || o.More {
						t.Fatalf("message %d: %+v, want it acknowledged, and no further outcome promised", i, o)
					}
				}
				if err := l.Err(); err != nil {
					t.Errorf("the link ended: %v", err)
				}
				w, ok := told.raised("uplink-stray-acks")
				if !ok || w.Severity != bridge.Notice || !strings.Contains(w.Text, "acknowledges messages twice") {
					t.Errorf("told %+v", told.Warnings())
				}
			})
		}
	}
}

// published reads packets of any version until a PUBLISH, and returns its
// identifier; 0 at the end.
func (b *broker) published() uint16 {
	for {
		var head [2]byte
		if _, err := io.ReadFull(b, head[:]); err != nil {
			return 0
		}
		body := make([]byte, head[1]) // ours are short
		if _, err := io.ReadFull(b, body); err != nil {
			return 0
		}
		if head[0]>>4 == packets.PUBLISH {
			n := 2 + int(body[0])<<8 + int(body[1])
			return uint16(body[n])<<8 | uint16(body[n+1])
		}
	}
}

// What is in flight and acknowledged in words of QoS 2 would wait for ever: the link
// ends, and the broker is told.
func TestAnAcknowledgementOfAnotherQoSEndsTheLink(t *testing.T) {
	s := serve(t, func(b *broker) {
		b.accept(packets.Properties{})
		id := b.published()
		_, _ = b.Write([]byte{packets.PUBREC << 4, 2, byte(id >> 8), byte(id)})
		b.drain()
	})
	l := connect(t, quick(s.addr), upstream.Hooks{})
	if o := send(t, l, delivery("dt/x", nil)); o.Result != bridge.ResultLost || !strings.Contains(o.Reason, "a PUBREC for packet 1, which is of QoS 1") {
		t.Errorf("outcome %+v", o)
	}
}

// A message that is not acknowledged is not released by the second acknowledgement
// of one that had the identifier before: with a window of two, that was the next
// message but one.
func TestALateSecondAcknowledgementReleasesNothing(t *testing.T) {
	const messages = 500
	s := serve(t, func(b *broker) {
		b.accept(packets.Properties{ReceiveMaximum: new(uint16(2))})
		var ids []uint16
		for range messages {
			ids = append(ids, b.published())
			_, _ = b.Write(pubackFor(ids[len(ids)-1]))
		}
		if b.published() == 0 { // the last one is not acknowledged
			return
		}
		for _, id := range ids {
			_, _ = b.Write(pubackFor(id))
		}
		_ = b.Close()
	})
	l := connect(t, quick(s.addr), upstream.Hooks{})
	for range messages {
		if o := send(t, l, delivery("dt/x", nil)); o.Result != bridge.ResultAcked {
			t.Fatalf("%+v", o)
		}
	}
	if o := send(t, l, delivery("dt/x", nil)); o.Result != bridge.ResultLost {
		t.Errorf("what nobody took has the outcome %+v", o)
	}
}

// The count is told every now and then, and the warning goes when none has come for
// a while, and with the next link.
func TestTheWarningOfStrayAcknowledgementsGoes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var told board
		h := &health{prefix: "uplink", log: discard(), hooks: told.hooks()}
		var s strays
		s.begin(h)
		a := puback{kind: packets.PUBACK, id: 1}
		for range 3 {
			s.add(a, time.Now())
		}
		if told.calls != 1 {
			t.Errorf("told %d times, want once", told.calls)
		}
		s.review(time.Now())
		if w, _ := told.raised("uplink-stray-acks"); !strings.Contains(w.Text, "3 acknowledgements") {
			t.Errorf("told %+v", w)
		}
		s.review(time.Now().Add(strayQuiet - time.Second))
		if _, ok := told.raised("uplink-stray-acks"); !ok || told.calls != 2 {
			t.Errorf("there: %v, told %d times, want twice: the first, and the count", ok, told.calls)
		}
		s.review(time.Now().Add(strayQuiet))
		if _, ok := told.raised("uplink-stray-acks"); ok {
			t.Error("it does not go")
		}
		s.add(a, time.Now().Add(strayQuiet))
		if w, _ := told.raised("uplink-stray-acks"); !strings.Contains(w.Text, "4 acknowledgements") {
			t.Errorf("when they come again: %+v", w)
		}
		var next strays
		next.begin(h)
		if _, ok := told.raised("uplink-stray-acks"); ok {
			t.Error("it outlives its link")
		}
	})
}
