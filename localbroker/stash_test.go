package localbroker

import (
	"fmt"
	"math/rand/v2"
	"reflect"
	"runtime"
	"strings"
	"testing"
	"time"
	"weak"

	"github.com/mochi-mqtt/server/v2/packets"

	"github.com/ebbgate/ebbgate/bridge"
)

// someDelivery is one of many kinds.
func someDelivery(r *rand.Rand, n int, vias []*subscription) *delivery {
	m := &bridge.Message{Topic: fmt.Sprintf("t/%d", n), QoS: byte(r.IntN(3)), Retain: r.IntN(4) == 0}
	if size := r.IntN(200); size > 0 {
		m.Payload = make([]byte, size)
		if r.IntN(100) == 0 {
			m.Payload = make([]byte, 100<<10) // more than a block
		}
	}
	if r.IntN(2) == 0 {
		m.Properties = bridge.Properties{
			PayloadFormat: byte(r.IntN(2)), HasExpiry: true, Expiry: r.Uint32(), ContentType: "text/plain", ResponseTopic: "r",
			CorrelationData: []byte{1, 2}, User: []bridge.UserProperty{{Key: "k", Value: "1"}, {Key: "k", Value: ""}},
		}
	}
	d := newDelivery(m, min(m.QoS, 1))
	d.retain, d.tries = r.IntN(2) == 0, r.IntN(4)
	if r.IntN(2) == 0 {
		d.expires, d.shortened, d.decidedIn = time.Duration(1+r.Int64N(1e12)), r.IntN(2) == 0, r.Uint64N(100)
		d.identifiers = []int{1, 268_435_455}
	}
	switch r.IntN(8) {
	case 0:
		d.kept.ordinal = uint64(n + 1)
	case 1:
		d.await = &local{}
	case 2, 3:
		d.via = vias[r.IntN(len(vias))]
		d.share, d.shared = d.via.filter.group, true
	}
	return d
}

// TestStash: what is written down comes back as it was, in order, from both
// ends, beside what is not written down; and it is counted.
func TestStash(t *testing.T) {
	r := rand.New(rand.NewPCG(4, 2))
	vias := []*subscription{{filter: splitShare("$share/a/t")}, {filter: splitShare("$share/b/t")}}
	for round := range 200 {
		var q stash
		var want []*delivery
		grows := 2 + r.IntN(3)
		for n := range 400 {
			switch {
			case len(want) == 0 || r.IntN(grows) > 0:
				d := someDelivery(r, n, vias)
				q.push(d)
				want = append(want, d)
			case r.IntN(4) == 0:
				last := want[len(want)-1]
				if got := q.back(); !last.held() {
					compare(t, got, last)
					want = want[:len(want)-1]
				} else if got != nil {
					t.Fatal("took what is on the shelf from the end")
				}
			default:
				compare(t, q.front(), want[0])
				want = want[1:]
			}
			var written volume
			for _, d := range want {
				if !d.tied() {
					written.add(d, 1)
				}
			}
			if q.count != len(want) || q.written != written {
				t.Fatalf("%d, %+v written, want %d, %+v", q.count, q.written, len(want), written)
			}
		}
		if round%2 == 0 {
			for _, d := range want {
				compare(t, q.front(), d)
			}
		} else {
			whole, shared := q.empty()
			for _, d := range want {
				if d.tied() {
					compare(t, whole[0], d)
					whole = whole[1:]
				} else if d.via != nil {
					compare(t, shared[0], d)
					shared = shared[1:]
				}
			}
			if len(whole)+len(shared) > 0 {
				t.Fatal("more than there was")
			}
		}
		if !reflect.DeepEqual(q, stash{}) {
			t.Fatalf("something is left: %+v", q)
		}
	}
}

func compare(t *testing.T, got, want *delivery) {
	t.Helper()
	if !reflect.DeepEqual(got, want) {
		t.Fatalf("got %+v of %+v, want %+v of %+v", got, got.msg, want, want.msg)
	}
}

