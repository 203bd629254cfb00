package main

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"sync/atomic"
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
	watch := time.NewTicker(stalled)
	defer watch.Stop()
	for before := int64(-1); ; {
		select {
		case err := <-s.finished:
			if err == nil && s.bad > 0 {
				err = fmt.Errorf("%d of %d messages arrived twice, late or not at all", s.bad, s.want)
			}
			return s.first, s.last, err
		case <-watch.C:
			n := s.arrived.Load()
			if n == before {
				return first, last, fmt.Errorf("%d of %d messages arrived, and none for %v", n, s.want, stalled)
			}
			before = n
		case <-ctx.Done():
			return first, last, ctx.Err()
		}
	}
}

// nap is how long the subscriber lets messages gather. A cloud writes them one
// by one; to be woken for each would cost the machine more than the gateway.
const nap = time.Millisecond

// read takes PUBLISHes until as many as wanted have arrived.
func (s *subscriber) read() error {
	buf := make([]byte, 256<<10)
	held := 0
	gather := time.NewTicker(nap)
	defer gather.Stop()
	for {
		<-gather.C
		n, err := s.conn.Read(buf[held:])
		if err != nil {
			return err
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
		held = copy(buf, rest)
		if s.arrived.Add(count) >= s.want {
			return nil
		}
	}
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
