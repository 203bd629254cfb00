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

// publisher publishes QoS 1 messages over one connection as fast as they are
// acknowledged. One goroutine is enough, and the cheapest: it writes as many
// frames as it has just read acknowledgements, in one call, and is not woken for
// fewer than ackBatch.
type publisher struct {
	conn   net.Conn
	client string
	ring   *ring
	sent   uint64
	acked  atomic.Uint64
	low    int // bytes below which the kernel does not wake us
	part   int // bytes of an acknowledgement that has not arrived whole
	buf    [4096]byte
}

// ackBatch is how many acknowledgements a publisher waits for, if as many are
// due. A broker that answers one by one would else be measured by how fast this
// program can be woken; it still has nine tenths of the window to work on.
const ackBatch = window / 10

// ackSize is the length of a PUBACK of MQTT 3.1.1, in bytes.
const ackSize = 4

// connect opens an MQTT session.
func connect(ctx context.Context, addr, clientID string) (net.Conn, error) {
	var d net.Dialer
	conn, err := d.DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, err
	}
	if err := login(conn, clientID); err != nil {
		return nil, errors.Join(fmt.Errorf("%s at %s: %w", clientID, addr, err), conn.Close())
	}
	return conn, nil
}

// loginTime bounds the answer to a CONNECT.
const loginTime = 10 * time.Second

func login(conn net.Conn, clientID string) error {
	if err := conn.SetDeadline(time.Now().Add(loginTime)); err != nil {
		return err
	}
	if _, err := conn.Write(connectFrame(clientID)); err != nil {
		return err
	}
	if err := readAnswer(conn, packetConnAck, 2); err != nil {
		return err
	}
	return conn.SetDeadline(time.Time{})
}

// newPublisher connects publisher index with room for window messages in
// flight.
func newPublisher(ctx context.Context, addr string, index, window int) (*publisher, error) {
	conn, err := connect(ctx, addr, clientName(index))
	if err != nil {
		return nil, err
	}
	return publisherOn(conn, index, window), nil
}

// publisherOn makes the publisher index of a session that is open.
func publisherOn(conn net.Conn, index, window int) *publisher {
	client := clientName(index)
	return &publisher{conn: conn, client: client, ring: newRing(index, topicOf(client), window)}
}

func clientName(index int) string { return fmt.Sprintf("load-%03d", index) }

func topicOf(client string) string { return "dt/" + client + "/t" }

// close ends the session.
func (p *publisher) close() {
	_, _ = p.conn.Write([]byte{packetDisconnect, 0}) // the peer may be gone
	_ = p.conn.Close()
}

// publish publishes n more messages, or until stop is set, and returns when
// each is acknowledged.
func (p *publisher) publish(ctx context.Context, n uint64, stop *atomic.Bool) error {
	defer context.AfterFunc(ctx, func() { _ = p.conn.SetDeadline(time.Now()) })()
	end := p.sent + n
	for {
		acked := p.acked.Load()
		if stop.Load() {
			end = p.sent
		}
		if k := min(p.ring.window-(p.sent-acked), end-p.sent); k > 0 {
			if _, err := p.conn.Write(p.ring.take(p.sent, k)); err != nil {
				return p.failed(ctx, err)
			}
			p.sent += k
		}
		if p.sent == acked {
			return nil
		}
		k, err := p.readAcks(acked)
		if err != nil {
			return p.failed(ctx, err)
		}
		p.acked.Store(acked + k)
	}
}

func (p *publisher) failed(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		err = ctx.Err()
	}
	return fmt.Errorf("%s, %d sent, %d acknowledged: %w", p.client, p.sent, p.acked.Load(), err)
}

// readAcks waits for acknowledgements, of which the next is of message n, and
// returns how many have come.
func (p *publisher) readAcks(n uint64) (uint64, error) {
	enough := ackSize * int(min(ackBatch, p.sent-n))
	held := p.part
	for held < enough {
		if low := enough - held; p.low != low && (low < p.low || held == 0) {
			if err := setLowWater(p.conn, low); err != nil {
				return 0, err
			}
			p.low = low
		}
		got, err := p.conn.Read(p.buf[held:])
		if err != nil {
			return 0, err
		}
		held += got
	}
	b, k := p.buf[:held], uint64(0)
	for ; len(b) >= ackSize; b, k = b[ackSize:], k+1 {
		if b[0] != packetPubAck || b[1] != 2 {
			return 0, fmt.Errorf("awaiting a PUBACK, got %x", b[:ackSize])
		}
		if id := binary.BigEndian.Uint16(b[2:]); id != p.ring.packetID(n+k) {
			return 0, fmt.Errorf("awaiting the PUBACK of %d, got that of %d", p.ring.packetID(n+k), id)
		}
	}
	p.part = copy(p.buf[:], b)
	return k, nil
}
