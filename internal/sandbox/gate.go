package sandbox

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"sync"
	"time"
)

// Gate is a TCP link that can be broken: it forwards what it accepts to one
// target, as the present [Fault] lets it. Make one with [OpenGate], drive it
// with Run. Its methods are safe for concurrent use.
type Gate struct {
	listener *net.TCPListener
	target   string

	mu      sync.Mutex
	fault   Fault
	changed chan struct{} // closed when fault changes
	links   map[*link]struct{}
	closed  bool
	stats   GateStats
}

// Fault is what is wrong with the link. The zero Fault is nothing.
type Fault struct {
	// BlackHole keeps every byte, in both directions, and closes nothing: what
	// a pulled cable looks like. Connections are accepted and hang. After it,
	// what was kept goes on, as TCP would send it again.
	BlackHole bool `json:"black_hole"`
	// Refuse resets new connections; those that exist go on.
	Refuse bool `json:"refuse"`
	// Latency delays every byte, in each direction.
	Latency time.Duration `json:"latency_ns"`
	// BytesPerSecond is the rate of each connection in each direction; 0: no
	// limit.
	BytesPerSecond int `json:"bytes_per_second"`
}

// GateStats counts since the gate was opened.
type GateStats struct {
	Accepted int64 `json:"accepted"` // connections let through
	Refused  int64 `json:"refused"`  // connections reset at once
	Resets   int64 `json:"resets"`   // connections reset while they lived
	Live     int   `json:"live"`     // connections now
}

// MaxLinks bounds the connections through a gate; further ones are refused.
const MaxLinks = 1024

const dialTimeout = 5 * time.Second

// OpenGate listens on address (port 0: a free one) for connections to target.
func OpenGate(address, target string) (*Gate, error) {
	l, err := net.Listen("tcp", address)
	if err != nil {
		return nil, fmt.Errorf("sandbox: %w", err)
	}
	return &Gate{listener: l.(*net.TCPListener), target: target, changed: make(chan struct{}), links: map[*link]struct{}{}}, nil
}

// Addr is where to connect.
func (g *Gate) Addr() string { return g.listener.Addr().String() }

// Run forwards until ctx ends, then resets every connection and closes the
// listener. It is to be called once.
func (g *Gate) Run(ctx context.Context) error {
	var links sync.WaitGroup
	defer links.Wait()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stop := context.AfterFunc(ctx, func() { g.shut() })
	defer stop()
	defer g.shut()
	for {
		c, err := g.listener.AcceptTCP()
		if err != nil {
			if ctx.Err() != nil || errors.Is(err, net.ErrClosed) {
				return nil
			}
			return fmt.Errorf("sandbox: accept: %w", err)
		}
		if !g.admits() {
			reset(c)
			continue
		}
		links.Go(func() { g.serve(ctx, c) })
	}
}

func (g *Gate) admits() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.fault.Refuse || g.closed || len(g.links) >= MaxLinks {
		g.stats.Refused++
		return false
	}
	return true
}

// serve carries one connection until either side ends it.
func (g *Gate) serve(ctx context.Context, in *net.TCPConn) {
	l := &link{gate: g, in: in, ended: make(chan struct{})}
	if !g.add(l) {
		reset(in)
		return
	}
	defer g.remove(l)
	sent, ok := l.wait(ctx)
	if !ok {
		l.reset()
		return
	}
	d := net.Dialer{Timeout: dialTimeout}
	out, err := d.DialContext(ctx, "tcp", g.target)
	if err != nil {
		l.reset()
		return
	}
	if !l.join(out.(*net.TCPConn)) {
		return
	}
	if _, err := out.Write(sent); err != nil {
		l.reset()
		return
	}
	var pumps sync.WaitGroup
	pumps.Go(func() { l.pump(ctx, l.out, l.in) })
	pumps.Go(func() { l.pump(ctx, l.in, l.out) })
	pumps.Wait()
	l.close()
}

// Set puts a fault on the link, in place of the present one.
func (g *Gate) Set(f Fault) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.fault = f
	close(g.changed)
	g.changed = make(chan struct{})
}

// Fault is the present fault.
func (g *Gate) Fault() Fault {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.fault
}

// Restore takes every fault away.
func (g *Gate) Restore() { g.Set(Fault{}) }

// BlackHole is Set with only that fault.
func (g *Gate) BlackHole() { g.Set(Fault{BlackHole: true}) }

// Cut resets every connection, once; new ones are taken unless the fault says
// otherwise. It returns how many there were.
func (g *Gate) Cut() int {
	g.mu.Lock()
	links := make([]*link, 0, len(g.links))
	for l := range g.links {
		links = append(links, l)
	}
	g.stats.Resets += int64(len(links))
	g.mu.Unlock()
	for _, l := range links {
		l.reset()
	}
	return len(links)
}

// Stats counts the connections.
func (g *Gate) Stats() GateStats {
	g.mu.Lock()
	defer g.mu.Unlock()
	s := g.stats
	s.Live = len(g.links)
	return s
}

func (g *Gate) add(l *link) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed {
		return false
	}
	g.links[l] = struct{}{}
	g.stats.Accepted++
	return true
}

func (g *Gate) remove(l *link) {
	g.mu.Lock()
	defer g.mu.Unlock()
	delete(g.links, l)
}

func (g *Gate) shut() {
	_ = g.listener.Close()
	g.mu.Lock()
	g.closed = true
	g.mu.Unlock()
	g.Cut()
}

func (g *Gate) state() (Fault, <-chan struct{}) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.fault, g.changed
}

func reset(c *net.TCPConn) {
	_ = c.SetLinger(0) // RST in place of FIN
	_ = c.Close()
}

// link is one connection through the gate.
type link struct {
	gate  *Gate
	ended chan struct{} // closed by reset and close

	mu      sync.Mutex
	over    bool
	in, out *net.TCPConn // out is nil before the far side is dialled
}

// join sets the far side, unless the link ended meanwhile.
func (l *link) join(out *net.TCPConn) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.over {
		reset(out)
		return false
	}
	l.out = out
	return true
}

func (l *link) reset() { l.end(reset) }

func (l *link) close() { l.end(func(c *net.TCPConn) { _ = c.Close() }) }

func (l *link) end(how func(*net.TCPConn)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.over {
		return
	}
	l.over = true
	close(l.ended)
	for _, c := range slices.DeleteFunc([]*net.TCPConn{l.in, l.out}, func(c *net.TCPConn) bool { return c == nil }) {
		how(c)
	}
}
