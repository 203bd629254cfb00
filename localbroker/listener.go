package localbroker

import (
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/mochi-mqtt/server/v2/listeners"

	"github.com/ebbgate/ebbgate/bridge"
)

// settings are what a listener reloads. They are immutable; a connection keeps
// those that its CONNECT was decided by.
type settings struct {
	ListenerOptions
	tls   *tls.Config // nil without TLS
	users *users      // nil without auth password
}

func loadSettings(o ListenerOptions) (*settings, error) {
	s := &settings{ListenerOptions: o}
	if o.Auth == authAnonymous && !loopback(o.Address) {
		return nil, bridge.Errorf("auth", bridge.Unavailable, "anonymous, and %s can be reached from the network: listen on 127.0.0.1, or use auth: password or certificate", o.Address)
	}
	var err error
	if o.secure() {
		if s.tls, err = loadTLS(o); err != nil {
			return nil, err
		}
	}
	if o.Auth == authPassword {
		if s.users, err = loadUsers(o.Users); err != nil {
			return nil, err
		}
	}
	return s, nil
}

// listener is one address where devices connect. It implements mochi's
// listeners.Listener; the sockets that it hands over are wires.
type listener struct {
	broker   *Broker
	name     string
	profile  *profile
	settings atomic.Pointer[settings]
	active   atomic.Int64 // sockets

	mu      sync.Mutex
	socket  net.Listener
	raws    map[net.Conn]*client // open sockets; nil before they reach mochi
	stopped bool
	idle    chan struct{} // closed when stopped and no socket is left
}

func newListener(b *Broker, o ListenerOptions) (*listener, error) {
	p, ok := profiles()[o.Profile]
	if !ok {
		return nil, bridge.Errorf("listener "+o.Name, bridge.Unavailable, "profile %q is unknown: write aws-edge, aws or mqtt", o.Profile)
	}
	s, err := loadSettings(o)
	if err != nil {
		return nil, fmt.Errorf("listener %s: %w", o.Name, err)
	}
	l := &listener{broker: b, name: o.Name, profile: p, raws: map[net.Conn]*client{}, idle: make(chan struct{})}
	l.settings.Store(s)
	return l, nil
}

// ID implements listeners.Listener.
func (l *listener) ID() string { return l.name }

// Protocol implements listeners.Listener.
func (l *listener) Protocol() string { return l.settings.Load().Type }

// Address implements listeners.Listener.
func (l *listener) Address() string {
	if a := l.addr(); a != nil {
		return a.String()
	}
	return l.settings.Load().Address
}

func (l *listener) addr() net.Addr {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.socket == nil {
		return nil
	}
	return l.socket.Addr()
}

// Init implements listeners.Listener: it opens the address.
func (l *listener) Init(*slog.Logger) error {
	address := l.settings.Load().Address
	socket, err := net.Listen("tcp", address)
	if err != nil {
		return listenError(l.name, address, err)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.socket = socket
	return nil
}

func listenError(name, address string, err error) error {
	var dns *net.DNSError
	op := "listener " + name
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return bridge.Errorf(op, bridge.Unavailable, "%s is in use by another process: stop it, or change the listener's address", address)
	case errors.Is(err, syscall.EACCES):
		return bridge.Errorf(op, bridge.Unavailable, "not allowed to listen on %s: use a port above 1023, or grant CAP_NET_BIND_SERVICE", address)
	case errors.Is(err, syscall.EADDRNOTAVAIL), errors.As(err, &dns):
		return bridge.Errorf(op, bridge.Unavailable, "%s is not an address of this machine: correct the listener's address", address)
	default:
		return bridge.Errorf(op, bridge.Unavailable, "cannot listen on %s: %w", address, err)
	}
}

