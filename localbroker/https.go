package localbroker

import (
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"runtime/debug"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"github.com/ebbgate/ebbgate/localbroker/rest"
)

const (
	// httpHeaders bounds the headers of a request, to which net/http adds
	// 4 KiB: the largest properties that AWS takes (Q39, Q41) are 8 KiB each
	// and a third more in base64, their JSON around them not counted.
	httpHeaders = 44 << 10
	// httpIdle is how long a connection may wait for its next request.
	httpIdle = time.Minute
)

// ender is what a listener can end: a connection of either kind.
type ender interface{ close(why cause) bool }

// httpClient is one HTTPS connection. Each has an http.Server of its own, so
// that it has the listener's settings as they were when it came, and ends as
// every other connection does.
type httpClient struct {
	broker    *Broker
	listener  *listener
	settings  *settings // as they were when it connected
	profile   *profile
	raw       net.Conn
	peer      peer
	server    *http.Server
	publishes *rate.Limiter // nil: no limit

	mu       sync.Mutex
	idle     bool // between two requests
	stopping bool
	known    *credentials
}

// serveHTTP serves one connection until it ends.
func (l *listener) serveHTTP(raw, stream net.Conn, p peer, s *settings) {
	_ = stream.SetDeadline(time.Time{}) // the server sets its own
	c := &httpClient{broker: l.broker, listener: l, settings: s, profile: s.profile, raw: raw, peer: p, idle: true}
	if n := s.Limits.PublishesPerSec; n > 0 {
		c.publishes = rate.NewLimiter(rate.Limit(n), n)
	}
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	c.server = &http.Server{
		Handler: rest.New(c, rest.Options{
			Payload: c.profile.payloadSize, Patience: s.Limits.ConnectTimeout, Write: s.Limits.WriteTimeout,
			Empty: s.HTTP.Answer == answerEmpty, Forbidden: s.HTTP.Denied == deniedForbidden, Terse: c.profile.silent,
		}),
		ReadHeaderTimeout: s.Limits.ConnectTimeout,
		IdleTimeout:       httpIdle,
		MaxHeaderBytes:    httpHeaders,
		ConnState:         func(_ net.Conn, state http.ConnState) { c.state(state) },
		ErrorLog:          slog.NewLogLogger(slog.DiscardHandler, slog.LevelError), // our log has our reasons
		Protocols:         protocols,

		DisableGeneralOptionsHandler: true,
	}
	l.mu.Lock()
	l.raws[raw] = c
	stopped := l.stopped
	l.mu.Unlock()
	if stopped {
		return
	}
	one := &soleConn{Conn: stream, raw: raw, closed: make(chan struct{})}
	_ = c.server.Serve(&soleListener{one: one, addr: raw.LocalAddr()}) // ends at once: there is no second connection
	<-one.closed
}

// state follows what the server does with the connection.
func (c *httpClient) state(s http.ConnState) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.idle = s == http.StateNew || s == http.StateIdle
	if c.idle && c.stopping { // its answer was being written when it was told
		_ = c.raw.Close()
	}
}

// close implements ender: the request at hand is answered first.
func (c *httpClient) close(cause) bool {
	c.mu.Lock()
	first := !c.stopping
	c.stopping = true
	if c.idle {
		_ = c.raw.Close()
	}
	c.mu.Unlock()
	c.server.SetKeepAlivesEnabled(false)
	return first
}

// Panicked implements rest.Caller.
func (c *httpClient) Panicked(v any) {
	c.broker.log.Error("an HTTP request failed inside the broker", "client", c.name(), "remote", c.raw.RemoteAddr().String(), "panic", fmt.Sprint(v), "stack", string(debug.Stack()))
}

// Served implements rest.Caller: it counts, and tells the log about refusals at
// a bounded rate.
func (c *httpClient) Served(op string, status int, err error) {
	c.broker.requests.count(op, status)
	if status < http.StatusBadRequest {
		return
	}
	c.broker.quiet.warn("http-"+http.StatusText(status), "an HTTP request was refused", slog.String("listener", c.listener.name),
		slog.String("client", c.name()), slog.String("remote", c.raw.RemoteAddr().String()), slog.String("operation", op), slog.String("error", err.Error()))
}

// soleConn is the connection as its server sees it. That it is TLS is not the
// server's business: net/http would refuse AWS's name of the protocol (ALPN).
type soleConn struct {
	net.Conn
	raw    net.Conn
	once   sync.Once
	closed chan struct{}
}

// Close implements net.Conn. TLS says goodbye first, which a peer that does not
// read would delay for seconds.
func (c *soleConn) Close() error {
	cut := time.AfterFunc(lingerTimeout, func() { _ = c.raw.Close() })
	err := c.Conn.Close()
	cut.Stop()
	c.once.Do(func() { close(c.closed) })
	return err
}

// CloseWrite lets the server end an answer to somebody who is still sending: what
// is sent meanwhile must not reset the connection under it.
func (c *soleConn) CloseWrite() error {
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return nil
}

// soleListener has one connection to give.
type soleListener struct {
	one  net.Conn
	addr net.Addr
}

// Accept implements net.Listener.
func (l *soleListener) Accept() (net.Conn, error) {
	if l.one == nil {
		return nil, io.EOF
	}
	c := l.one
	l.one = nil
	return c, nil
}

// Close implements net.Listener.
func (l *soleListener) Close() error { return nil }

// Addr implements net.Listener.
func (l *soleListener) Addr() net.Addr { return l.addr }
