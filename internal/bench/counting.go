package main

import (
	"context"
	"io"
	"net"
	"sync"
	"sync/atomic"
)

// countingProxy passes TCP connections on to a broker and counts the bytes, both
// directions. They are those of MQTT: TCP's and IP's own are not among them.
type countingProxy struct {
	addr   string
	l      net.Listener
	target string
	bytes  atomic.Int64
	open   sync.WaitGroup
	stop   context.CancelFunc
}

func newCountingProxy(ctx context.Context, target string) (*countingProxy, error) {
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	ctx, stop := context.WithCancel(ctx)
	p := &countingProxy{addr: l.Addr().String(), l: l, target: target, stop: stop}
	p.open.Go(func() { p.accept(ctx) })
	return p, nil
}

// close ends the proxy and what goes through it.
func (p *countingProxy) close() {
	p.stop()
	_ = p.l.Close()
	p.open.Wait()
}

func (p *countingProxy) accept(ctx context.Context) {
	var d net.Dialer
	for {
		from, err := p.l.Accept()
		if err != nil {
			return
		}
		to, err := d.DialContext(ctx, "tcp", p.target)
		if err != nil {
			_ = from.Close() // the edge tries again
			continue
		}
		for _, way := range [][2]net.Conn{{from, to}, {to, from}} {
			p.open.Go(func() {
				defer context.AfterFunc(ctx, func() { _ = way[0].Close() })()
				_, _ = io.Copy(counter{way[1], &p.bytes}, way[0]) // ends with either side
				_ = way[0].Close()
				_ = way[1].Close()
			})
		}
	}
}

// counter counts what is written. It hides the connection, so that the kernel does
// not copy past it.
type counter struct {
	w     io.Writer
	bytes *atomic.Int64
}

func (c counter) Write(b []byte) (int, error) {
	c.bytes.Add(int64(len(b)))
	return c.w.Write(b)
}
