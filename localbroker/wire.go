package localbroker

import (
	"errors"
	"net"
	"os"
	"sync"
	"syscall"
	"time"
)

const (
	// roomLow is how much may wait for the socket before deliveries pause in
	// their session's queue: enough to fill a write, little enough that a slow
	// device's messages stay where they can be counted and resumed.
	roomLow = 64 << 10
	// writeSlack is what may wait beyond roomLow: a largest delivery, and the
	// acknowledgements of a device that publishes without reading.
	writeSlack = 256 << 10
	writeChunk = 32 << 10
	keepSpare  = 16 << 10

	flushTimeout  = 2 * time.Second
	lingerTimeout = 500 * time.Millisecond // for a peer that is silent
	drainTimeout  = 2 * time.Second        // for one that goes on sending
	drainBytes    = 4 << 20
)

var (
	errOverflow = errors.New("does not read its answers")
	errStalled  = errors.New("stopped reading")
)

// wire is the socket of one connection. A Write never blocks:
// it appends to a bounded buffer that a goroutine, which lives only while there
// is something to write, carries to the socket. A socket that does not take a
// chunk in time, or a full buffer, ends the connection.
type wire struct {
	net.Conn                 // the stream: TCP, TLS or WebSocket
	raw      net.Conn        // the socket below it, whose Close never blocks
	plain    syscall.RawConn // the socket, when nothing is between it and the stream
	client   *client
	timeout  time.Duration // for the peer to take one chunk
	largest  int           // bytes of an answer
	throttle throttle

	// Of the reading goroutine.

	silence silence

	mu       sync.Mutex
	out      []byte // waits for the flusher
	spare    []byte
	free     int  // bytes of out that are not of AWS's quota
	writing  int  // bytes that the flusher has taken
	flushing bool // a flusher runs
	wanted   bool // the client has deliveries that wait for room
	welcome  bool // a CONNACK of success is in the buffer, or has left: a DISCONNECT may follow
	sealed   bool // a DISCONNECT is in the buffer: nothing may follow
	dead     bool // nothing is taken any more
	flushed  chan struct{}

	done   chan struct{} // closed by Close
	closed bool
}

func newWire(stream, raw net.Conn, c *client) *wire {
	w := &wire{
		Conn: stream, raw: raw, client: c, timeout: c.settings.Limits.WriteTimeout, largest: c.profile.packetSize,
		throttle: newThrottle(c),
		done:     make(chan struct{}),
	}
	if sc, ok := raw.(syscall.Conn); ok && stream == raw {
		w.plain, _ = sc.SyscallConn() // fails only when it is closed
	}
	return w
}

// Write takes p or fails; it never waits.
func (w *wire) Write(p []byte) (int, error) { return w.write(p, false, false) }

// writeWelcome is Write of a CONNACK of success.
func (w *wire) writeWelcome(p []byte) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	_, err := w.writeLocked(p, false, false)
	w.welcome = err == nil
	return err
}

// welcomed reports whether the device has been let in. What CONNECT decided may
// be read by anybody then.
func (w *wire) welcomed() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.welcome
}

// writeLast is Write of a packet that nothing may follow.
func (w *wire) writeLast(p []byte) { _, _ = w.write(p, true, false) }

// writeDelivery is Write of a PUBLISH, which may be free of AWS's quota of bytes.
func (w *wire) writeDelivery(p []byte, free bool) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	_, err := w.writeLocked(p, false, false)
	if err == nil && free {
		w.free += len(p)
	}
	return err
}

// writeNow is Write for a goroutine of the connection's own, which may as well
// go to the socket itself: the flusher is needed for what the kernel does not
// take at once. A device that waits for its PUBACK has it one wake-up sooner.
func (w *wire) writeNow(p []byte) { _, _ = w.write(p, false, true) }

func (w *wire) write(p []byte, last, now bool) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.writeLocked(p, last, now)
}

func (w *wire) writeLocked(p []byte, last, now bool) (int, error) {
	if w.dead || w.sealed {
		return 0, net.ErrClosed
	}
	if len(w.out)+w.writing+len(p) > roomLow+writeSlack+w.largest {
		w.failLocked(errOverflow)
		return 0, errOverflow
	}
	w.sealed = last
	w.client.broker.traffic.wrote(p)
	rest := p
	if now && !w.flushing && w.plain != nil {
		if rest = rest[w.tryWrite(rest):]; len(rest) == 0 {
			return len(p), nil
		}
	}
	w.out = append(w.out, rest...)
	if !w.flushing {
		w.flushing = true
		go w.flush()
	}
	return len(p), nil
}

// tryWrite gives the kernel what it takes without waiting. An error is left for
// the flusher to meet.
func (w *wire) tryWrite(p []byte) (n int) {
	_ = w.plain.Write(func(fd uintptr) bool {
		k, err := syscall.Write(int(fd), p)
		if err == nil {
			n = k
		}
		return true
	})
	return max(n, 0)
}

