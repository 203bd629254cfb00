package localbroker

import (
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/ebbgate/ebbgate/bridge"
)

// settings are what a listener reloads. They are immutable; a connection keeps
// those that its CONNECT was decided by.
type settings struct {
	ListenerOptions
	profile *profile
	tls     *tls.Config // nil without TLS
	users   *users      // nil without auth password
}

func loadSettings(o ListenerOptions) (*settings, error) {
	s := &settings{ListenerOptions: o, profile: profileOf(o)}
	if o.Auth == authAnonymous && !loopback(o.Address) {
		return nil, bridge.Errorf("auth", bridge.Unavailable, "anonymous, and %s can be reached from the network: listen on 127.0.0.1, or use auth: password or certificate", o.Address)
	}
	var ps problems
	o.Quotas.validate("quotas.", &ps)
	if len(ps.list) > 0 {
		return nil, bridge.Errorf(ps.list[0].Path, bridge.Unavailable, "%s: %s", ps.list[0].Text, ps.list[0].Remedy)
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

// listener is one address where devices connect.
type listener struct {
	broker   *Broker
	name     string
	settings atomic.Pointer[settings]
	active   atomic.Int64 // sockets

	mu      sync.Mutex
	socket  net.Listener
	raws    map[net.Conn]ender // open sockets; nil before their handshake
	early   unfinished         // those that have not finished their CONNECT
	stopped bool
	idle    chan struct{} // closed when stopped and no socket is left
}

func newListener(b *Broker, o ListenerOptions) (*listener, error) {
	if !slices.Contains([]string{profileAWSEdge, profileAWS, profileMQTT}, o.Profile) {
		return nil, bridge.Errorf("listener "+o.Name, bridge.Unavailable, "profile %q is unknown: write aws-edge, aws or mqtt", o.Profile)
	}
	s, err := loadSettings(o)
	if err != nil {
		return nil, fmt.Errorf("listener %s: %w", o.Name, err)
	}
	l := &listener{broker: b, name: o.Name, raws: map[net.Conn]ender{}, idle: make(chan struct{})}
	l.settings.Store(s)
	return l, nil
}

func (l *listener) addr() net.Addr {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.socket == nil {
		return nil
	}
	return l.socket.Addr()
}

// open opens the address.
func (l *listener) open() error {
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

// serve accepts until the listener stops.
func (l *listener) serve() {
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
		go l.handle(raw)
	}
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
	l.early.remove(raw)
	l.active.Add(-1)
	l.broker.sockets.Add(-1)
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
func (l *listener) handle(raw net.Conn) {
	defer l.leave(raw)
	s := l.settings.Load()
	deadline := time.Now().Add(s.Limits.ConnectTimeout)
	_ = raw.SetDeadline(deadline)
	stream, p, err := s.handshake(raw)
	if err != nil {
		l.refuse(raw, "handshake", "a handshake failed", err)
		return
	}
	if s.Type == typeHTTPS {
		l.serveHTTP(raw, stream, p, s)
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
	c.run()
}

// run serves the connection until it ends, by whatever cause.
func (c *client) run() {
	var err error
	c.guard(func() { err = c.serve() })
	c.inbound.giveBack()
	c.finish(err)
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
