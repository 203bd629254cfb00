package mqtt

import (
	"context"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/eclipse/paho.golang/packets"

	"github.com/ebbgate/ebbgate/bridge"
	"github.com/ebbgate/ebbgate/upstream"
)

// piped makes dialling end at play, in memory, so that time can be virtual.
func piped(t *testing.T, d *dialer, plays ...func(*broker)) {
	n := 0
	var wg sync.WaitGroup
	t.Cleanup(wg.Wait)
	d.reach = func(context.Context, string) (net.Conn, error) {
		ours, theirs := net.Pipe()
		play := plays[min(n, len(plays)-1)]
		n++
		wg.Go(func() {
			defer theirs.Close()
			play(&broker{theirs, t})
		})
		return ours, nil
	}
}

// virtual runs f with a link to play, in virtual time.
func virtual(t *testing.T, o Options, play func(*broker), f func(t *testing.T, l bridge.Link)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		u := NewUplink(o, "gateway", discard(), upstream.Hooks{})
		piped(t, &u.dialer, play)
		l, err := u.Connect(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		f(t, eager{l})
		_ = l.Close()
		<-l.Done()
	})
}

// unhurried are options with which nothing happens by itself for an hour.
func unhurried() Options {
	o := quick("pipe")
	o.KeepAlive, o.AckTimeout = time.Hour, time.Hour
	o.Backoff = upstream.BackoffOptions{Base: time.Hour, Max: time.Hour, Floor: time.Hour}
	return o
}

// holding is a broker that has been sent a message and does not acknowledge it
// until it is released. Then there is another broker, for the next link.
type holding struct {
	release chan struct{}
	last    atomic.Int32 // type of the last packet that it got
}

func hold(t *testing.T, d *dialer) *holding {
	h := &holding{release: make(chan struct{})}
	piped(t, d, func(b *broker) {
		b.accept(packets.Properties{})
		p := expect[*packets.Publish](b)
		<-h.release
		b.send(&packets.Puback{PacketID: p.PacketID, Properties: &packets.Properties{}})
		if cp := b.pong(); cp != nil {
			h.last.Store(int32(cp.Type))
		}
	}, func(b *broker) {
		b.accept(packets.Properties{})
		b.pong()
	})
	return h
}

// give sends the message.
func (h *holding) give(t *testing.T, l bridge.Link) <-chan bridge.Outcome {
	outcome := make(chan bridge.Outcome, 1)
	if err := l.Send(t.Context(), delivery("a", nil), func(o bridge.Outcome) { outcome <- o }); err != nil {
		t.Fatal(err)
	}
	l.Flush()
	return outcome
}

// acknowledged releases the broker and waits until the link has ended, politely.
func (h *holding) acknowledged(t *testing.T, l bridge.Link, outcome <-chan bridge.Outcome) {
	close(h.release)
	if o := <-outcome; o.Result != bridge.ResultAcked {
		t.Errorf("outcome %+v", o)
	}
	<-l.Done()
}

// leftPolitely says whether the last word was goodbye. Ask when both links are over.
func (h *holding) leftPolitely() bool { return byte(h.last.Load()) == packets.DISCONNECT }

func TestIdleLinkLivesByPings(t *testing.T) {
	var pings atomic.Int32
	virtual(t, quick("pipe"), func(b *broker) {
		b.accept(packets.Properties{})
		for cp := b.next(); cp != nil; cp = b.next() {
			if cp.Type == packets.PINGREQ {
				pings.Add(1)
				_, _ = b.Write([]byte{packets.PINGRESP << 4, 0})
			}
		}
	}, func(t *testing.T, l bridge.Link) {
		time.Sleep(10 * time.Minute)
		if err := l.Err(); err != nil {
			t.Errorf("ended by %v", err)
		}
		if n := pings.Load(); n < 20 || n > 42 {
			t.Errorf("%d pings in 10 minutes with a keep alive of 30 s", n)
		}
	})
}

func TestSilenceEndsTheLinkWithinAKeepAlive(t *testing.T) {
	for _, c := range []struct {
		name  string
		props packets.Properties
		want  time.Duration
	}{
		{"ours", packets.Properties{}, 30 * time.Second},
		{"the broker's", packets.Properties{ServerKeepAlive: of(uint16(60))}, 60 * time.Second},
	} {
		t.Run(c.name, func(t *testing.T) {
			virtual(t, quick("pipe"), func(b *broker) {
				b.accept(c.props)
				b.drain()
			}, func(t *testing.T, l bridge.Link) {
				start := time.Now()
				<-l.Done()
				if d := time.Since(start); d < c.want-time.Second || d > c.want*5/4 {
					t.Errorf("ended after %v, want about %v", d, c.want)
				}
				if !strings.Contains(l.Err().Error(), "PINGREQ") {
					t.Errorf("ended by %v", l.Err())
				}
			})
		})
	}
}