// room reports whether a delivery may be written now; if not, the client's
// resume is called once there is room again.
func (w *wire) room() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.out)+w.writing < roomLow {
		return true
	}
	w.wanted = true
	return false
}

// flush carries the buffer to the socket until it is empty.
func (w *wire) flush() {
	for {
		w.mu.Lock()
		w.writing = 0
		if w.dead || len(w.out) == 0 {
			w.flushing = false
			if w.flushed != nil {
				close(w.flushed)
				w.flushed = nil
			}
			w.mu.Unlock()
			return
		}
		buf := w.out
		w.out, w.spare = w.spare, nil
		w.writing = len(buf)
		free := w.free
		w.free = 0
		w.mu.Unlock()

		err := w.carry(buf, free)

		w.mu.Lock()
		if cap(buf) <= keepSpare {
			w.spare = buf[:0]
		}
		if err != nil {
			w.failLocked(err)
		}
		w.writing = 0
		wanted := w.wanted && len(w.out) < roomLow && !w.dead
		if wanted {
			w.wanted = false
		}
		w.mu.Unlock()
		if wanted {
			w.client.guard(w.client.resume)
		}
	}
}

// carry writes buf in chunks, each with its own deadline, so that a slow peer
// is not taken for a stalled one. So many bytes of it are not of AWS's quota.
func (w *wire) carry(buf []byte, free int) error {
	for len(buf) > 0 {
		n := min(len(buf), writeChunk)
		if err := w.SetWriteDeadline(time.Now().Add(w.timeout)); err != nil {
			return err
		}
		if _, err := w.Conn.Write(buf[:n]); err != nil {
			if errors.Is(err, os.ErrDeadlineExceeded) {
				return errStalled
			}
			return err
		}
		exempt := min(n, free)
		free -= exempt
		w.throttle.passes(n-exempt, w.done)
		buf = buf[n:]
	}
	return nil
}

// failLocked ends the connection at once: what waits is lost.
func (w *wire) failLocked(err error) {
	if w.dead {
		return
	}
	w.dead, w.out = true, nil
	w.client.fail(err)
	w.closeLocked()
	_ = w.raw.Close()
}

// Read reads as much as our own bound of bytes lets it.
func (w *wire) Read(p []byte) (int, error) {
	w.client.intake.listens()
	n, err := w.Conn.Read(w.throttle.part(p))
	w.client.intake.hears()
	w.client.broker.traffic.bytesIn.Add(int64(n))
	if w.throttle.read(n, w.done) {
		w.await() // the device is not to blame for the wait
	}
	return n, err
}

// Close ends reading; what was written still leaves. It may be called by
// anybody, any number of times. The socket itself is closed by shutdown.
func (w *wire) Close() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.closeLocked()
	return nil
}

func (w *wire) closeLocked() {
	if w.closed {
		return
	}
	w.closed = true
	close(w.done)
	_ = w.SetReadDeadline(time.Unix(1, 0))
	w.client.intake.wake()
}

// shutdown lets the buffer leave and closes the socket, in bounded time.
func (w *wire) shutdown() {
	_ = w.Close()
	w.mu.Lock()
	flushed := w.flushed
	if w.flushing && flushed == nil {
		flushed = make(chan struct{})
		w.flushed = flushed
	}
	linger := w.sealed && !w.dead
	w.mu.Unlock()
	if flushed != nil {
		t := time.NewTimer(flushTimeout)
		select {
		case <-flushed:
		case <-t.C:
			linger = false
		}
		t.Stop()
	}
	w.mu.Lock()
	stuck := w.flushing
	w.dead, w.out, w.spare = true, nil, nil
	w.mu.Unlock()
	if stuck {
		_ = w.raw.Close()
	}
	if c, ok := w.Conn.(interface{ CloseWrite() error }); ok && !stuck {
		_ = w.SetWriteDeadline(time.Now().Add(lingerTimeout))
		_ = c.CloseWrite()
	}
	if linger {
		drain(w.raw)
	}
	_ = w.raw.Close()
}

// drain reads what comes after a goodbye, until the peer closes or is silent, or
// it has been enough: closing a socket with unread input makes the kernel reset
// it, and the peer may lose the goodbye.
func drain(raw net.Conn) {
	buf := lent.Get().(*[lentBuffer]byte)
	defer lent.Put(buf)
	end := time.Now().Add(drainTimeout)
	for left := drainBytes; left > 0; {
		until := time.Now().Add(lingerTimeout)
		if end.Before(until) {
			until = end
		}
		if raw.SetReadDeadline(until) != nil {
			return
		}
		n, err := raw.Read(buf[:min(left, len(buf))])
		if err != nil {
			return
		}
		left -= n
	}
}
