package mqtt

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/gorilla/websocket"
)

// frameSize is how much goes into one frame of a WebSocket; a write is a little
// more than [writeSize] at most, unless one message is larger.
const frameSize = 16 << 10

// Signer makes the address of one attempt to open a WebSocket: AWS IoT Core
// takes a login only as a signature in its query.
type Signer interface {
	// SignURL signs a GET of address, which begins with wss:// or ws://. ends
	// is when what it is signed with ends, zero for never.
	SignURL(ctx context.Context, address string) (signed string, ends time.Time, err error)
}

// upgrade makes a WebSocket of a connection on which nothing has been said but
// TLS, and a stream of bytes of that.
func upgrade(ctx context.Context, nc net.Conn, address string) (*webStream, error) {
	ours := func(context.Context, string, string) (net.Conn, error) { return undated{nc}, nil }
	d := websocket.Dialer{
		NetDialContext: ours, NetDialTLSContext: ours, // TLS is there already
		Subprotocols:    []string{"mqtt"},
		ReadBufferSize:  frameSize,
		WriteBufferSize: frameSize,
	}
	ws, res, err := d.DialContext(ctx, address, nil)
	if res != nil {
		defer res.Body.Close()
	}
	if res != nil && errors.Is(err, websocket.ErrBadHandshake) {
		return nil, notUpgraded(res)
	}
	if err != nil {
		return nil, fmt.Errorf("WebSocket: %w", err)
	}
	if ws.Subprotocol() != "mqtt" { // [MQTT-6.0.0-4]
		return nil, &RefusedError{Reason: "the server's WebSocket does not speak MQTT", Remedy: "correct the endpoint's path; brokers have their WebSocket at /mqtt as a rule"}
	}
	return &webStream{Conn: nc, ws: ws}, nil
}

// undated is a connection whose writes need no deadline, since they never block:
// one that is set and forgotten would end what waits behind them.
type undated struct{ net.Conn }

// SetWriteDeadline implements net.Conn.
func (undated) SetWriteDeadline(time.Time) error { return nil }

// notUpgraded explains an HTTP answer in place of a WebSocket. AWS answers 403
// to what is not signed as it wants.
func notUpgraded(res *http.Response) error {
	said := make([]byte, 200)
	n, _ := io.ReadFull(res.Body, said) // what there is of it
	reason := fmt.Sprintf("the server answered %s in place of a WebSocket", res.Status)
	if words := strings.Join(strings.Fields(printable(said[:n])), " "); words != "" {
		reason += ": " + words
	}
	switch {
	case res.StatusCode == http.StatusUnauthorized || res.StatusCode == http.StatusForbidden:
		return &RefusedError{Reason: reason, Remedy: "check the AWS credentials, that they may iot:Connect, the region, and the clock of this machine; or the broker's login"}
	case res.StatusCode == http.StatusTooManyRequests || res.StatusCode >= 500:
		return errors.New(reason)
	}
	return &RefusedError{Reason: reason, Remedy: "correct the endpoint's port and path; brokers have their WebSocket at /mqtt as a rule"}
}

// printable is a server's text without what a terminal would obey.
func printable(b []byte) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r == '\uFFFD' {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(string(b), " "))
}

// webStream is a WebSocket as a stream.
type webStream struct {
	net.Conn
	ws      *websocket.Conn
	message io.Reader // of the message at hand
}

// Read implements net.Conn.
func (s *webStream) Read(p []byte) (int, error) {
	for {
		if s.message == nil {
			kind, r, err := s.ws.NextReader()
			if err != nil {
				return 0, webError(err)
			}
			if kind != websocket.BinaryMessage { // [MQTT-6.0.0-1]
				return 0, &ProtocolError{Code: 0x81, Text: "a text in the WebSocket"}
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

// webError turns the ends of a WebSocket into those of a stream.
func webError(err error) error {
	if closed, ok := errors.AsType[*websocket.CloseError](err); ok {
		if closed.Text != "" {
			return fmt.Errorf("%w (WebSocket closed with %d: %s)", io.EOF, closed.Code, printable([]byte(closed.Text)))
		}
		return fmt.Errorf("%w (WebSocket closed with %d)", io.EOF, closed.Code)
	}
	return err
}

// Write implements net.Conn: one binary message. It never blocks, since the
// socket below does not.
func (s *webStream) Write(p []byte) (int, error) {
	if err := s.ws.WriteMessage(websocket.BinaryMessage, p); err != nil {
		return 0, err
	}
	return len(p), nil
}

// goodbye says that nothing more comes.
func (s *webStream) goodbye() {
	text := websocket.FormatCloseMessage(websocket.CloseNormalClosure, "")
	_ = s.ws.WriteControl(websocket.CloseMessage, text, time.Now().Add(farewell)) // a courtesy
}
