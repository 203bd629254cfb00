package mqtt

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/eclipse/paho.golang/packets"

	"github.com/ebbgate/ebbgate/bridge"
	"github.com/ebbgate/ebbgate/upstream"
)

// pong answers pings until the connection ends, and returns what else came.
func (b *broker) pong() *packets.ControlPacket {
	for cp := b.next(); cp != nil; cp = b.next() {
		if cp.Type != packets.PINGREQ {
			return cp
		}
		_, _ = b.Write([]byte{packets.PINGRESP << 4, 0})
	}
	return nil
}

func TestConnectEndsThePreviousLinkFirst(t *testing.T) {
	first := make(chan byte, 1)
	s := serve(t, func(b *broker) {
		b.accept(packets.Properties{})
		if cp := b.pong(); cp != nil {
			first <- cp.Type
		}
	}, func(b *broker) {
		b.accept(packets.Properties{})
		b.drain()
	})
	u := NewUplink(quick(s.addr), "gateway", discard(), upstream.Hooks{})
	l, err := u.Connect(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	again, err := u.Connect(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if l.Err() == nil {
		t.Error("two links of one client id")
	}
	if kind := receive(t, first, "the first link's last packet"); kind != packets.DISCONNECT {
		t.Errorf("the first link ended with packet type %d", kind)
	}
	_ = again.Close()
	receive(t, again.Done(), "the link goes down")
}

func TestStableLinksKeepTheWaitsSmall(t *testing.T) {
	for _, c := range []struct {
		name  string
		lived time.Duration
		want  time.Duration // the fifth wait, at most drawn
	}{
		{"stable", 31 * time.Second, time.Second},
		{"unstable", 5 * time.Second, 16 * time.Second},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				u := NewUplink(quick("pipe"), "gateway", discard(), upstream.Hooks{})
				u.backoff = upstream.NewBackoff(upstream.BackoffOptions{Base: time.Second, Max: time.Hour}, func(d time.Duration) time.Duration { return d - 1 })
				piped(t, &u.dialer, func(b *broker) {
					b.accept(packets.Properties{})
					time.AfterFunc(c.lived, func() { _ = b.Close() })
					b.pong()
				})
				var waited time.Duration
				for range 6 {
					start := time.Now()
					l, err := u.Connect(t.Context())
					if err != nil {
						t.Fatal(err)
					}
					waited = time.Since(start)
					<-l.Done()
				}
				if waited != c.want {
					t.Errorf("the fifth wait was %v, want %v", waited, c.want)
				}
			})
		})
	}
}

func TestInboundMessagesTakeTokens(t *testing.T) {
	o := quick("pipe")
	o.Limits.MessagesPerSecond = 10
	virtual(t, o, func(b *broker) {
		b.accept(packets.Properties{})
		for range 5 {
			b.send(&packets.Publish{Topic: "direct", Properties: &packets.Properties{}})
		}
		b.pong()
	}, func(t *testing.T, l bridge.Link) {
		synctest.Wait() // they have come
		start := time.Now()
		if err := l.Send(t.Context(), delivery("a", nil), func(bridge.Outcome) {}); err != nil {
			t.Fatal(err)
		}
		if d := time.Since(start); d < 400*time.Millisecond {
			t.Errorf("the next message waited %v for the debt of five", d)
		}
	})
}

func TestNothingIsReportedOnceALinkHasEnded(t *testing.T) {
	s := serve(t, func(b *broker) {
		b.accept(packets.Properties{})
		b.drain()
	})
	l := connect(t, quick(s.addr), upstream.Hooks{})
	_ = l.Close()
	receive(t, l.Done(), "the link goes down")
	for name, d := range map[string]*bridge.Delivery{
		"QoS 1":           delivery("a", nil),
		"QoS 0":           delivery("a", nil, func(r *bridge.Record) { r.Receivers[0].QoS = 0 }),
		"refused locally": delivery("a/#", nil),
	} {
		if err := l.Send(t.Context(), d, func(bridge.Outcome) { t.Errorf("%s was reported", name) }); err == nil {
			t.Errorf("%s was sent", name)
		}
	}
}
