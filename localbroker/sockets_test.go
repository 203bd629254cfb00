package localbroker

import (
	"errors"
	"io"
	"net"
	"os"
	"testing"
	"time"

	"github.com/mochi-mqtt/server/v2/packets"

	"github.com/ebbgate/ebbgate/internal/peers"
)

// silentSockets opens sockets that say nothing, or half a CONNECT.
func (h *house) silentSockets(n int) []net.Conn {
	h.tb.Helper()
	var out []net.Conn
	for i := range n {
		before := h.Status().Sockets
		conn, err := net.Dial("tcp", h.addr())
		if err != nil {
			h.tb.Fatal(err)
		}
		h.tb.Cleanup(func() { _ = conn.Close() })
		if i%2 == 0 {
			if _, err := conn.Write([]byte("\x10\x20\x00\x04MQ")); err != nil {
				h.tb.Fatal(err)
			}
		}
		eventually(h.tb, "the socket is accepted", func() bool { return h.Status().Sockets > before || before >= 21 })
		out = append(out, conn)
	}
	return out
}

// closed waits until sockets are closed.
func closed(tb testing.TB, conns []net.Conn) {
	tb.Helper()
	for i, conn := range conns {
		_ = conn.SetReadDeadline(time.Now().Add(patience))
		if _, err := io.Copy(io.Discard, conn); isTimeout(err) {
			tb.Fatalf("socket %d is still open", i)
		}
	}
}

// TestUnfinishedMakeRoom: above limits.unfinished sockets without a CONNECT go
// after half of their time, the oldest first; those that have just come stay, as
// do devices that are in.
func TestUnfinishedMakeRoom(t *testing.T) {
	o := plain(profileAWSEdge)
	o.Limits.Unfinished = 10
	h, clock := openPaced(t, nil, o)
	present := h.join(5, "present")
	idle := h.silentSockets(20) // ten too many, and all fresh
	h.join(5, "between")
	if n := h.Status().Sockets; n != 22 {
		t.Errorf("%d sockets", n)
	}
	clock.advance(o.Limits.ConnectTimeout/2 + time.Second)
	h.join(5, "new")
	closed(t, idle[:11])
	eventually(t, "nine are left", func() bool { return h.Status().Sockets == 12 })
	if why := receive(t, "a refusal", h.no); why != "unfinished-count" {
		t.Errorf("refused for %s", why)
	}
	present.expectNothing()
}

// TestUnfinishedTakeNobodysPlace: when idle sockets are all that a listener, or
// the broker, may have, whoever comes takes the place of the oldest, and they do
// not count as its connections.
func TestUnfinishedTakeNobodysPlace(t *testing.T) {
	for name, tune := range map[string]func(*Options){
		"listener": func(o *Options) { o.Listeners[0].Limits.Connections = 5 },
		"broker":   func(o *Options) { o.Broker.Sockets = 21 },
	} {
		t.Run(name, func(t *testing.T) {
			h := openOptions(t, people{}, func(*Deps) {}, tune, plain(profileAWSEdge))
			idle := h.silentSockets(21)
			for i := range 4 {
				h.join(5, string(rune('a'+i)))
			}
			closed(t, idle[:4])
			dial(t, h.addr(), 5).connect("e")
		})
	}
}

func isTimeout(err error) bool {
	return errors.Is(err, os.ErrDeadlineExceeded)
}

