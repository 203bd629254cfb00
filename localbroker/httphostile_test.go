package localbroker

import (
	"bufio"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mochi-mqtt/server/v2/packets"

	"github.com/ebbgate/ebbgate/bridge"
	"github.com/ebbgate/ebbgate/internal/peers"
)

// rawCaller is a TLS connection to the listener called web, to write what no
// HTTP library would.
func (h *house) rawCaller(ca *peers.Authority, protocols ...string) *tls.Conn {
	h.tb.Helper()
	conn, err := h.tryRaw(ca, protocols...)
	if err != nil {
		h.tb.Fatal(err)
	}
	return conn
}

// tryRaw is rawCaller where the handshake may fail.
func (h *house) tryRaw(ca *peers.Authority, protocols ...string) (*tls.Conn, error) {
	conn, err := tls.Dial("tcp", h.Addrs()["web"].String(), &tls.Config{
		RootCAs: ca.Pool, ServerName: "localhost", NextProtos: protocols,
		Certificates: []tls.Certificate{ca.Client("dev", peers.Validity{}).TLS},
	})
	if err != nil {
		return nil, err
	}
	h.tb.Cleanup(func() { _ = conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(time.Minute))
	return conn, nil
}

// say writes a request and reads the status of the answer; 0 for a hang-up.
func say(tb testing.TB, conn net.Conn, request string) int {
	tb.Helper()
	_, _ = io.WriteString(conn, request) // a broker that has closed already is an answer too
	res, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		return 0
	}
	defer res.Body.Close()
	if _, err := io.Copy(io.Discard, res.Body); err != nil {
		tb.Error(err)
	}
	return res.StatusCode
}

// TestHTTPProtocols: HTTP 1.0 and 1.1, with AWS's name of the protocol (ALPN),
// the usual one or none; not HTTP/2, and not MQTT.
func TestHTTPProtocols(t *testing.T) {
	h, ca := webHouse(t, profileAWS)
	for _, protocols := range [][]string{{"x-amzn-http-ca"}, {"http/1.1"}, {"h2", "http/1.1"}, nil} {
		for _, version := range []string{"1.0", "1.1"} {
			conn := h.rawCaller(ca, protocols...)
			if got := say(t, conn, "POST /topics/t HTTP/"+version+"\r\nHost: gateway\r\nContent-Length: 1\r\n\r\nx"); got != http.StatusOK {
				t.Errorf("%v HTTP/%s: %d", protocols, version, got)
			}
		}
	}
	for _, bad := range []string{"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "\x10\x0c\x00\x04MQTT\x04\x02\x00\x3c\x00\x00\r\n\r\n", "POST /topics/t HTTP/1.1\r\n\r\n"} {
		if got := say(t, h.rawCaller(ca), bad); got == http.StatusOK {
			t.Errorf("%q is answered with 200", bad)
		}
	}
	if _, err := tls.Dial("tcp", h.Addrs()["web"].String(), &tls.Config{RootCAs: ca.Pool, ServerName: "localhost", NextProtos: []string{"x-amzn-mqtt-ca"}}); err == nil {
		t.Error("the name of MQTT is accepted")
	}
}

// TestTopicsAsSent: a path is not cleaned: what stands in it is the topic.
func TestTopicsAsSent(t *testing.T) {
	h, ca := webHouse(t, profileAWS)
	for path, want := range map[string]string{
		"a/b": "a/b", "a%2Fb": "a/b", "a%2fb": "a/b", "a%252Fb": "a%2Fb", "/a": "/a", "a//b/": "a//b/", "a/../b": "a/../b", "..": "..", "%2e%2e/x": "../x",
		"%C3%A9%20%3F": "é ?", "a;b&c=d": "a;b&c=d", "$aws/things/x/shadow/get": "$aws/things/x/shadow/get", ":x": ":x", "a%25": "a%",
	} {
		h.walk.mu.Lock()
		h.walk.took = nil
		h.walk.mu.Unlock()
		got := say(t, h.rawCaller(ca), "POST /topics/"+path+" HTTP/1.1\r\nHost: gateway\r\nContent-Length: 0\r\n\r\n")
		if topics := h.walk.topics(); got != http.StatusOK || len(topics) != 1 || topics[0] != want {
			t.Errorf("%q: %d, %q", path, got, topics)
		}
	}
	for _, path := range []string{"%00", "a%00b", "%ff", "%C3", "%zz", "%", "a b", "\xff", "%ed%a0%80"} {
		if got := say(t, h.rawCaller(ca), "POST /topics/"+path+" HTTP/1.1\r\nHost: gateway\r\nContent-Length: 0\r\n\r\n"); got != http.StatusBadRequest {
			t.Errorf("%q: %d", path, got)
		}
	}
}

