package localbroker

import (
	"crypto/tls"
	"syscall"
	"time"
)

// early reports whether the device has sent something behind its CONNECT and
// before it could have CONNACK (B17): along with it, or while CONNECT was being
// decided on. Over WebSocket only the former is seen: what waits there may be a
// ping, which a device may send.
func (c *client) early() bool {
	if c.inbound.more() {
		return true
	}
	waits := waitsFor(c.wire.raw)
	switch c.wire.Conn.(type) {
	case *tls.Conn: // what waits may be a part of a record, or none of MQTT's
		until := time.Unix(1, 0) // what TLS has read already
		if waits {
			until = time.Now().Add(earlyTime)
		}
		if c.wire.readUntil(until) == nil {
			_ = c.inbound.fill() // an end is met again, and a record that is not whole goes on
		}
		return c.inbound.more()
	default:
		return waits && c.wire.plain != nil
	}
}

// earlyTime is for the rest of a record that has begun to come.
const earlyTime = 50 * time.Millisecond

// waitsFor reports whether the kernel has something to be read from a socket.
func waitsFor(raw any) (waits bool) {
	sc, ok := raw.(syscall.Conn)
	if !ok {
		return false
	}
	socket, err := sc.SyscallConn()
	if err != nil {
		return false // closed
	}
	_ = socket.Read(func(fd uintptr) bool {
		var one [1]byte
		n, _, err := syscall.Recvfrom(int(fd), one[:], syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
		waits = err == nil && n > 0
		return true
	})
	return waits
}
