package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"sync/atomic"
)

// reading is what the fast subscribers have received.
type reading struct{ arrived atomic.Int64 }

// readers subscribes, for each publisher of a fleet, one client to its topic,
// at QoS 0. They read until stop.
func (c *crowd) readers(ctx context.Context) (r *reading, stop func(), err error) {
	r = &reading{}
	var wg sync.WaitGroup
	var conns []net.Conn
	stop = func() {
		for _, conn := range conns {
			_ = conn.Close()
		}
		wg.Wait()
	}
	for i := range manyDevices {
		conn, err := connect(ctx, c.addr, fmt.Sprintf("reader-%02d", i))
		if err == nil {
			conns = append(conns, conn)
			_, err = conn.Write(subscribeFrame(topicOf(clientName(i))))
		}
		if err == nil {
			err = readAnswer(conn, packetSubAck, 3)
		}
		if err != nil {
			stop()
			return nil, nil, err
		}
		wg.Go(func() { _ = r.read(conn) }) // it ends with its connection
	}
	return r, stop, nil
}

// read counts PUBLISHes.
func (r *reading) read(conn net.Conn) error {
	buf := make([]byte, 2*gulp)
	held := 0
	for {
		n, err := conn.Read(buf[held:])
		if err != nil {
			return err
		}
		b := buf[:held+n]
		for {
			_, _, size, err := splitPacket(b)
			if errors.Is(err, errShort) {
				break
			}
			if err != nil {
				return err
			}
			r.arrived.Add(1)
			b = b[size:]
		}
		held = copy(buf, b)
	}
}

// subscribeQoS1Frame asks for a filter with QoS 1.
func subscribeQoS1Frame(filter string) []byte {
	frame := subscribeFrame(filter)
	frame[len(frame)-1] = 1
	return frame
}

// readAnswerCode is readAnswer for an answer with another code than 0.
func readAnswerCode(r io.Reader, kind byte, size int, code byte) error {
	b := make([]byte, 2+size)
	if _, err := io.ReadFull(r, b); err != nil {
		return fmt.Errorf("awaiting packet %#x: %w", kind, err)
	}
	if b[0] != kind || b[len(b)-1] != code {
		return fmt.Errorf("awaiting packet %#x with code %d, got %x", kind, code, b)
	}
	return nil
}