// TestHTTPBodies: what is too large is refused before it is read, or where it
// becomes too large; nothing of it reaches the walk.
func TestHTTPBodies(t *testing.T) {
	h, ca := webHouse(t, profileAWS)
	const head = "POST /topics/t HTTP/1.1\r\nHost: gateway\r\n"
	if got := say(t, h.rawCaller(ca), head+"Content-Length: 9223372036854775807\r\n\r\n"); got != http.StatusRequestEntityTooLarge {
		t.Errorf("announced: %d", got)
	}
	if got := say(t, h.rawCaller(ca), head+"Expect: 100-continue\r\nContent-Length: 200000\r\n\r\n"); got != http.StatusRequestEntityTooLarge {
		t.Errorf("asked for first: %d", got)
	}
	chunks := strings.Repeat("1000\r\n"+strings.Repeat("x", 4096)+"\r\n", 33) + "0\r\n\r\n"
	if got := say(t, h.rawCaller(ca), head+"Transfer-Encoding: chunked\r\n\r\n"+chunks); got != http.StatusRequestEntityTooLarge {
		t.Errorf("in chunks: %d", got)
	}
	for _, bad := range []string{"Content-Length: -1", "Content-Length: 1\r\nContent-Length: 2", "Content-Length: x", "Transfer-Encoding: gzip"} {
		if got := say(t, h.rawCaller(ca), head+bad+"\r\n\r\nx"); got < 400 {
			t.Errorf("%q: %d", bad, got)
		}
	}
	conn := h.rawCaller(ca)
	_, _ = io.WriteString(conn, head+"Content-Length: 10\r\n\r\nx")
	_ = conn.CloseWrite() // the rest never comes
	if got := say(t, conn, ""); got != http.StatusRequestTimeout {
		t.Errorf("cut off: %d", got)
	}
	if got := say(t, h.rawCaller(ca), head+"X: "+strings.Repeat("x", 64<<10)+"\r\n\r\n"); got != http.StatusRequestHeaderFieldsTooLarge {
		t.Errorf("large headers: %d", got)
	}
	if got := say(t, h.rawCaller(ca), "POST /topics/"+strings.Repeat("x", 64<<10)+" HTTP/1.1\r\nHost: gateway\r\n\r\n"); got < 400 && got != 0 {
		t.Errorf("a long path: %d", got)
	}
	if topics := h.walk.topics(); len(topics) > 0 {
		t.Errorf("%q took the walk", topics)
	}
}

// TestHTTPSlow: headers and bodies that drip are cut off, by their deadlines.
func TestHTTPSlow(t *testing.T) {
	ca := peers.CA(t)
	o := web(ca, profileAWS)
	o.Limits.ConnectTimeout = 200 * time.Millisecond
	h := open(t, people{known: map[string]bool{"dev": true}}, o)
	for name, request := range map[string]string{
		"nothing": "",
		"headers": "POST /topics/t HTTP/1.1\r\nHost: gateway\r\nX: ",
		"a body":  "POST /topics/t HTTP/1.1\r\nHost: gateway\r\nContent-Length: 5\r\n\r\nx",
	} {
		var conn *tls.Conn
		eventually(t, "a handshake in time", func() bool { // a slow machine's is cut off as well
			c, err := h.tryRaw(ca)
			conn = c
			return err == nil
		})
		if got := say(t, conn, request); got != 0 && got != http.StatusRequestTimeout {
			t.Errorf("%s: %d", name, got)
		}
	}
	eventually(t, "no sockets", func() bool { return h.Status().Sockets == 0 })
	for len(h.no) > 0 {
		<-h.no // handshakes that were too slow
	}
	raw, err := net.Dial("tcp", h.addr()) // and not even a handshake
	if err != nil {
		t.Fatal(err)
	}
	defer raw.Close()
	if why := receive(t, "the callback", h.no); why != "handshake" {
		t.Errorf("reason %q", why)
	}
	eventually(t, "no sockets", func() bool { return h.Status().Sockets == 0 })
}

