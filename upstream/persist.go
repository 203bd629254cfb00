package upstream

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// UnansweredError says that nobody has answered at an address, not even to
// refuse: what a pulled cable behind the next router looks like, and a firewall
// that throws away.
type UnansweredError struct {
	Address string // host and port
	Err     error
}

// Error says for how long nobody answered, in the words of the network.
func (e *UnansweredError) Error() string {
	return fmt.Sprintf("nobody answers at %s: %v", e.Address, e.Err)
}

// Unwrap returns the cause.
func (e *UnansweredError) Unwrap() error { return e.Err }

// The kernel asks again for a connection that nobody answers after 1, 3, 7 and
// 15 seconds, and a name server after 5. A link that comes back in between would
// go unnoticed for as long, so another attempt begins every askAgain beside those
// that hang. Only the youngest can be answered soon: there are never more than
// hanging.
const (
	askAgain = 1500 * time.Millisecond
	hanging  = 3
)

// persist opens one TCP connection, by attempts beside each other until one is
// answered. Nothing is said on those that come too late: they cost a server
// nothing.
func (d *Dialer) persist(ctx context.Context, address string) (net.Conn, error) {
	if d.patient != nil && d.patient() {
		return d.unanswered(ctx, address, d.dial)
	}
	return d.unanswered(ctx, address, d.race)
}

// unanswered tells the errors of a time that ran out from those of an answer.
func (d *Dialer) unanswered(ctx context.Context, address string, dial func(ctx context.Context, network, address string) (net.Conn, error)) (net.Conn, error) {
	c, err := dial(ctx, "tcp", address)
	if err == nil {
		return c, nil
	}
	if _, unnamed := errors.AsType[*net.DNSError](err); !unnamed && (errors.Is(err, context.DeadlineExceeded) || errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, syscall.ETIMEDOUT)) {
		return nil, &UnansweredError{Address: address, Err: err}
	}
	return nil, err
}

// race is the first answer of several attempts.
func (d *Dialer) race(ctx context.Context, network, address string) (net.Conn, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	type answer struct {
		c         net.Conn
		err       error
		abandoned bool
	}
	answers := make(chan answer)
	var ends []context.CancelFunc
	begin := func() {
		if len(ends) == hanging {
			ends[0]()
			ends = ends[1:]
		}
		one, end := context.WithCancel(ctx)
		ends = append(ends, end)
		go func() {
			c, err := d.dial(one, network, address)
			select {
			case answers <- answer{c, err, err != nil && one.Err() != nil}:
			case <-ctx.Done():
				if c != nil {
					_ = c.Close() // another was first
				}
			}
		}()
	}
	begin()
	again := time.NewTicker(askAgain)
	defer again.Stop()
	for {
		select {
		case a := <-answers:
			if a.abandoned && ctx.Err() == nil {
				continue
			}
			return a.c, a.err
		case <-again.C:
			begin()
		case <-ctx.Done():
			return nil, fmt.Errorf("dial %s: %w", network, ctx.Err())
		}
	}
}

// rtoMax bounds the time between two retransmissions of what a black hole has
// swallowed, where the kernel can (Linux 6.15): left alone it doubles, and a link
// that was away for ten seconds would be silent for up to ten more. silence is
// for how long it retransmits then, as long as it did before.
const (
	rtoMax      = 1500 * time.Millisecond
	silence     = 15 * time.Minute
	tcpRTOMaxMs = 44 // TCP_RTO_MAX_MS, which package unix does not have yet
)

// newNetDialer dials with a name server's answer of its own: attempts that hang
// would share theirs.
func newNetDialer() *net.Dialer {
	return &net.Dialer{Resolver: &net.Resolver{}, Control: func(_, _ string, raw syscall.RawConn) error {
		return raw.Control(func(fd uintptr) {
			if unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, tcpRTOMaxMs, int(rtoMax/time.Millisecond)) == nil {
				_ = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, int(silence/time.Millisecond)) // else the kernel's own
			}
		})
	}}
}
