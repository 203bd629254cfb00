package sandbox

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"time"
)

// A pump's buffers: what it holds back for a slow link or in a black hole,
// beside the kernel's own.
const (
	chunkBytes = 16 << 10
	chunkQueue = 32
)

// chunk is what was read at once, to be written at due; the end of the
// connection is a chunk too, so that it overtakes nothing.
type chunk struct {
	data []byte
	due  time.Time
	err  error
}

// pump moves bytes from src to dst as the fault lets it. It ends both sides,
// with the reset that src had, or passes on the half-close of src.
func (l *link) pump(ctx context.Context, dst, src *net.TCPConn) {
	queue := make(chan chunk, chunkQueue)
	var reader sync.WaitGroup
	defer reader.Wait()
	reader.Go(func() { l.read(ctx, src, queue) })
	for c := range queue {
		fault, ok := l.pass(ctx)
		if !ok || !l.sleep(ctx, time.Until(c.due)) {
			l.reset()
			return
		}
		switch {
		case c.err == nil:
			if _, err := dst.Write(c.data); err != nil {
				l.reset()
				return
			}
			if fault.BytesPerSecond > 0 {
				l.sleep(ctx, time.Duration(len(c.data))*time.Second/time.Duration(fault.BytesPerSecond))
			}
		case errors.Is(c.err, io.EOF):
			_ = dst.CloseWrite()
		default:
			l.reset()
		}
	}
}

// read fills the queue until src ends, and closes it.
func (l *link) read(ctx context.Context, src *net.TCPConn, queue chan<- chunk) {
	defer close(queue)
	for {
		fault, ok := l.pass(ctx)
		if !ok {
			return
		}
		size := chunkBytes
		if r := fault.BytesPerSecond; r > 0 {
			size = min(size, max(1, r/10)) // ten portions a second, not one
		}
		c := chunk{data: make([]byte, size)}
		n, err := src.Read(c.data)
		c.data, c.due = c.data[:n], time.Now().Add(fault.Latency)
		if n > 0 && !l.push(queue, c) {
			return
		}
		if err != nil {
			l.push(queue, chunk{err: err, due: c.due})
			return
		}
	}
}

func (l *link) push(queue chan<- chunk, c chunk) bool {
	select {
	case queue <- c:
		return true
	case <-l.ended:
		return false
	}
}

// wait holds a new connection while a black hole is there, where it has no far
// side, and returns what it has sent meanwhile. It is false when the connection
// ended before the black hole did: its SYN would never have arrived, so nothing
// of it may.
func (l *link) wait(ctx context.Context) (sent []byte, ok bool) {
	if !l.gate.Fault().BlackHole {
		_, ok = l.pass(ctx)
		return nil, ok
	}
	var reader sync.WaitGroup
	reader.Go(func() {
		buf := make([]byte, chunkBytes)
		for len(sent) < chunkQueue*chunkBytes {
			n, err := l.in.Read(buf)
			sent = append(sent, buf[:n]...)
			if err != nil {
				if !errors.Is(err, os.ErrDeadlineExceeded) {
					l.reset()
				}
				return
			}
		}
	})
	_, ok = l.pass(ctx)
	_ = l.in.SetReadDeadline(time.Unix(1, 0)) // ends the reader
	reader.Wait()
	if ok {
		_, ok = l.pass(ctx) // it may have ended with the black hole
		_ = l.in.SetReadDeadline(time.Time{})
	}
	return sent, ok
}

// pass waits until no black hole holds the bytes, and returns the fault that
// rules then; false when the link or the gate ended.
func (l *link) pass(ctx context.Context) (Fault, bool) {
	for {
		fault, changed := l.gate.state()
		if !fault.BlackHole {
			select {
			case <-l.ended:
				return fault, false
			default:
				return fault, ctx.Err() == nil
			}
		}
		select {
		case <-changed:
		case <-l.ended:
			return fault, false
		case <-ctx.Done():
			return fault, false
		}
	}
}

// sleep waits for d unless the link ends first.
func (l *link) sleep(ctx context.Context, d time.Duration) bool {
	if d <= 0 {
		return true
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-l.ended:
		return false
	case <-ctx.Done():
		return false
	}
}