func TestABrokerThatReadsNothingIsNoticed(t *testing.T) {
	virtual(t, quick("pipe"), func(b *broker) {
		b.accept(packets.Properties{})
		time.Sleep(time.Hour) // the pipe has no buffer: our writer hangs
	}, func(t *testing.T, l bridge.Link) {
		outcome := make(chan bridge.Outcome, 1)
		if err := l.Send(t.Context(), delivery("a", nil), func(o bridge.Outcome) { outcome <- o }); err != nil {
			t.Fatal(err)
		}
		start := time.Now()
		<-l.Done()
		if d := time.Since(start); d > 31*time.Second {
			t.Errorf("ended after %v", d)
		}
		if o := <-outcome; o.Result != bridge.ResultLost {
			t.Errorf("outcome %+v", o)
		}
	})
}

func TestSlowLinkIsNotTakenForADeadOne(t *testing.T) {
	const messages = 20
	virtual(t, quick("pipe"), func(b *broker) {
		b.accept(packets.Properties{})
		var ids []uint16
		for len(ids) < messages {
			ids = append(ids, expect[*packets.Publish](b).PacketID)
		}
		go func() {
			for cp := b.next(); cp != nil; cp = b.next() {
			}
		}()
		for _, id := range ids {
			time.Sleep(14 * time.Second) // all together far beyond the time-out, each within it
			b.send(&packets.Puback{PacketID: id, Properties: &packets.Properties{}})
		}
		time.Sleep(time.Second)
	}, func(t *testing.T, l bridge.Link) {
		acked := make(chan bridge.Outcome, messages)
		for range messages {
			if err := l.Send(t.Context(), delivery("a", nil), func(o bridge.Outcome) { acked <- o }); err != nil {
				t.Fatal(err)
			}
		}
		for range messages {
			if o := <-acked; o.Result != bridge.ResultAcked {
				t.Fatalf("outcome %+v; link %v", o, l.Err())
			}
		}
	})
}

func TestAckTimeoutIsCountedFromTheSend(t *testing.T) {
	virtual(t, quick("pipe"), func(b *broker) {
		b.accept(packets.Properties{})
		for cp := b.next(); cp != nil; cp = b.next() {
			if cp.Type == packets.PINGREQ {
				_, _ = b.Write([]byte{packets.PINGRESP << 4, 0})
			}
		}
	}, func(t *testing.T, l bridge.Link) {
		time.Sleep(time.Hour)
		start := time.Now()
		if err := l.Send(t.Context(), delivery("a", nil), func(bridge.Outcome) {}); err != nil {
			t.Fatal(err)
		}
		<-l.Done()
		if d := time.Since(start); d < 20*time.Second || d > 26*time.Second {
			t.Errorf("ended after %v with an ack_timeout of 20s: %v", d, l.Err())
		}
	})
}

func TestPublishesAreSpacedOnTheWire(t *testing.T) {
	o := quick("pipe")
	o.Limits = upstream.DefaultLimits()
	at := make(chan time.Time, 400)
	virtual(t, o, func(b *broker) {
		b.accept(packets.Properties{})
		for cp := b.next(); cp != nil; cp = b.next() {
			if p, ok := cp.Content.(*packets.Publish); ok {
				at <- time.Now()
				b.send(&packets.Puback{PacketID: p.PacketID, Properties: &packets.Properties{}})
			}
		}
	}, func(t *testing.T, l bridge.Link) {
		for range 400 {
			if err := l.Send(t.Context(), delivery("a", nil), func(bridge.Outcome) {}); err != nil {
				t.Fatal(err)
			}
		}
	})
	close(at)
	var came []time.Time
	for when := range at {
		came = append(came, when)
	}
	for i := range came {
		if i >= 100 && came[i].Sub(came[i-100]) < time.Second {
			t.Fatalf("messages %d to %d came within %v: AWS would discard one (Q06)", i-100, i, came[i].Sub(came[i-100]))
		}
	}
}

func TestTakenOverWarningEndsWithAStableLink(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var health bridge.Health
		u := NewUplink(quick("pipe"), "gateway", discard(), upstream.Hooks{
			Raise: func(w bridge.Warning) { health.Raise(w) },
			Clear: func(code string) { health.Clear(code) },
		})
		piped(t, &u.dialer, func(b *broker) {
			b.accept(packets.Properties{})
			b.send(&packets.Disconnect{ReasonCode: 0x8E, Properties: &packets.Properties{}})
		}, func(b *broker) {
			b.accept(packets.Properties{})
			for cp := b.next(); cp != nil; cp = b.next() {
				if cp.Type == packets.PINGREQ {
					_, _ = b.Write([]byte{packets.PINGRESP << 4, 0})
				}
			}
		})
		l, _ := u.Connect(t.Context())
		<-l.Done()
		l, err := u.Connect(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(29 * time.Second)
		if len(health.Warnings()) != 1 {
			t.Errorf("warnings %v, want the one of being taken over", health.Warnings())
		}
		time.Sleep(2 * time.Second)
		if len(health.Warnings()) != 0 {
			t.Errorf("warnings %v after a stable link", health.Warnings())
		}
		_ = l.Close()
		<-l.Done()
	})
}
