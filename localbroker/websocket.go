package localbroker

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/gorilla/websocket"
)

// headerSize bounds the HTTP request that asks for a WebSocket.
const headerSize = 16 << 10

var errNotMQTT = errors.New("not a WebSocket of subprotocol mqtt")

// upgrade turns an HTTP connection into a stream of binary messages (B09,
// [MQTT-6.0.0-3]). Browsers may connect from the same host and from origins.
func upgrade(stream net.Conn, origins []string) (net.Conn, error) {
	in := bufio.NewReader(io.LimitReader(stream, headerSize))
	r, err := http.ReadRequest(in)
	if err != nil {
		return nil, fmt.Errorf("HTTP request: %w", err)
	}
	w := &upgrading{stream: stream}
	switch {
	case r.URL.Path != "/mqtt" && r.URL.Path != "/":
		http.Error(w, "the broker is at /mqtt", http.StatusNotFound)
		return nil, errNotMQTT
	case !slices.Contains(websocket.Subprotocols(r), "mqtt"):
		http.Error(w, "ask for a WebSocket with subprotocol mqtt", http.StatusBadRequest)
		return nil, errNotMQTT
	case in.Buffered() > 0:
		return nil, errNotMQTT
	}
	u := websocket.Upgrader{
		Subprotocols: []string{"mqtt"},
		CheckOrigin:  func(r *http.Request) bool { return mayCome(r, origins) },
	}
	conn, err := u.Upgrade(w, r, nil)
	if err != nil {
		return nil, err
	}
	return &webStream{Conn: stream, ws: conn}, nil
}

// mayCome keeps foreign web pages from using a person's browser to get in.
func mayCome(r *http.Request, origins []string) bool {
	origin := r.Header.Get("Origin")
	if origin == "" || slices.Contains(origins, origin) {
		return true
	}
	u, err := url.Parse(origin)
	return err == nil && strings.EqualFold(u.Host, r.Host)
}

// upgrading is the http.ResponseWriter of the one request of a connection.
type upgrading struct {
	stream net.Conn
	header http.Header
}

// Header implements http.ResponseWriter.
func (w *upgrading) Header() http.Header {
	if w.header == nil {
		w.header = http.Header{}
	}
	return w.header
}

// WriteHeader implements http.ResponseWriter; the connection ends after it.
func (w *upgrading) WriteHeader(status int) {
	w.Header().Set("Connection", "close")
	_, _ = fmt.Fprintf(w.stream, "HTTP/1.1 %d %s\r\n", status, http.StatusText(status))
	_ = w.header.Write(w.stream)
	_, _ = io.WriteString(w.stream, "\r\n")
}

// Write implements http.ResponseWriter.
func (w *upgrading) Write(p []byte) (int, error) { return w.stream.Write(p) }

// Hijack implements http.Hijacker.
func (w *upgrading) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	return w.stream, bufio.NewReadWriter(bufio.NewReader(w.stream), bufio.NewWriter(w.stream)), nil
}

// webStream is a WebSocket as a stream.
type webStream struct {
	net.Conn
	ws      *websocket.Conn
	message io.Reader // of the message at hand
}

// webClose is a Close frame of the peer.
type webClose struct{ *websocket.CloseError }

// Normal reports whether the peer meant it.
func (e webClose) Normal() bool {
	return e.Code == websocket.CloseNormalClosure || e.Code == websocket.CloseGoingAway || e.Code == websocket.CloseNoStatusReceived
}

// Read implements net.Conn.
func (s *webStream) Read(p []byte) (int, error) {
	for {
		if s.message == nil {
			kind, r, err := s.ws.NextReader()
			if err != nil {
				return 0, webError(err)
			}
			if kind != websocket.BinaryMessage {
				return 0, errNotMQTT // [MQTT-6.0.0-1]
			}
			s.message = r
		}
		n, err := s.message.Read(p)
		if errors.Is(err, io.EOF) {
			s.message, err = nil, nil
			if n == 0 {
				continue
			}
		}
		if err != nil {
			err = webError(err)
		}
		return n, err
	}
}

func webError(err error) error {
	if closed, ok := errors.AsType[*websocket.CloseError](err); ok {
		return webClose{closed}
	}
	return err
}

// Write implements net.Conn: one binary message.
func (s *webStream) Write(p []byte) (int, error) {
	if err := s.ws.WriteMessage(websocket.BinaryMessage, p); err != nil {
		return 0, err
	}
	return len(p), nil
}

// SetWriteDeadline implements net.Conn.
func (s *webStream) SetWriteDeadline(t time.Time) error { return s.ws.SetWriteDeadline(t) }

// CloseWrite says that nothing more comes.
func (s *webStream) CloseWrite() error {
	text := websocket.FormatCloseMessage(websocket.CloseNormalClosure, "")
	return s.ws.WriteControl(websocket.CloseMessage, text, time.Now().Add(lingerTimeout))
}
