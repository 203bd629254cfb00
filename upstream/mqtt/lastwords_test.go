package mqtt

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/eclipse/paho.golang/packets"

	"github.com/ebbgate/ebbgate/bridge"
	"github.com/ebbgate/ebbgate/upstream"
)

// TestLastWordsAreHeard: a write that meets a reset does not close the ears. What
// the broker had said is why the link ended; when it said nothing the reset is.
func TestLastWordsAreHeard(t *testing.T) {
	for _, c := range []struct {
		name      string
		says      bool
		suspected bool // a message of ours may be the cause
	}{
		{"taken over", true, false},
		{"nothing", false, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				gone := make(chan struct{})
				u := NewUplink(quick("pipe"), "gateway", discard(), upstream.Hooks{})
				piped(t, &u.dialer, func(b *broker) {
					b.accept(packets.Properties{})
					<-gone
					if c.says {
						b.send(&packets.Disconnect{ReasonCode: packets.DisconnectSessionTakenOver, Properties: &packets.Properties{}})
					}
					b.drain()
				})
				l, err := u.Connect(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				l.(*link).c.writeFailed(fmt.Errorf("write: %w", syscall.ECONNRESET))
				close(gone)
				<-l.Done()
				_, said := errors.AsType[*DisconnectedError](l.Err())
				if said != c.says || errors.Is(l.Err(), bridge.ErrClosedByPeer) != c.suspected {
					t.Errorf("ended by %v", l.Err())
				}
			})
		})
	}
}

// TestAPingWaitsAsLongAsTheQueueMoves: on a slow link the PINGREQ stands behind
// what was written before it.
func TestAPingWaitsAsLongAsTheQueueMoves(t *testing.T) {
	s, _ := ends(t)
	c := newConn(s, s, upstream.NewBucket(upstream.Limits{}), discard())
	c.keepAlive = 10 * time.Second
	pinged, taken := time.Second, s.fd.taken()
	if _, err := s.Write(make([]byte, 1000)); err != nil {
		t.Fatal(err)
	}
	await(t, "the other side's kernel takes it", func() bool { return s.fd.taken() > taken })
	if err := c.ping(6*time.Second, &pinged, &taken); err != nil {
		t.Errorf("the queue moves, and: %v", err)
	}
	if err := c.ping(11*time.Second, &pinged, &taken); err == nil {
		t.Error("nothing moves and nothing comes, and the link is taken to be alive")
	}
}

// TestEveryOutcomeComesOnce, whoever ends the link, and at whatever moment.
func TestEveryOutcomeComesOnce(t *testing.T) {
	for round := range 40 {
		rnd := rand.New(rand.NewPCG(uint64(round), 7))
		acks, reset, slow := rnd.IntN(3000), rnd.IntN(2) == 0, rnd.IntN(2) == 0
		s := serve(t, func(b *broker) {
			if slow {
				_ = b.Conn.(*net.TCPConn).SetReadBuffer(128 << 10)
			}
			b.accept(packets.Properties{})
			for range acks {
				cp := b.next()
				if cp == nil {
					return
				}
				if p, ok := cp.Content.(*packets.Publish); ok && p.QoS == 1 {
					b.send(&packets.Puback{PacketID: p.PacketID, Properties: &packets.Properties{}})
				}
			}
			if reset {
				_ = b.Conn.(*net.TCPConn).SetLinger(0)
				return
			}
			b.drain()
		})
		l := connect(t, quick(s.addr), upstream.Hooks{}).(eager).Link
		var closing *time.Timer
		if !reset {
			closing = time.AfterFunc(time.Duration(rnd.IntN(60_000))*time.Microsecond, func() { _ = l.Close() })
		}
		const n = 4000
		outcomes := make([]atomic.Int32, n)
		accepted := 0
		for i := range n {
			d := delivery("a", make([]byte, rnd.IntN(3000)))
			if rnd.IntN(3) == 0 {
				d.Receiver.QoS = 0
			}
			if l.Send(t.Context(), d, func(bridge.Outcome) { outcomes[i].Add(1) }) != nil {
				break
			}
			accepted++
			if rnd.IntN(20) == 0 {
				l.Flush()
			}
		}
		if closing != nil {
			closing.Stop()
		}
		_ = l.Close()
		receive(t, l.Done(), "the end")
		for i := range n {
			want := int32(0)
			if i < accepted {
				want = 1
			}
			if got := outcomes[i].Load(); got != want {
				t.Fatalf("round %d: message %d of %d has %d outcomes", round, i, accepted, got)
			}
		}
	}
}