// Serve implements listeners.Listener: it accepts until the listener stops.
func (l *listener) Serve(establish listeners.EstablishFn) {
	var pause time.Duration
	for {
		raw, err := l.socket.Accept()
		if err != nil {
			if errors.Is(err, net.ErrClosed) {
				return
			}
			pause = min(max(2*pause, 5*time.Millisecond), time.Second)
			l.broker.quiet.warn("accept", "cannot accept connections", slog.String("listener", l.name), slog.String("error", err.Error()))
			select {
			case <-time.After(pause): // out of file descriptors: wait for some to be closed
				continue
			case <-l.idle:
				return
			}
		}
		pause = 0
		if !l.enter(raw) {
			_ = raw.Close()
			continue
		}
		go l.handle(raw, establish)
	}
}

// enter counts a socket, unless there are too many: as many as connections are
// allowed and a tenth more, so that those above the limit can still be told so.
func (l *listener) enter(raw net.Conn) bool {
	most := l.settings.Load().Limits.Connections
	l.mu.Lock()
	room := len(l.raws) < most+most/10+16
	taken := room && !l.stopped
	if taken {
		l.raws[raw] = nil
		l.active.Add(1)
	}
	l.mu.Unlock()
	if !room {
		l.refuse(raw, "socket-count", "a socket was refused", nil)
	}
	return taken
}

// refuse tells log and callbacks about a socket that never became a connection.
func (l *listener) refuse(raw net.Conn, reason, msg string, err error) {
	text := ""
	if err != nil {
		text = strings.TrimSpace(err.Error())
	}
	l.broker.quiet.warn(reason, msg, slog.String("listener", l.name), slog.String("remote", raw.RemoteAddr().String()), slog.String("error", text))
	if f := l.broker.events.Refused; f != nil {
		f(l.name, reason)
	}
}

func (l *listener) leave(raw net.Conn) {
	_ = raw.Close()
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.raws, raw)
	l.active.Add(-1)
	l.idleLocked()
}

func (l *listener) idleLocked() {
	if l.stopped && len(l.raws) == 0 {
		select {
		case <-l.idle:
		default:
			close(l.idle)
		}
	}
}

// handle serves one socket from handshake to end.
func (l *listener) handle(raw net.Conn, establish listeners.EstablishFn) {
	defer l.leave(raw)
	s := l.settings.Load()
	deadline := time.Now().Add(s.Limits.ConnectTimeout)
	_ = raw.SetDeadline(deadline)
	stream, p, err := s.handshake(raw)
	if err != nil {
		l.refuse(raw, "handshake", "a handshake failed", err)
		return
	}
	_ = stream.SetDeadline(deadline) // a WebSocket upgrade has cleared it
	c := newClient(l.broker, l, s, stream, raw, p)
	l.mu.Lock()
	l.raws[raw] = c
	stopped := l.stopped
	l.mu.Unlock()
	if stopped {
		return
	}
	c.run(establish)
}

// run gives the connection to mochi until it ends, by whatever cause.
func (c *client) run(establish listeners.EstablishFn) {
	var err error
	c.guard(func() { err = establish(c.listener.name, c.wire) })
	c.finish(err)
	if c.mochiID != "" {
		c.broker.server.Clients.Delete(c.mochiID)
	}
	c.wire.shutdown()
}

// stop closes the address.
func (l *listener) stop() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.stopped {
		return
	}
	l.stopped = true
	if l.socket != nil {
		_ = l.socket.Close()
	}
	l.idleLocked()
}

// Close implements listeners.Listener. Clients are closed by Broker.stop.
func (l *listener) Close(listeners.CloseFn) { l.stop() }

// closeAll ends all connections; sockets that have none are closed.
func (l *listener) closeAll(why cause) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for raw, c := range l.raws {
		if c == nil {
			_ = raw.Close()
			continue
		}
		c.close(why)
	}
}

// cut closes all sockets at once.
func (l *listener) cut() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for raw := range l.raws {
		_ = raw.Close()
	}
}

// wait reports whether all sockets have ended within d.
func (l *listener) wait(d time.Duration) bool {
	t := time.NewTimer(max(d, time.Millisecond))
	defer t.Stop()
	select {
	case <-l.idle:
		return true
	case <-t.C:
		return false
	}
}