// TestSlowHandshakes: TLS, a WebSocket's request and a CONNECT have one deadline
// together, whatever arrives meanwhile.
func TestSlowHandshakes(t *testing.T) {
	ca := peers.CA(t)
	encrypted := secure(ca, profileAWSEdge, clientFingerprint)
	for name, tt := range map[string]struct {
		listener ListenerOptions
		begins   string
	}{
		"tls":       {encrypted, "\x16\x03\x01\x02\x00\x01"},
		"websocket": {webListener(profileAWSEdge), "GET /mqtt HTTP/1.1\r\nHost: x\r\n"},
		"connect":   {plain(profileAWSEdge), "\x10\x20\x00\x04MQ"},
	} {
		t.Run(name, func(t *testing.T) {
			tt.listener.Limits.ConnectTimeout = 200 * time.Millisecond
			h := open(t, people{}, tt.listener)
			conn, err := net.Dial("tcp", h.addr())
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			closed := make(chan error, 1)
			go func() {
				_, err := io.Copy(io.Discard, conn)
				closed <- err
			}()
			tick := time.NewTicker(20 * time.Millisecond)
			defer tick.Stop()
			for i := 0; ; i++ { // a byte now and then, for as long as it is taken
				select {
				case <-closed:
					receive(t, "the refusal", h.no)
					return
				case <-tick.C:
				}
				if i > 500 {
					t.Fatal("the socket stays open")
				}
				next := byte('a') // what never ends
				if i < len(tt.begins) {
					next = tt.begins[i]
				}
				_, _ = conn.Write([]byte{next}) // it fails once the socket is closed
			}
		})
	}
}

// TestSocketsOfAllListeners: broker.sockets bounds them together.
func TestSocketsOfAllListeners(t *testing.T) {
	other := plain(profileMQTT)
	other.Name = "other"
	h := openOptions(t, people{}, func(*Deps) {}, func(o *Options) { o.Broker.Sockets = 2 }, plain(profileAWS), other)
	first := h.join(5, "first")
	second := dial(t, h.listeners[1].addr().String(), 5)
	second.connect("second")
	for _, l := range h.listeners {
		dial(t, l.addr().String(), 5).expectEnd()
		if why := receive(t, "the refusal", h.no); why != "socket-count" {
			t.Errorf("refused for %s", why)
		}
	}
	h.leave(first, "first")
	eventually(t, "room", func() bool { return h.sockets.Load() == 1 })
	second.expectNothing()
	h.join(5, "third")
}

// TestB09_WebSocketLifetime: a WebSocket ends at its age, and its will is
// published (B166, Q42); other connections have no such bound.
func TestB09_WebSocketLifetime(t *testing.T) {
	c := &clock{}
	web := webListener(profileAWS)
	web.Name, web.Quotas.WebSocketLifetime = "web", time.Minute // less than a silence may last
	h := openWith(t, people{}, func(d *Deps) { d.Now = c.now }, web, plain(profileAWS))
	tcp := dial(t, h.listeners[1].addr().String(), 5)
	tcp.connect("tcp")
	tcp.subscribe(0, "will")
	d, _, _, err := webDial(t, "ws://"+h.addr()+"/mqtt", nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	d.connect("web", func(pk *packets.Packet) {
		pk.Connect.WillFlag, pk.Connect.WillTopic, pk.Connect.WillPayload = true, "will", []byte("bye")
	})
	c.advance(50 * time.Second)
	h.endWebSockets(c.now())
	d.expectNothing()
	c.advance(20 * time.Second)
	d.expectGoodbye(0x98)
	if pk := tcp.expect(packets.Publish); string(pk.Payload) != "bye" {
		t.Errorf("the will is %q", pk.Payload)
	}
	if why := receive(t, "the end", h.ended); why != "websocket-expired" {
		t.Errorf("ended for %s", why)
	}
	tcp.expectNothing()
}

// TestBoundOfOurOwn: limits.publishes_per_second holds in every profile, where
// AWS's quota does not.
func TestBoundOfOurOwn(t *testing.T) {
	for _, profile := range []string{profileAWSEdge, profileMQTT} {
		t.Run(profile, func(t *testing.T) {
			o := paced(profile)
			o.Limits.PublishesPerSec = 2
			h := open(t, people{}, o)
			d := h.join(5, "d")
			for id := uint16(1); id <= 4; id++ {
				d.send(publish(id, "t", "x"))
			}
			if codes := d.acks(4); string(codes) != "\x00\x00\x97\x97" {
				t.Errorf("PUBACKs %x", codes)
			}
		})
	}
}
