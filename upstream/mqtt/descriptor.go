package mqtt

import (
	"errors"
	"io"
	"net"
	"os"
	"syscall"
	"unsafe"

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
			k, err = callNow(syscall.SYS_WRITE, fd, p[n:])
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

// read waits until there is something, and takes it. The error of the wait is
// [net.Conn]'s.
func (d descriptor) read(p []byte) (n int, err error) {
	if len(p) == 0 {
		return 0, nil
	}
	failed := d.raw.Read(func(fd uintptr) bool {
		for {
			n, err = callNow(syscall.SYS_READ, fd, p)
			if !errors.Is(err, syscall.EINTR) {
				return !errors.Is(err, syscall.EAGAIN) // else it waits
			}
		}
	})
	switch {
	case failed != nil:
		return 0, failed
	case err != nil:
		return 0, os.NewSyscallError("read", err)
	case n == 0:
		return 0, io.EOF
	}
	return n, nil
}

// callNow reads or writes a socket that does not block; p is not empty. The
// runtime is not told of the call, as it is of those that may block: it would
// look every 20 µs whether the call is stuck, on a thread of its own, and give
// the processor to another thread whenever the kernel preempts us in the middle.
// At full speed both cost more than the call.
func callNow(trap, fd uintptr, p []byte) (n int, err error) {
	k, _, errno := syscall.RawSyscall(trap, fd, uintptr(unsafe.Pointer(&p[0])), uintptr(len(p)))
	if errno != 0 {
		return 0, errno
	}
	return int(k), nil
}

// lowMark sets how many bytes must have come for a reader to be woken. It is no
// call that the runtime is told of, for the reason of callNow: the runtime's
// watching thread sleeps when all is idle, and such a call wakes it.
func (d descriptor) lowMark(n int) (err error) {
	if d.raw == nil {
		return errors.ErrUnsupported
	}
	v := int32(n)
	failed := d.raw.Control(func(fd uintptr) {
		_, _, errno := syscall.RawSyscall6(syscall.SYS_SETSOCKOPT, fd, syscall.SOL_SOCKET, syscall.SO_RCVLOWAT, uintptr(unsafe.Pointer(&v)), unsafe.Sizeof(v), 0)
		if errno != 0 {
			err = os.NewSyscallError("setsockopt", errno)
		}
	})
	if failed != nil {
		return failed
	}
	return err
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
