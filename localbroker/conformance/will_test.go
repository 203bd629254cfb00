package conformance

import (
	"bufio"
	"errors"
	"io"
	"slices"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	"github.com/mochi-mqtt/server/v2/packets"

	"github.com/ebbgate/ebbgate/localbroker"
)

func willDelay(seconds uint32) change {
	return func(pk *packets.Packet) { pk.Connect.WillProperties.WillDelayInterval = seconds }
}

func TestB164_Goodbye(t *testing.T) {
	t.Parallel()
	both(t, func(_ *testing.T, g *gate, version byte) {
		watcher := g.join(5, "watcher")
		watcher.listen(0, "last")
		d := g.join(version, "d", leaving("last", "word"))
		d.goodbye()
		g.wantEnd("client-disconnect")
		watcher.expectNothing()
	})
	for code, discarded := range map[int]bool{websocket.CloseNormalClosure: true, websocket.CloseProtocolError: false} {
		both(t, func(t *testing.T, g *gate, version byte) {
			watcher := g.overWebSocket(5)
			watcher.greets("watcher")
			watcher.listen(0, "last")
			d := g.overWebSocket(version)
			d.greets("d", leaving("last", "word"))
			ws := d.Conn.(*frames).Conn
			if err := ws.WriteControl(websocket.CloseMessage, websocket.FormatCloseMessage(code, ""), time.Now().Add(patience)); err != nil {
				t.Fatal(err)
			}
			g.wantEnd("connection-lost")
			if !discarded {
				watcher.expectMessage("last", "word")
			}
			watcher.expectNothing()
		}, func(s *setup) { s.lan().Type = "ws" })
	}
}

// frames is MQTT in binary frames of a WebSocket.
type frames struct {
	*websocket.Conn
	rest io.Reader
}

func (f *frames) Read(p []byte) (int, error) {
	for {
		if f.rest == nil {
			_, r, err := f.NextReader()
			if err != nil {
				return 0, err
			}
			f.rest = r
		}
		n, err := f.rest.Read(p)
		if err == nil || n > 0 {
			return n, nil
		}
		if f.rest = nil; err != io.EOF {
			return 0, err
		}
	}
}

func (f *frames) Write(p []byte) (int, error) {
	return len(p), f.WriteMessage(websocket.BinaryMessage, p)
}

func (f *frames) SetDeadline(t time.Time) error {
	return errors.Join(f.SetReadDeadline(t), f.SetWriteDeadline(t))
}

// overWebSocket opens a WebSocket.
func (g *gate) overWebSocket(version byte) *device {
	g.tb.Helper()
	dialer := websocket.Dialer{Subprotocols: []string{"mqtt"}}
	conn, answer, err := dialer.Dial("ws://"+g.Addrs()["lan"].String()+"/mqtt", nil)
	if err != nil {
		g.tb.Fatal(err)
	}
	_ = answer.Body.Close()
	g.tb.Cleanup(func() { _ = conn.Close() })
	stream := &frames{Conn: conn}
	return &device{Conn: stream, tb: g.tb, in: bufio.NewReader(stream), version: version}
}

// greets connects and expects success.
func (d *device) greets(id string, changes ...change) {
	d.tb.Helper()
	if ack := d.connect(id, changes...); ack.ReasonCode != 0 {
		d.tb.Fatalf("CONNACK %#x", ack.ReasonCode)
	}
}

func TestB165_GoodbyeWithWill(t *testing.T) {
	t.Parallel()
	g := open(t)
	watcher := g.join(5, "watcher")
	watcher.listen(0, "last")
	d := g.join(5, "d", leaving("last", "word"))
	d.goodbye(func(pk *packets.Packet) { pk.ReasonCode = 0x04 })
	watcher.expectMessage("last", "word")
}

func TestB166_WillOfOtherEnds(t *testing.T) {
	t.Parallel()
	ends := map[string]func(g *gate, d *device, version byte){
		"lost":             func(_ *gate, d *device, _ byte) { _ = d.Close() },
		"keep alive":       func(g *gate, d *device, _ byte) { g.silence(d, 91*time.Second) },
		"take-over":        func(g *gate, _ *device, version byte) { g.join(version, "d") },
		"protocol error":   func(_ *gate, d *device, _ byte) { d.send(hello("d")) },
		"malformed packet": func(_ *gate, d *device, _ byte) { d.write(0x30, 1, 0) },
		"a quota":          func(_ *gate, d *device, _ byte) { d.send(subscribing(0, filters(9)...)) },
		"by an administrator": func(g *gate, _ *device, _ byte) {
			g.Kick("d")
		},
	}
	for name, end := range ends {
		t.Run(name, func(t *testing.T) {
			both(t, func(_ *testing.T, g *gate, version byte) {
				watcher := g.join(5, "watcher", keepAlive(1200))
				watcher.listen(0, "last")
				d := g.join(version, "d", leaving("last", "word"))
				end(g, d, version)
				watcher.expectMessage("last", "word")
			})
		})
	}
}