// TestHTTPUnread: who asks and does not read is cut off.
func TestHTTPUnread(t *testing.T) {
	ca := peers.CA(t)
	o := web(ca, profileAWS)
	o.Limits.WriteTimeout, o.Quotas.Pace = 100*time.Millisecond, paceIgnore
	h := open(t, people{known: map[string]bool{"dev": true}}, o)
	h.retain(&bridge.Message{Topic: "t", Payload: make([]byte, 128<<10)})
	conn := h.rawCaller(ca)
	for range 1000 { // 170 MB: more than a socket holds
		if _, err := io.WriteString(conn, "GET /retainedMessage/t HTTP/1.1\r\nHost: gateway\r\n\r\n"); err != nil {
			break // cut off already
		}
	}
	eventually(t, "no sockets", func() bool { return h.Status().Sockets == 0 })
}

// TestHTTPBeside: many programs and devices at once, each about the others.
func TestHTTPBeside(t *testing.T) {
	h, ca := webHouse(t, profileAWSEdge)
	c := h.caller(ca)
	var all sync.WaitGroup
	for i := range 4 {
		all.Go(func() {
			for n := range 25 {
				for _, x := range []struct{ method, path string }{
					{http.MethodPost, fmt.Sprintf("/topics/state/%d?retain=true&qos=1", n%3)}, {http.MethodGet, "/retainedMessage"},
					{http.MethodGet, fmt.Sprintf("/retainedMessage/state/%d", n%3)}, {http.MethodGet, "/connections/d/subscriptions"},
					{http.MethodPost, "/connections/d/messages?topic=cmd"}, {http.MethodGet, "/connections/d"},
					{http.MethodDelete, fmt.Sprintf("/connections/d?cleanSession=%v", i%2 == 0)},
				} {
					r, err := c.try(x.method, x.path, strings.NewReader("x"))
					if err != nil || r.status != http.StatusOK && r.status != http.StatusNotFound {
						t.Errorf("%s: %d %v", x.path, r.status, err)
					}
				}
			}
		})
	}
	asking, end := context.WithCancel(context.Background())
	go func() {
		all.Wait()
		end()
	}()
	defer func() { <-asking.Done() }() // they may not outlive the test, however it ends
	for n := 0; ; n++ {
		d := dial(t, h.addr(), byte(4+n%2))
		stop := context.AfterFunc(asking, func() { _ = d.Close() }) // else nothing ends the last one
		connect := hello(d.version, "d")
		persistent(600)(&connect)
		_, _ = d.Write(encode(t, connect, d.version)) // a DELETE may end it before its CONNACK
		_, _ = d.read()
		_, _ = d.Write(encode(t, packets.Packet{FixedHeader: packets.FixedHeader{Type: packets.Subscribe}, PacketID: 1, Filters: packets.Subscriptions{{Filter: "state/+", Qos: 1}}}, d.version)) // it may be gone
		for {
			if _, err := d.read(); err != nil {
				break
			}
		}
		stop()
		if asking.Err() != nil {
			return
		}
	}
}

// TestHTTPConnections: more than limits.connections are told so, and more than
// a tenth above not even that.
func TestHTTPConnections(t *testing.T) {
	ca := peers.CA(t)
	o := web(ca, profileAWS)
	o.Limits.Connections = 1
	h := open(t, people{known: map[string]bool{"dev": true}}, o)
	const request = "GET /retainedMessage HTTP/1.1\r\nHost: gateway\r\n\r\n"
	if got := say(t, h.rawCaller(ca), request); got != http.StatusOK {
		t.Errorf("the first: %d", got)
	}
	if got := say(t, h.rawCaller(ca), request); got != http.StatusServiceUnavailable {
		t.Errorf("the second: %d", got)
	}
}

// TestHTTPUnfinished: a connection that has asked for something is not pushed
// out by those that have not.
func TestHTTPUnfinished(t *testing.T) {
	ca := peers.CA(t)
	o := web(ca, profileAWS)
	o.Limits.Unfinished, o.Limits.ConnectTimeout = 1, 5*time.Minute // the test's clock alone says when
	h := open(t, people{known: map[string]bool{"dev": true}}, o)
	const request = "GET /retainedMessage HTTP/1.1\r\nHost: gateway\r\n\r\n"
	busy := h.rawCaller(ca)
	if got := say(t, busy, request); got != http.StatusOK {
		t.Errorf("the first: %d", got)
	}
	mute := h.rawCaller(ca)
	h.clock.advance(o.Limits.ConnectTimeout)
	next := h.rawCaller(ca)
	if got := say(t, mute, ""); got != 0 {
		t.Errorf("the one that says nothing: %d", got)
	}
	for _, conn := range []net.Conn{busy, next} {
		if got := say(t, conn, request); got != http.StatusOK {
			t.Errorf("answered %d", got)
		}
	}
}

