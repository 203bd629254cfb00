package mqtt

import (
	"errors"
	"net"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// descriptor is the file descriptor of a connection that has one.
type descriptor struct{ raw syscall.RawConn }

// descriptorOf is empty for a connection in memory.
func descriptorOf(c net.Conn) descriptor {
	if sc, ok := c.(syscall.Conn); ok {
		if raw, err := sc.SyscallConn(); err == nil {
			return descriptor{raw}
		}
	}
	return descriptor{}
}

// write gives the kernel what it takes without waiting.
func (d descriptor) write(p []byte) (n int, err error) {
	if d.raw == nil {
		return 0, nil
	}
	failed := d.raw.Write(func(fd uintptr) bool {
		for n < len(p) {
			var k int
			k, err = syscall.Write(int(fd), p[n:])
			switch {
			case k > 0:
				n += k
			case errors.Is(err, syscall.EINTR):
			case errors.Is(err, syscall.EAGAIN):
				err = nil
				return true
			default:
				err = os.NewSyscallError("write", err)
				return true
			}
		}
		return true // never wait
	})
	if failed != nil {
		return n, failed
	}
	return n, err
}

// lowMark sets how many bytes must have come for a reader to be woken.
func (d descriptor) lowMark(n int) (err error) {
	if d.raw == nil {
		return errors.ErrUnsupported
	}
	failed := d.raw.Control(func(fd uintptr) { err = syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_RCVLOWAT, n) })
	return errors.Join(failed, err)
}

// taken is how many bytes the other side's kernel has acknowledged; 0 when that
// is not known.
func (d descriptor) taken() (n uint64) {
	if d.raw == nil {
		return 0
	}
	_ = d.raw.Control(func(fd uintptr) {
		if info, err := unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO); err == nil {
			n = info.Bytes_acked
		}
	})
	return n
}
