package peers

import (
	"bufio"
	"encoding/base64"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"testing"
)

// ConnectProxy is an HTTP proxy on loopback that opens tunnels.
type ConnectProxy struct {
	Addr string // host:port

	login string // Proxy-Authorization that it asks for; empty: none
	l     net.Listener
	wg    sync.WaitGroup

	mu      sync.Mutex
	closed  bool
	status  int // to refuse with; 0: none
	tunnels []string
	conns   []net.Conn
}

// NewConnectProxy starts a proxy that asks for a login, unless user is empty.
func NewConnectProxy(tb testing.TB, user, password string) *ConnectProxy {
	tb.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatalf("proxy: %v", err)
	}
	p := &ConnectProxy{Addr: l.Addr().String(), l: l}
	if user != "" {
		p.login = "Basic " + base64.StdEncoding.EncodeToString([]byte(user+":"+password))
	}
	p.wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			p.wg.Go(func() { p.serve(c) })
		}
	})
	tb.Cleanup(p.close)
	return p
}

// Refuse answers further requests with a status; 0 opens tunnels again.
func (p *ConnectProxy) Refuse(status int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.status = status
}

// Tunnels lists the targets of the tunnels that were opened.
func (p *ConnectProxy) Tunnels() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return append([]string(nil), p.tunnels...)
}

func (p *ConnectProxy) close() {
	_ = p.l.Close()
	p.mu.Lock()
	p.closed = true
	for _, c := range p.conns {
		_ = c.Close()
	}
	p.mu.Unlock()
	p.wg.Wait()
}

// keep notes a connection to be closed at the end, and what it is a tunnel to.
func (p *ConnectProxy) keep(c net.Conn, target string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return false
	}
	p.conns = append(p.conns, c)
	if target != "" {
		p.tunnels = append(p.tunnels, target)
	}
	return true
}

func (p *ConnectProxy) serve(in net.Conn) {
	defer in.Close()
	if !p.keep(in, "") {
		return
	}
	r, err := http.ReadRequest(bufio.NewReader(in))
	if err != nil {
		return
	}
	if status := p.refusal(r); status != 0 {
		_, _ = io.WriteString(in, fmt.Sprintf("HTTP/1.1 %d %s\r\nContent-Length: 0", status, http.StatusText(status))+"\r\n\r\n")
		return
	}
	out, err := net.Dial("tcp", r.Host)
	if err != nil {
		_, _ = io.WriteString(in, "HTTP/1.1 502 Bad Gateway\r\n\r\n")
		return
	}
	defer out.Close()
	if !p.keep(out, r.Host) {
		return
	}
	_, _ = io.WriteString(in, "HTTP/1.1 200 Connection established\r\nVia: a test\r\n\r\n")
	var pair sync.WaitGroup
	pair.Go(func() { _, _ = io.Copy(out, in); _ = out.Close() })
	pair.Go(func() { _, _ = io.Copy(in, out); _ = in.Close() })
	pair.Wait()
}

func (p *ConnectProxy) refusal(r *http.Request) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case p.status != 0:
		return p.status
	case r.Method != http.MethodConnect:
		return http.StatusMethodNotAllowed
	case p.login != "" && r.Header.Get("Proxy-Authorization") != p.login:
		return http.StatusProxyAuthRequired
	}
	return 0
}
