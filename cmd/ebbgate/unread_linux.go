package main

import (
	"net"
	"syscall"

	"golang.org/x/sys/unix"
)

// unread is how many bytes that were written to a connection its peer's kernel has not
// taken: for longer than a moment it is more than none only when the peer's buffers are
// full, or the peer is out of reach. 0: none, or nobody knows.
func unread(c net.Conn) (n int) {
	sc, ok := c.(syscall.Conn)
	if !ok {
		return 0
	}
	raw, err := sc.SyscallConn()
	if err != nil {
		return 0
	}
	err = raw.Control(func(fd uintptr) { n, ok = outstanding(int(fd)) })
	if err != nil || !ok { // closed, or no TCP
		return 0
	}
	return n
}

func outstanding(fd int) (int, bool) {
	n, err := unix.IoctlGetInt(fd, unix.SIOCOUTQ)
	return n, err == nil
}
