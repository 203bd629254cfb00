package main

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
)

// sinkMode is the first argument that makes this program a sink.
const sinkMode = "sink"

// runSink is a server that does nothing but acknowledge, on the address given:
// the publishers' ceiling is measured against it.
func runSink(ctx context.Context, addr string) error {
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", addr)
	if err != nil {
		return fmt.Errorf("sink: %w", err)
	}
	return serveSink(ctx, l)
}

// serveSink serves until ctx ends, and closes l.
func serveSink(ctx context.Context, l net.Listener) error {
	defer context.AfterFunc(ctx, func() { _ = l.Close() })()
	var open sync.WaitGroup
	defer open.Wait()
	for {
		conn, err := l.Accept()
		if err != nil {
			if ctx.Err() != nil {
				return nil
			}
			return errors.Join(fmt.Errorf("sink: %w", err), l.Close())
		}
		open.Go(func() {
			defer context.AfterFunc(ctx, func() { _ = conn.Close() })()
			if err := acknowledge(conn); err != nil && ctx.Err() == nil {
				_, _ = fmt.Fprintln(os.Stderr, "sink:", err)
			}
			_ = conn.Close()
		})
	}
}

// acknowledge answers each PUBLISH of one connection with a PUBACK.
func acknowledge(conn net.Conn) error {
	buf, answer := make([]byte, 64<<10), make([]byte, 0, 4096)
	for held := 0; ; {
		n, err := conn.Read(buf[held:])
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		b := buf[:held+n]
		answer = answer[:0]
		for {
			kind, body, size, err := splitPacket(b)
			if errors.Is(err, errShort) {
				break
			}
			if err != nil {
				return err
			}
			b = b[size:]
			switch kind {
			case packetConnect:
				answer = append(answer, packetConnAck, 2, 0, 0)
			case packetPublish | flagQoS1:
				at := 2 + int(binary.BigEndian.Uint16(body))
				answer = append(answer, packetPubAck, 2, body[at], body[at+1])
			}
		}
		held = copy(buf, b)
		if _, err := conn.Write(answer); err != nil {
			return err
		}
	}
}