// TestHTTPPatience: the time that a body may take does not bound the answer.
func TestHTTPPatience(t *testing.T) {
	ca := peers.CA(t)
	o := web(ca, profileAWS)
	o.Limits.ConnectTimeout = 500 * time.Millisecond
	h := open(t, people{known: map[string]bool{"dev": true}}, plain(profileAWS), o)
	d := h.join(5, "d")
	h.caller(ca).direct("topic=t&confirmation=true&timeout=1", "x").refused(t, http.StatusGatewayTimeout, "GatewayTimeoutException")
	d.expect(packets.Publish)
}

// TestHTTPPanic: a request that fails inside is a 500, and nobody else's
// business.
func TestHTTPPanic(t *testing.T) {
	h, ca := webHouse(t, profileAWS)
	d := h.join(5, "d")
	h.walk.setStep(func(m *bridge.Message, done func(error)) {
		if m.Topic == "bad" {
			panic("by the test")
		}
		done(nil)
	})
	c := h.caller(ca)
	c.publish("bad", "x").refused(t, http.StatusInternalServerError, "InternalFailureException")
	c.publish("good", "x").ok(t)
	d.expectNothing()
}

// TestHTTPStop: a stop lets the request at hand have its answer, and waits for
// nobody else.
func TestHTTPStop(t *testing.T) {
	h, ca := webHouse(t, profileAWS)
	idle, mute := h.caller(ca), h.rawCaller(ca) // one between requests, one before its first
	idle.publish("t", "x").ok(t)
	settle := h.waiting()
	c := h.caller(ca)
	answered := make(chan reply, 1)
	go func() {
		r, err := c.try(http.MethodPost, "/topics/t", strings.NewReader("x"))
		if err != nil {
			t.Error(err)
		}
		answered <- r
	}()
	done := receive(t, "a message in the walk", settle)
	stopped := make(chan struct{})
	go func() {
		h.stop()
		close(stopped)
	}()
	if got := say(t, mute, ""); got != 0 {
		t.Errorf("answered %d", got)
	}
	eventually(t, "the one at work is told", h.allStopping)
	done(nil)
	if !receive(t, "the answer", answered).ok(t).last {
		t.Error("the answer does not say that it is the last")
	}
	receive(t, "the end", stopped)
	if _, err := c.try(http.MethodPost, "/topics/t", nil); err == nil {
		t.Error("answered after the end")
	}
}

// allStopping reports whether all HTTP connections that are left are to end.
func (h *house) allStopping() bool {
	l := h.listeners[1]
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, e := range l.raws {
		c, ok := e.(*httpClient)
		if !ok {
			return false
		}
		c.mu.Lock()
		stopping := c.stopping
		c.mu.Unlock()
		if !stopping {
			return false
		}
	}
	return true
}

// TestHTTPRepeats: many requests on one connection, the next before the answer
// to the last one included.
func TestHTTPRepeats(t *testing.T) {
	h, ca := webHouse(t, profileAWS)
	conn := h.rawCaller(ca)
	go func() {
		for i := range 100 {
			_, _ = fmt.Fprintf(conn, "POST /topics/%d HTTP/1.1\r\nHost: gateway\r\nContent-Length: 1\r\n\r\nx", i) // the reader notices
		}
	}()
	in := bufio.NewReader(conn)
	for i := range 100 {
		res, err := http.ReadResponse(in, nil)
		if err != nil {
			t.Fatalf("answer %d: %v", i, err)
		}
		_, _ = io.Copy(io.Discard, res.Body) // its length is known
		_ = res.Body.Close()
		if res.StatusCode != http.StatusOK {
			t.Errorf("answer %d: %d", i, res.StatusCode)
		}
	}
	for i, topic := range h.walk.topics() {
		if topic != fmt.Sprint(i) {
			t.Fatalf("message %d is %q", i, topic)
		}
	}
}
