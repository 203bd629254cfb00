package scenario

import (
	"bufio"
	wire "encoding/binary"
	"net"
	"strings"
	"sync"
	"testing"
)

// ledgerCloud is a cloud that acknowledges everything, but for every tenth message
// of the devices named refused-…, which it refuses for good.
type ledgerCloud struct {
	Addr string
	l    net.Listener
	wg   sync.WaitGroup

	mu    sync.Mutex
	conns map[net.Conn]struct{}
	acked map[string]int64 // by what the device is called
	seen  int64            // of those named refused
}

func newLedgerCloud(t testing.TB) *ledgerCloud {
	t.Helper()
	c := &ledgerCloud{conns: map[net.Conn]struct{}{}, acked: map[string]int64{}}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	c.l, c.Addr = l, l.Addr().String()
	c.wg.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			c.mu.Lock()
			c.conns[conn] = struct{}{}
			c.mu.Unlock()
			c.wg.Go(func() { c.serve(conn) })
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		c.mu.Lock()
		for conn := range c.conns {
			_ = conn.Close()
		}
		c.mu.Unlock()
		c.wg.Wait()
	})
	return c
}

// serve speaks as much MQTT 5 as the gateway's uplink needs.
func (c *ledgerCloud) serve(conn net.Conn) {
	defer func() {
		_ = conn.Close()
		c.mu.Lock()
		delete(c.conns, conn)
		c.mu.Unlock()
	}()
	in := bufio.NewReader(conn)
	for {
		packet, body, err := nextPacket(in)
		if err != nil {
			return
		}
		var answer []byte
		switch packet[0] >> 4 {
		case 1: // CONNECT
			answer = []byte{0x20, 3, 0, 0, 0}
		case 3: // PUBLISH
			n := int(wire.BigEndian.Uint16(packet[body:]))
			topic, id := string(packet[body+2:body+2+n]), packet[body+2+n:body+4+n]
			answer = []byte{0x40, 4, id[0], id[1], c.take(topic), 0}
		case 12: // PINGREQ
			answer = []byte{0xD0, 0}
		default:
			return
		}
		if _, err := conn.Write(answer); err != nil {
			return
		}
	}
}

// take counts a message, and returns the reason code of its PUBACK.
func (c *ledgerCloud) take(topic string) byte {
	name, _, _ := strings.Cut(strings.TrimPrefix(topic, "dt/"), "-")
	c.mu.Lock()
	defer c.mu.Unlock()
	if name == "refused" {
		if c.seen++; c.seen%10 == 0 {
			return 0x99
		}
	}
	c.acked[name]++
	return 0
}

func (c *ledgerCloud) took(name string) int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.acked[name]
}
