package main

import (
	"context"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// receiver is a cloud that is not one thread: it acknowledges what its connections
// bring, each by itself, and checks that each publisher's messages are complete and in
// order. It speaks as much of MQTT 3.1.1 and 5 as an uplink and a bridge need.
type receiver struct {
	listener net.Listener
	want     int64
	arrived  atomic.Int64
	bad      atomic.Int64
	next     []atomic.Uint64 // by publisher: the number that is due
	first    atomic.Int64    // Unix time, ns
	last     atomic.Int64
	done     chan error // closed when all has arrived
	open     sync.WaitGroup
	stop     context.CancelFunc
}

// receive serves at an address until want messages of manyDevices publishers have come;
// with a certificate over TLS.
func receive(ctx context.Context, addr string, want int, secure *tls.Config) (*receiver, error) {
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", addr)
	if err != nil {
		return nil, err
	}
	if secure != nil {
		l = tls.NewListener(l, secure)
	}
	ctx, stop := context.WithCancel(ctx)
	r := &receiver{listener: l, want: int64(want), next: make([]atomic.Uint64, manyDevices+starters), done: make(chan error), stop: stop}
	r.open.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			r.open.Go(func() { r.serve(ctx, conn) })
		}
	})
	return r, nil
}

// close ends its connections.
func (r *receiver) close() {
	r.stop()
	_ = r.listener.Close()
	r.open.Wait()
}

// pid is that of this program, which does little else meanwhile.
func (*receiver) pid() int { return os.Getpid() }

// wait waits until all has arrived, and says when the first and the last did.
func (r *receiver) wait(ctx context.Context) (first, last time.Time, err error) {
	if err := awaitAll(ctx, r.done, &r.arrived, r.want); err != nil {
		return first, last, err
	}
	if n := r.bad.Load(); n > 0 {
		err = fmt.Errorf("%d of %d messages arrived twice, late or not at all", n, r.want)
	}
	return time.Unix(0, r.first.Load()), time.Unix(0, r.last.Load()), err
}

// serve answers one connection until it ends.
func (r *receiver) serve(ctx context.Context, conn net.Conn) {
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { _ = conn.Close() })()
	c := &received{receiver: r}
	buf := make([]byte, 64<<10)
	for held := 0; ; {
		n, err := conn.Read(buf[held:])
		if err == nil {
			held, err = c.take(buf, held+n)
		}
		if err == nil && len(c.answer) > 0 {
			_, err = conn.Write(c.answer)
			c.answer = c.answer[:0]
		}
		if err != nil {
			if ctx.Err() == nil && !errors.Is(err, io.EOF) {
				_, _ = fmt.Fprintln(os.Stderr, "receiver:", err)
			}
			return
		}
	}
}

// received is what has come on one connection.
type received struct {
	*receiver
	five   bool // it speaks MQTT 5
	answer []byte
}

// take answers the packets in the first n bytes of buf, and says how many are left.
func (c *received) take(buf []byte, n int) (left int, err error) {
	b, count, now := buf[:n], int64(0), time.Now().UnixNano()
	for {
		kind, body, size, err := splitPacket(b)
		if errors.Is(err, errShort) {
			break
		}
		if err != nil {
			return 0, err
		}
		b = b[size:]
		if kind&^0x08 == packetPublish|flagQoS1 { // one with DUP would be out of order
			count++
		}
		if err := c.packet(kind, body); err != nil {
			return 0, err
		}
	}
	if count > 0 {
		c.first.CompareAndSwap(0, now)
		c.last.Store(now)
		if all := c.arrived.Add(count); all >= c.want && all-count < c.want {
			close(c.done)
		}
	}
	return copy(buf, b), nil
}

// packet answers one packet.
func (c *received) packet(kind byte, body []byte) error {
	switch kind &^ 0x08 {
	case packetConnect:
		if len(body) < 7 {
			return fmt.Errorf("a CONNECT of %d bytes", len(body))
		}
		if c.five = body[6] == 5; c.five {
			c.answer = append(c.answer, packetConnAck, 3, 0, 0, 0)
		} else {
			c.answer = append(c.answer, packetConnAck, 2, 0, 0)
		}
	case packetPingReq:
		c.answer = append(c.answer, packetPingResp, 0)
	case packetPublish | flagQoS1:
		at := 2
		if len(body) > 2 {
			at += int(binary.BigEndian.Uint16(body))
		}
		if len(body) < at+2 {
			return fmt.Errorf("a PUBLISH of %d bytes", len(body))
		}
		c.answer = append(c.answer, packetPubAck, 2, body[at], body[at+1])
		payload := body[at+2:]
		if c.five {
			length, n := binary.Uvarint(payload) // MQTT's numbers are of the same form
			if n <= 0 || uint64(len(payload)-n) < length {
				return errors.New("a PUBLISH without properties")
			}
			payload = payload[n+int(length):]
		}
		return c.check(payload)
	}
	return nil
}

// check compares a message with what is due of its publisher, whose messages come on
// one connection.
func (c *received) check(payload []byte) error {
	if len(payload) < payloadHeader {
		return fmt.Errorf("a message of %d bytes that is not of this program", len(payload))
	}
	index, number := binary.BigEndian.Uint32(payload[payloadIndex:]), binary.BigEndian.Uint64(payload[payloadNumber:])
	if int(index) >= len(c.next) {
		return fmt.Errorf("a message of publisher %d, which does not exist", index)
	}
	if number != c.next[index].Load() {
		c.bad.Add(1)
	}
	c.next[index].Store(number + 1)
	return nil
}
