package peers

import (
	"errors"
	"io"
	"net"
	"sync"
	"testing"
	"time"
)

// Proxy is a TCP proxy on loopback that can be a bad link.
type Proxy struct {
	Addr string // host:port to connect to

	target string
	l      net.Listener
	wg     sync.WaitGroup
	ended  chan struct{} // closed by Close

	mu     sync.Mutex
	closed bool
	refuse bool
	flow   chan struct{} // closed while bytes flow; open in a black hole
	delay  time.Duration
	conns  map[*net.TCPConn]struct{}
}

// NewProxy starts a proxy to target (host:port).
func NewProxy(tb testing.TB, target string) *Proxy {
	tb.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatalf("proxy: %v", err)
	}
	p := &Proxy{Addr: l.Addr().String(), target: target, l: l, ended: make(chan struct{}), flow: make(chan struct{}), conns: map[*net.TCPConn]struct{}{}}
	close(p.flow)
	p.wg.Go(p.accept)
	tb.Cleanup(p.Close)
	return p
}

// Close ends the proxy and every connection through it.
func (p *Proxy) Close() {
	p.mu.Lock()
	if !p.closed {
		p.closed = true
		close(p.ended)
	}
	p.mu.Unlock()
	_ = p.l.Close()
	p.Restore()
	p.Reset()
	p.wg.Wait()
}

// Cut resets every connection and refuses new ones until Restore.
func (p *Proxy) Cut() {
	p.mu.Lock()
	p.refuse = true
	p.mu.Unlock()
	p.Reset()
}

// Reset resets every connection; new ones are taken.
func (p *Proxy) Reset() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for c := range p.conns {
		_ = c.SetLinger(0) // RST instead of FIN
		_ = c.Close()
	}
}

// BlackHole stops all bytes in both directions without closing anything, until
// Restore. Connections are still accepted, and hang. What is sent meanwhile
// arrives afterwards, as TCP would have it.
func (p *Proxy) BlackHole() {
	p.mu.Lock()
	defer p.mu.Unlock()
	select {
	case <-p.flow:
		p.flow = make(chan struct{})
	default:
	}
}

// Restore ends Cut and BlackHole.
func (p *Proxy) Restore() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.refuse = false
	select {
	case <-p.flow:
	default:
		close(p.flow)
	}
}

// Delay holds every chunk back for d, in each direction. Chunks do not overlap:
// it is a slow link rather than a long one.
func (p *Proxy) Delay(d time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.delay = d
}

// Connections is how many connections go through the proxy now.
func (p *Proxy) Connections() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.conns) / 2
}

func (p *Proxy) accept() {
	for {
		c, err := p.l.Accept()
		if err != nil {
			return
		}
		p.wg.Go(func() { p.serve(c.(*net.TCPConn)) })
	}
}

func (p *Proxy) serve(in *net.TCPConn) {
	if !p.wait() {
		_ = in.SetLinger(0)
		_ = in.Close()
		return
	}
	c, err := net.Dial("tcp", p.target)
	if err != nil {
		_ = in.SetLinger(0)
		_ = in.Close()
		return
	}
	out := c.(*net.TCPConn)
	if !p.add(in, out) {
		_ = in.Close()
		_ = out.Close()
		return
	}
	var pair sync.WaitGroup
	pair.Go(func() { p.copy(out, in) })
	pair.Go(func() { p.copy(in, out) })
	pair.Wait()
	p.mu.Lock()
	delete(p.conns, in)
	delete(p.conns, out)
	p.mu.Unlock()
	_ = in.Close()
	_ = out.Close()
}

func (p *Proxy) add(a, b *net.TCPConn) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed || p.refuse {
		return false
	}
	p.conns[a], p.conns[b] = struct{}{}, struct{}{}
	return true
}

// wait returns once bytes may flow, and whether connections are taken then.
func (p *Proxy) wait() bool {
	for {
		p.mu.Lock()
		flow, delay, ok := p.flow, p.delay, !p.closed && !p.refuse
		p.mu.Unlock()
		select {
		case <-flow:
			if delay > 0 {
				select {
				case <-time.After(delay):
				case <-p.ended:
				}
			}
			return ok
		default:
			if !ok {
				return false
			}
			<-flow
		}
	}
}

// copy moves bytes until either side ends, then ends the other side's half. A
// reset is passed on as a reset of both.
func (p *Proxy) copy(dst, src *net.TCPConn) {
	buf := make([]byte, 64<<10)
	for {
		n, err := src.Read(buf)
		if n > 0 {
			if !p.wait() {
				return
			}
			if _, werr := dst.Write(buf[:n]); werr != nil {
				_ = src.Close()
				return
			}
		}
		if errors.Is(err, io.EOF) {
			_ = dst.CloseWrite()
			return
		}
		if err != nil {
			_ = dst.SetLinger(0)
			_ = dst.Close()
			return
		}
	}
}
