package main

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"sync/atomic"
	"syscall"
	"time"
)

// subscriber counts what arrives at a broker, and checks that each publisher's
// messages are complete and in order. It subscribes with QoS 0: what is
// measured is the way to the broker, and what the broker might drop on the way
// from it would show as a gap.
type subscriber struct {
	conn     net.Conn
	want     int64
	arrived  atomic.Int64
	next     []uint64 // by publisher: the number that is due
	bad      int64    // messages twice, missing or out of order
	first    time.Time
	last     time.Time
	finished chan error // the end of reading
}

// newSubscriber subscribes to dt/# and awaits want messages of manyDevices
// publishers.
func newSubscriber(ctx context.Context, addr string, want int) (*subscriber, error) {
	conn, err := connect(ctx, addr, "counter")
	if err != nil {
		return nil, err
	}
	_, err = conn.Write(subscribeFrame("dt/#"))
	if err == nil {
		err = readAnswer(conn, packetSubAck, 3)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("subscribe: %w", err), conn.Close())
	}
	s := &subscriber{conn: conn, want: int64(want), next: make([]uint64, manyDevices+starters), finished: make(chan error, 1)}
	go func() { s.finished <- s.read() }()
	return s, nil
}

// close ends the session. It may be called when wait has been, or not.
func (s *subscriber) close() { _ = s.conn.Close() }

// stalled is how long nothing may arrive before a run has failed.
const stalled = 30 * time.Second

// wait waits until all has arrived, and says when the first and the last did.
func (s *subscriber) wait(ctx context.Context) (first, last time.Time, err error) {
	if err := awaitAll(ctx, s.finished, &s.arrived, s.want); err != nil {
		return first, last, err
	}
	if s.bad > 0 {
		err = fmt.Errorf("%d of %d messages arrived twice, late or not at all", s.bad, s.want)
	}
	return s.first, s.last, err
}

// awaitAll waits for the end of what counts arrivals, as long as some come.
func awaitAll(ctx context.Context, finished <-chan error, arrived *atomic.Int64, want int64) error {
	watch := time.NewTicker(stalled)
	defer watch.Stop()
	for before := int64(-1); ; {
		select {
		case err := <-finished:
			return err
		case <-watch.C:
			n := arrived.Load()
			if n == before {
				return fmt.Errorf("%d of %d messages arrived, and none for %v", n, want, stalled)
			}
			before = n
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// nap is how long the subscriber lets messages gather. A cloud writes them one
// by one; to be woken for each would cost the machine more than the gateway.
const nap = 2 * time.Millisecond

// gulp is how much it reads at once: a longer system call would wake this
// process's scheduler, which then looks every 20 µs for what may be stuck.
const gulp = 32 << 10

// read takes PUBLISHes until as many as wanted have arrived.
func (s *subscriber) read() error {
	raw, err := s.conn.(syscall.Conn).SyscallConn()
	if err != nil {
		return err
	}
	buf := make([]byte, 2*gulp)
	held := 0
	gather := time.NewTicker(nap)
	defer gather.Stop()
	for {
		n, err := readNow(raw, buf[held:held+gulp])
		if err != nil {
			return err
		}
		if n == 0 {
			<-gather.C
			continue
		}
		now := time.Now()
		if s.first.IsZero() {
			s.first = now
		}
		s.last = now
		rest, count, err := s.take(buf[:held+n])
		if err != nil {
			return err
		}
		if held = copy(buf, rest); held > gulp {
			return fmt.Errorf("a packet of more than %d bytes, which is not of this program", gulp)
		}
		if s.arrived.Add(count) >= s.want {
			return nil
		}
	}
}

// readNow reads what has come without waiting; 0 bytes are nothing yet.
func readNow(raw syscall.RawConn, p []byte) (n int, err error) {
	failed := raw.Read(func(fd uintptr) bool {
		n, err = syscall.Read(int(fd), p)
		return true
	})
	switch {
	case failed != nil:
		return 0, failed
	case errors.Is(err, syscall.EAGAIN), errors.Is(err, syscall.EINTR):
		return 0, nil
	case err == nil && n == 0:
		return 0, io.EOF
	}
	return max(n, 0), err
}

// take counts the PUBLISHes in b and returns what is left of it.
func (s *subscriber) take(b []byte) (rest []byte, count int64, err error) {
	for {
		kind, body, size, err := splitPacket(b)
		if errors.Is(err, errShort) {
			return b, count, nil
		}
		if err != nil {
			return nil, count, err
		}
		b = b[size:]
		if kind&0xf0 != packetPublish {
			continue
		}
		if err := s.check(body); err != nil {
			return nil, count, err
		}
		count++
	}
}

// check compares the message in the body of a QoS 0 PUBLISH with what is due.
func (s *subscriber) check(body []byte) error {
	if len(body) < 2 || len(body) < 2+int(binary.BigEndian.Uint16(body))+payloadHeader {
		return fmt.Errorf("a PUBLISH of %d bytes that is not of this program", len(body))
	}
	payload := body[2+int(binary.BigEndian.Uint16(body)):]
	index, number := binary.BigEndian.Uint32(payload[payloadIndex:]), binary.BigEndian.Uint64(payload[payloadNumber:])
	if int(index) >= len(s.next) {
		return fmt.Errorf("a message of publisher %d, which does not exist", index)
	}
	if number != s.next[index] {
		s.bad++
	}
	s.next[index] = number + 1
	return nil
}
