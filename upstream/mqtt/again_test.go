package mqtt

import (
	"fmt"
	"testing"
	"time"

	"github.com/eclipse/paho.golang/packets"

	"github.com/ebbgate/ebbgate/bridge"
	"github.com/ebbgate/ebbgate/upstream"
)

// slowed is how often a link was slowed down.
func slowed(l bridge.Link) int64 { return l.(eager).Link.(*link).c.bucket.Pace().Throttled }

// A message that is refused with 0x97 slows the connection down, but not when it has
// come back twice: others may be taken all the time, and it is about this one.
func TestARefusalAgainSlowsNothingDown(t *testing.T) {
	for attempt, want := range map[int]int64{1: 1, 2: 1, 3: 0, 4: 0, 100: 0} {
		s := serve(t, func(b *broker) {
			b.accept(packets.Properties{})
			b.answer(0x97, "")
		})
		l := connect(t, quick(s.addr), upstream.Hooks{})
		d := delivery("dt/x", nil)
		d.Attempt = attempt
		send(t, l, d)
		if got := slowed(l); got != want {
			t.Errorf("slowed down %d times after transmission %d", got, attempt)
		}
	}
}

// The same of a message that is never answered, while the broker lives.
func TestSilenceAgainSlowsNothingDown(t *testing.T) {
	for attempt, want := range map[int]int64{2: 1, 3: 0} {
		s := serve(t, func(b *broker) {
			b.accept(packets.Properties{})
			for cp := b.next(); cp != nil; cp = b.next() {
				if p, ok := cp.Content.(*packets.Publish); ok && p.Topic != "silence" {
					b.send(&packets.Puback{PacketID: p.PacketID, Properties: &packets.Properties{}})
				}
			}
		})
		o := quick(s.addr)
		o.AckTimeout = 200 * time.Millisecond
		l := connect(t, o, upstream.Hooks{})
		d := delivery("silence", nil)
		d.Attempt = attempt
		if err := l.Send(t.Context(), d, func(bridge.Outcome) {}); err != nil {
			t.Fatal(err)
		}
		for l.Err() == nil {
			_ = l.Send(t.Context(), delivery("a", nil), func(bridge.Outcome) {}) // fails when the link has ended
		}
		receive(t, l.Done(), "the link goes down")
		if got := slowed(l); got != want {
			t.Errorf("slowed down %d times by transmission %d", got, attempt)
		}
	}
}

// The same of a message on which the broker ends the link, when nothing else was on its
// way.
func TestAnEndAgainSlowsNothingDown(t *testing.T) {
	for _, c := range []struct {
		attempts []int
		want     int64
	}{{[]int{1}, 1}, {[]int{3}, 0}, {[]int{3, 3}, 1}, {nil, 1}} {
		t.Run(fmt.Sprint(c.attempts), func(t *testing.T) {
			s := serve(t, func(b *broker) {
				b.accept(packets.Properties{})
				for range c.attempts {
					b.next()
				}
				b.send(&packets.Disconnect{ReasonCode: 0x97, Properties: &packets.Properties{}})
			})
			l := connect(t, quick(s.addr), upstream.Hooks{})
			for _, attempt := range c.attempts {
				d := delivery("dt/x", nil)
				d.Attempt = attempt
				if err := l.Send(t.Context(), d, func(bridge.Outcome) {}); err != nil {
					t.Fatal(err)
				}
			}
			receive(t, l.Done(), "the link goes down")
			if got := slowed(l); got != c.want {
				t.Errorf("slowed down %d times, want %d", got, c.want)
			}
		})
	}
}

// What bounds the waits between links that end soon is that a message was taken.
func TestALinkIsOfUseWhenAMessageIsTaken(t *testing.T) {
	const links = 6
	for code, want := range map[byte]int{0: 4, 0x97: links} {
		s := serve(t, func(b *broker) {
			b.accept(packets.Properties{})
			if cp := b.next(); cp != nil {
				b.send(&packets.Puback{PacketID: cp.Content.(*packets.Publish).PacketID, ReasonCode: code, Properties: &packets.Properties{}})
			}
			_ = b.Close()
		})
		u := NewUplink(quick(s.addr), "gateway", discard(), upstream.Hooks{})
		for range links {
			l, err := u.Connect(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			send(t, eager{l}, delivery("dt/x", nil))
			receive(t, l.Done(), "the link goes down")
		}
		if n := u.backoff.Attempts(); n != want {
			t.Errorf("after %d links on which a message was answered with %#x it counts %d attempts, want %d", links, code, n, want)
		}
	}
}
