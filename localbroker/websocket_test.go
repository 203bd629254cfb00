package localbroker

import (
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	"github.com/mochi-mqtt/server/v2/packets"

	"github.com/ebbgate/ebbgate/bridge"
	"github.com/ebbgate/ebbgate/internal/peers"
)

func webListener(profile string) ListenerOptions {
	o := plain(profile)
	o.Type = typeWS
	return o
}

// webDial opens a WebSocket as a device; the stream under test is the broker's.
func webDial(tb testing.TB, url string, cfg *tls.Config, header http.Header) (*device, *websocket.Conn, *http.Response, error) {
	dialer := websocket.Dialer{Subprotocols: []string{"mqtt"}, TLSClientConfig: cfg, HandshakeTimeout: patience}
	ws, resp, err := dialer.Dial(url, header)
	if err != nil {
		return nil, nil, resp, err
	}
	return over(tb, &webStream{Conn: ws.NetConn(), ws: ws}, 5), ws, resp, nil
}

// TestWebSocket: MQTT over ws and wss, packets cut at any byte.
func TestWebSocket(t *testing.T) {
	ca := peers.CA(t)
	encrypted := secure(ca, profileAWS, clientFingerprint)
	encrypted.Type = typeWSS
	cert := ca.Client("dev", peers.Validity{})
	for name, o := range map[string]ListenerOptions{"ws": webListener(profileAWS), "wss": encrypted} {
		t.Run(name, func(t *testing.T) {
			h := open(t, people{known: map[string]bool{"dev": true}}, o)
			cfg := &tls.Config{RootCAs: ca.Pool, ServerName: "localhost", Certificates: []tls.Certificate{cert.TLS}}
			d, ws, resp, err := webDial(t, name+"://"+h.addr()+"/mqtt", cfg, nil)
			if err != nil {
				t.Fatal(err)
			}
			if resp.Header.Get("Sec-WebSocket-Protocol") != "mqtt" {
				t.Error("no subprotocol")
			}
			if ack := d.connect("d"); ack.ReasonCode != 0 {
				t.Fatalf("CONNACK %#x", ack.ReasonCode)
			}
			d.subscribe(1, "t")
			for _, b := range encode(t, publish(1, "t", "hello"), 5) { // a byte a message
				if err := ws.WriteMessage(websocket.BinaryMessage, []byte{b}); err != nil {
					t.Fatal(err)
				}
			}
			first, second := mustRead(t, d), mustRead(t, d)
			if first.FixedHeader.Type == packets.Publish {
				first, second = second, first
			}
			if first.FixedHeader.Type != packets.Puback || string(second.Payload) != "hello" {
				t.Errorf("got %+v and %+v", first.FixedHeader, second.FixedHeader)
			}
			d.puback(second.PacketID)
			big := string(make([]byte, 100<<10))
			d.send(publish(2, "t", big))
			for range 2 {
				if pk := mustRead(t, d); pk.FixedHeader.Type == packets.Publish && len(pk.Payload) != len(big) {
					t.Errorf("got %d bytes", len(pk.Payload))
				}
			}
			h.Kick("d")
			d.expectGoodbye(0x98)
		})
	}
}

func mustRead(t *testing.T, d *device) packets.Packet {
	t.Helper()
	pk, err := d.read()
	if err != nil {
		t.Fatal(err)
	}
	return pk
}

// TestWebSocketRefused: what is not MQTT over WebSocket, or comes from a foreign
// web page.
func TestWebSocketRefused(t *testing.T) {
	o := webListener(profileAWS)
	o.Origins = []string{"https://console.example"}
	h := open(t, people{}, o)
	ask := func(request string) string {
		conn, err := net.Dial("tcp", h.addr())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		_, _ = io.WriteString(conn, strings.ReplaceAll(request, "\n", "\r\n"))
		_ = conn.SetReadDeadline(time.Now().Add(patience))
		line := make([]byte, 12)
		n, _ := io.ReadFull(conn, line)
		return strings.TrimPrefix(string(line[:n]), "HTTP/1.1 ")
	}
	const upgrade = "Host: h\nUpgrade: websocket\nConnection: Upgrade\nSec-WebSocket-Version: 13\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\n"
	for name, tt := range map[string]struct{ request, want string }{
		"another path":    {"GET /x HTTP/1.1\nHost: h\n\n", "404"},
		"no WebSocket":    {"GET /mqtt HTTP/1.1\nHost: h\n\n", "400"},
		"no subprotocol":  {"GET /mqtt HTTP/1.1\n" + upgrade + "\n", "400"},
		"foreign page":    {"GET /mqtt HTTP/1.1\n" + upgrade + "Sec-WebSocket-Protocol: mqtt\nOrigin: https://evil.example\n\n", "403"},
		"an allowed page": {"GET /mqtt HTTP/1.1\n" + upgrade + "Sec-WebSocket-Protocol: mqtt\nOrigin: https://console.example\n\n", "101"},
		"its own page":    {"GET /mqtt HTTP/1.1\n" + upgrade + "Sec-WebSocket-Protocol: mqtt\nOrigin: https://h\n\n", "101"},
		"MQTT":            {string(encode(t, hello(5, "d"), 5)) + "\n\n", ""},
		"endless header":  {"GET /mqtt HTTP/1.1\n" + strings.Repeat("X: y\n", 10_000), ""},
	} {
		if got := ask(tt.request); got != tt.want {
			t.Errorf("%s: %q, want %q", name, got, tt.want)
		}
	}
}

// TestWebSocketClose: AWS takes a Close frame for a goodbye, so the will is
// discarded (B164); a lost connection is not one.
func TestWebSocketClose(t *testing.T) {
	for _, polite := range []bool{true, false} {
		h := open(t, people{}, webListener(profileAWS))
		d, ws, _, err := webDial(t, fmt.Sprintf("ws://%s/mqtt", h.addr()), nil, nil)
		if err != nil {
			t.Fatal(err)
		}
		d.connect("d", withWill)
		if polite {
			_ = ws.WriteControl(websocket.CloseMessage, websocket.FormatCloseMessage(websocket.CloseNormalClosure, ""), time.Now().Add(time.Second))
		} else {
			_ = ws.NetConn().Close()
		}
		receive(t, "the end", h.ended)
		if wills := len(h.walk.topics()); (wills == 0) != polite {
			t.Errorf("polite %v: %d wills", polite, wills)
		}
	}
}

// slowPeople take their time: until many looks for old WebSockets were taken.
type slowPeople struct {
	people
	looks *atomic.Int64
}

func (p slowPeople) Named(user, id string, policies []string) (bridge.Principal, error) {
	for until := p.looks.Load() + 3; p.looks.Load() < until; {
		runtime.Gosched()
	}
	return p.people.Named(user, id, policies)
}

// TestLookForOldWebSockets: it does not touch what a CONNECT is deciding on.
func TestLookForOldWebSockets(t *testing.T) {
	var looks atomic.Int64
	h := openWith(t, people{}, func(d *Deps) { d.Identities = slowPeople{looks: &looks} }, webListener(profileAWS))
	stop := make(chan struct{})
	var looker sync.WaitGroup
	looker.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
				h.endWebSockets(h.clock.now())
				looks.Add(1)
			}
		}
	})
	d, _, _, err := webDial(t, "ws://"+h.addr()+"/mqtt", nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	if ack := d.connect("d"); ack.ReasonCode != 0 {
		t.Errorf("CONNACK %#x", ack.ReasonCode)
	}
	close(stop)
	looker.Wait()
}