// TestStashHoldsBytesOnly: what waits far behind holds neither its message nor
// more than its bytes.
func TestStashHoldsBytesOnly(t *testing.T) {
	var q stash
	var held []weak.Pointer[bridge.Message]
	func() {
		for i := range 1000 {
			d := newDelivery(&bridge.Message{Topic: fmt.Sprint("t/", i), Payload: make([]byte, 256)}, 1)
			held = append(held, weak.Make(d.msg))
			q.push(d)
		}
	}()
	runtime.GC()
	for i, m := range held {
		if m.Value() != nil {
			t.Fatalf("message %d is held", i)
		}
	}
	room := 0
	for _, b := range q.blocks {
		room += cap(b)
	}
	if room > q.written.bytes+stashMost {
		t.Errorf("%d bytes are set aside for %d", room, q.written.bytes)
	}
	runtime.KeepAlive(&q)
}

// TestSlowConsumer: who is not kept and reads slowly gets all that its queue has
// room for, in order and as it was published, though most of it waits written
// down; what has expired meanwhile is left out (B63, B100, B113, B118).
func TestSlowConsumer(t *testing.T) {
	h := open(t, people{}, plain(profileAWSEdge))
	sub, pub := h.join(5, "sub"), h.join(5, "pub")
	sub.subscribe(1, "t/#")
	const messages = 3 * nearMessages
	brief := func(pk *packets.Packet) { pk.Properties.MessageExpiryInterval = 10 }
	lasting := func(pk *packets.Packet) {
		pk.Properties.MessageExpiryInterval = 1000
		pk.Properties.User = []packets.UserProperty{{Key: "k", Val: "v"}}
		pk.Properties.CorrelationData = []byte{7}
	}
	for i := range messages {
		change := lasting
		if i > 100 && i%2 == 1 { // the first 100 are in flight
			change = brief
		}
		pub.send(publish(uint16(i+1), fmt.Sprintf("t/%d", i), strings.Repeat("x", i), change))
		pub.answered(0)
	}
	s := h.sessions.find("sub")
	s.mu.Lock()
	far := s.out.far.count
	s.mu.Unlock()
	if far < nearMessages {
		t.Fatalf("%d are written down", far)
	}
	h.clock.advance(100 * time.Second)
	for i := range messages {
		if i > 100 && i%2 == 1 {
			continue
		}
		pk := sub.take()
		p := pk.Properties
		if pk.TopicName != fmt.Sprintf("t/%d", i) || len(pk.Payload) != i || len(p.User) != 1 || len(p.CorrelationData) != 1 {
			t.Fatalf("message %d is %d bytes on %s, %+v", i, len(pk.Payload), pk.TopicName, p)
		}
		if i > 100 && (p.MessageExpiryInterval < 890 || p.MessageExpiryInterval > 900) {
			t.Fatalf("message %d expires in %d", i, p.MessageExpiryInterval)
		}
	}
	sub.expectNothing()
	if h.dropped("expired") == 0 {
		t.Error("what has expired is not counted")
	}
	eventually(t, "nothing is queued", func() bool { return h.Status().QueuedBytes == 0 && h.queued.bytes.Load() == 0 })
}

// TestSlowConsumerEnds: with the session ends what waits for it. A giver that
// awaits it learns it, and what came through a share group goes to another member
// (B176).
func TestSlowConsumerEnds(t *testing.T) {
	h := open(t, people{}, plain(profileAWSEdge))
	slow, pub := h.join(5, "slow"), h.join(5, "pub")
	slow.subscribe(1, "t", "$share/g/shared", "cmd")
	const messages = 2 * nearMessages
	for i := range messages {
		topic := "t"
		if i%2 == 1 {
			topic = "shared"
		}
		pub.send(publish(uint16(i+1), topic, fmt.Sprint(i)))
		pub.answered(0)
	}
	link := h.downlink()
	link.send("cmd", 1)
	eventually(t, "the command waits", func() bool {
		s := h.sessions.find("slow")
		s.mu.Lock()
		defer s.mu.Unlock()
		return s.out.far.whole.len() == 1
	})
	other := h.join(5, "other")
	other.subscribe(1, "$share/g/shared")
	h.leave(slow, "slow")
	link.expect(bridge.ResultLost)
	got := map[string]bool{}
	for len(got) < messages/2 {
		got[string(other.take().Payload)] = true
	}
	other.expectNothing()
	eventually(t, "nothing is queued", func() bool { return h.Status().QueuedBytes == 0 && h.queued.bytes.Load() == 0 })
}
