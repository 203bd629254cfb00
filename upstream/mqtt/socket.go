package mqtt

import (
	"errors"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// socket is the network below TLS, for a sender that must not wait and a reader
// that may.
//
// A Write never blocks: what the kernel does not take at once is kept, and a
// goroutine that lives only as long as there is something writes it. So whoever
// has a message writes it himself, and no other goroutine is woken for it.
//
// A Read may wait a little for more than the first byte, when more is sure to
// come: acknowledgements arrive one by one, and to be woken for each costs more
// than all the rest of a message's way.
type socket struct {
	net.Conn
	fd descriptor

	mu       sync.Mutex
	pending  []byte // what the kernel has not taken
	draining bool
	broken   error
	farewell bool            // close when nothing is pending
	drained  func(err error) // told when pending has come to its end
	carried  func(bytes int) // told what is read and written; nil for nobody

	worth    atomic.Int32 // bytes that a Read should wait for, if they come soon
	trust    int          // bytes that it does wait for, at most
	kept     int          // reads in which as much came, since trust has changed
	lowMark  int          // what the kernel has been told of it
	deadline time.Time    // of the Read that waits for them
	lastRead time.Time
	fast     bool // they came soon, the last time
}

// soon is how long it may take for what is worth waiting for to come: far below
// every round trip over which a window of 100 could matter. linger bounds what
// is lost when it does not come as it did before; a deadline is set anew when
// half of it has passed, since setting one wakes the runtime's poller.
//
// What never comes is what the broker may not send: each acknowledgement is a
// segment of its own, its congestion window may be ten of them or four, and our
// kernel does not acknowledge so few bytes while we do not read. So a wait in vain
// halves what is waited for from then on, and it grows slowly.
const (
	soon       = time.Millisecond
	linger     = 5 * time.Millisecond
	firstTrust = 16 * pubackSize
	trustAfter = 256 // reads
)

func newSocket(c net.Conn) *socket {
	return &socket{Conn: c, fd: descriptorOf(c), drained: func(error) {}, trust: firstTrust}
}

// Write takes all of p, or fails because the connection has.
func (s *socket) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.broken != nil {
		return 0, s.broken
	}
	if s.carried != nil {
		s.carried(len(p))
	}
	rest := p
	if !s.draining {
		n, err := s.fd.write(p)
		if err != nil {
			s.broken = err
			return n, err
		}
		rest = p[n:]
	}
	if len(rest) == 0 {
		return len(p), nil
	}
	s.pending = append(s.pending, rest...)
	if !s.draining {
		s.draining = true
		go s.drain()
	}
	return len(p), nil
}

// drain writes what is pending until nothing is.
func (s *socket) drain() {
	var out []byte
	for {
		s.mu.Lock()
		out, s.pending = s.pending, out[:0]
		if len(out) == 0 || s.broken != nil {
			s.draining, s.pending = false, nil
			err, last := s.broken, s.farewell
			s.mu.Unlock()
			if last {
				_ = s.Close() // nobody is left to care
			}
			s.drained(err)
			return
		}
		s.mu.Unlock()
		if _, err := s.Conn.Write(out); err != nil {
			s.mu.Lock()
			s.broken = err
			s.mu.Unlock()
		}
	}
}

// waiting is how many bytes the kernel has not been given yet.
func (s *socket) waiting() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.pending)
}

// finish closes the connection once everything is written, and at the latest
// after d.
func (s *socket) finish(d time.Duration) {
	s.mu.Lock()
	s.farewell = true
	busy := s.draining
	if busy {
		_ = s.SetWriteDeadline(time.Now().Add(d)) // fails only when it is closed
	}
	s.mu.Unlock()
	if !busy {
		_ = s.Close()
	}
}

// Read reads what there is; while there is nothing it waits, for more than a
// byte if that is worth it.
func (s *socket) Read(p []byte) (int, error) {
	for {
		worth := min(int(s.worth.Load()), s.trust)
		if !s.fast {
			worth = 1
		}
		s.mark(worth)
		if s.lowMark > 1 && s.deadline.Sub(s.lastRead) < linger/2 {
			s.deadline = s.lastRead.Add(linger)
			_ = s.SetReadDeadline(s.deadline) // fails only when it is closed
		}
		n, err := s.read(p)
		now := time.Now()
		took := now.Sub(s.lastRead)
		s.lastRead = now
		if s.carried != nil && n > 0 {
			s.carried(n)
		}
		s.fast = time.Duration(n)*soon >= time.Duration(s.worth.Load())*took
		if n > 0 || s.lowMark <= 1 || !errors.Is(err, os.ErrDeadlineExceeded) {
			if s.kept++; s.kept >= trustAfter {
				s.trust, s.kept = min(s.trust+pubackSize, burstAcks*pubackSize), 0
			}
			return n, err
		}
		s.fast = false // less came than is worth waiting for, or nothing: take it
		s.trust, s.kept = max(s.trust/2, pubackSize), 0
	}
}

func (s *socket) read(p []byte) (int, error) {
	if s.fd.raw == nil {
		return s.Conn.Read(p)
	}
	return s.fd.read(p)
}

// mark tells the kernel for how many bytes to wake us.
func (s *socket) mark(n int) {
	if n = max(n, 1); n == s.lowMark || n == 1 && s.lowMark == 0 {
		return
	}
	if s.fd.lowMark(n) != nil {
		n = 1
	}
	if n == 1 && s.lowMark > 1 {
		s.deadline = time.Time{}
		_ = s.SetReadDeadline(s.deadline) // fails only when it is closed
	}
	s.lowMark = n
}