func TestB167_WillAndPolicy(t *testing.T) {
	t.Parallel()
	both(t, func(_ *testing.T, g *gate, version byte) {
		watcher := g.join(5, "watcher")
		watcher.listen(0, "last")
		g.dial(version).wantRefused(0x87, 5, "stranger", leaving("last", "refused"))
		d := g.join(version, "d", leaving("last", "word"))
		d.send(publish(0, "forbidden/t", "x"))
		d.expectGoodbye(0x87)
		watcher.expectMessage("last", "word")
		watcher.expectNothing()
	})
}

func TestB168_WillExpiry(t *testing.T) {
	t.Parallel()
	g := open(t)
	absent := g.join(5, "absent", persistent(3600))
	absent.listen(1, "last")
	g.cut(absent, "absent")
	d := g.join(5, "d", keepAlive(1200), leaving("last", "word", func(pk *packets.Packet) {
		pk.Connect.WillQos, pk.Connect.WillProperties.MessageExpiryInterval = 1, 60
	}))
	g.clock.advance(100 * time.Second) // longer than the expiry, before the end
	g.cut(d, "d")
	g.clock.advance(30 * time.Second)
	again := g.join(5, "absent", persistent(3600))
	if left := again.expectMessage("last", "word").Properties.MessageExpiryInterval; left == 0 || left > 30 {
		t.Errorf("%d seconds are left, want 29", left)
	}
}

func TestB169_WillDelay(t *testing.T) {
	t.Parallel()
	start := func(changes ...func(*setup)) (*gate, *device) {
		g := open(t, changes...)
		watcher := g.join(5, "watcher")
		watcher.listen(0, "last")
		d := g.join(5, "d", persistent(600), leaving("last", "word", willDelay(60)))
		g.cut(d, "d")
		return g, watcher
	}
	_, watcher := start()
	watcher.expectMessage("last", "word")
	g, watcher := start(with(func(s *localbroker.SwitchOptions) { s.WillDelay = "honour" }))
	watcher.expectNothing()
	g.clock.advance(61 * time.Second)
	watcher.expectMessage("last", "word")
}

func TestB170_WillProperties(t *testing.T) {
	t.Parallel()
	g := open(t)
	watcher := g.join(5, "watcher")
	watcher.listen(1, "last")
	d := g.join(5, "d", leaving("last", "word", func(pk *packets.Packet) {
		w := &pk.Connect.WillProperties
		w.PayloadFormat, w.PayloadFormatFlag = 1, true
		w.ContentType, w.ResponseTopic, w.CorrelationData = "text", "answers", []byte{7}
		w.MessageExpiryInterval = 100
		w.User = []packets.UserProperty{{Key: "b", Val: "1"}, {Key: "a", Val: "2"}}
		pk.Connect.WillQos = 1
	}))
	g.cut(d, "d")
	p := watcher.expectMessage("last", "word").Properties
	if p.PayloadFormat != 1 || p.ContentType != "text" || p.ResponseTopic != "answers" || string(p.CorrelationData) != "\x07" ||
		p.MessageExpiryInterval < 90 || len(p.User) != 2 || p.User[0].Key != "b" {
		t.Errorf("properties %+v", p)
	}
}

func TestB171_WillAndReturn(t *testing.T) {
	t.Parallel()
	both(t, func(t *testing.T, g *gate, version byte) {
		watcher := g.join(version, "watcher")
		watcher.listen(1, "state")
		g.join(version, "d", leaving("state", "gone"))
		d := g.join(version, "d") // takes the first one over
		d.say("state", "back")
		got := []string{string(watcher.take().Payload), string(watcher.take().Payload)}
		if slices.Sort(got); !slices.Equal(got, []string{"back", "gone"}) {
			t.Errorf("got %v", got)
		}
		watcher.expectNothing()
	})
}

func TestB172_WillTopicReserved(t *testing.T) {
	t.Parallel()
	both(t, func(_ *testing.T, g *gate, version byte) {
		for _, topic := range []string{"$mine/t", "a/+", "#"} {
			g.dial(version).wantRefused(0x90, 0, "d", leaving(topic, "word"))
		}
		g.join(version, "d", leaving("$aws/things/d/last", "word"))
	})
}
