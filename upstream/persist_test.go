package upstream

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sys/unix"
)

// cable is a network that answers no attempt that is begun before it is plugged
// in: its first packet is lost. The kernel asks again after 1, 3, 7 and 15
// seconds.
type cable struct {
	plugged time.Time

	mu    sync.Mutex
	begun []time.Time
	live  int
	most  int
}

func (c *cable) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	began := time.Now()
	c.mu.Lock()
	c.begun = append(c.begun, began)
	c.live++
	c.most = max(c.most, c.live)
	c.mu.Unlock()
	defer func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.live--
	}()
	for _, after := range []time.Duration{0, 1, 3, 7, 15} {
		select {
		case <-time.After(time.Until(began.Add(after * time.Second))):
		case <-ctx.Done():
			return nil, ctx.Err()
		}
		if !time.Now().Before(c.plugged) {
			ours, _ := net.Pipe()
			return ours, nil
		}
	}
	<-ctx.Done()
	return nil, ctx.Err()
}

// A link that swallows everything comes back at any moment of an attempt: the
// next connection is there within two seconds, with few attempts at a time, and
// the server has been told nothing by the others.
func TestALinkThatReturnsIsNoticedWithinTwoSeconds(t *testing.T) {
	var worst time.Duration
	for away := 200 * time.Millisecond; away < 40*time.Second; away += 700 * time.Millisecond {
		synctest.Test(t, func(t *testing.T) {
			c := &cable{plugged: time.Now().Add(away)}
			d := NewDialer(ProxyOptions{})
			d.dial = c.dial
			b := NewBackoff(BackoffOptions{Base: time.Second, Max: 2 * time.Minute, Floor: 10 * time.Second, Spread: 500 * time.Millisecond}, most)
			for {
				if err := b.Wait(t.Context()); err != nil {
					t.Fatal(err)
				}
				ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
				nc, err := d.Dial(ctx, "cloud:8883")
				if err == nil {
					err = b.Reached(ctx)
					_ = nc.Close()
				}
				cancel()
				if err == nil {
					break
				}
				b.Failed(err)
			}
			took := time.Since(c.plugged)
			synctest.Wait()
			worst = max(worst, took)
			if took > 2*time.Second {
				t.Errorf("away for %v: connected %v after the link was back, want 2s at most", away, took)
			}
			if c.most > hanging+1 {
				t.Errorf("%d attempts at a time", c.most)
			}
			if n := busiest(c.begun, time.Minute); n > 45 {
				t.Errorf("%d attempts in a minute", n)
			}
		})
	}
	t.Logf("connected at most %v after the link was back", worst)
}

// While another way carries the messages there is no hurry: one attempt at a time,
// and the back-off grows.
func TestNoHurryWhileTheMessagesGoElsewhere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &cable{plugged: time.Now().Add(time.Hour)}
		d := NewDialer(ProxyOptions{})
		d.dial = c.dial
		b := NewBackoff(BackoffOptions{Base: time.Second, Max: 2 * time.Minute}, most)
		s := Shared{Gate: NewGate(), Elsewhere: func() bool { return true }}
		s.Join("gateway", NewBucket(Limits{}), b)
		d.Share(s)
		for time.Now().Before(c.plugged) {
			if err := b.Wait(t.Context()); err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
			nc, err := d.Dial(ctx, "cloud:8883")
			cancel()
			if err == nil {
				_ = nc.Close()
			}
			b.Failed(err)
		}
		t.Logf("%d attempts in an hour", len(c.begun))
		if c.most != 1 || len(c.begun) > 40 {
			t.Errorf("%d attempts in an hour, %d at a time", len(c.begun), c.most)
		}
	})
}

// A refusal is an answer: it comes at once, and is no silence.
func TestARefusalIsAnAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := NewDialer(ProxyOptions{})
		d.dial = func(context.Context, string, string) (net.Conn, error) {
			return nil, &net.OpError{Op: "dial", Err: os.NewSyscallError("connect", syscall.ECONNREFUSED)}
		}
		began := time.Now()
		_, err := d.Dial(t.Context(), "cloud:8883")
		if _, silent := errors.AsType[*UnansweredError](err); silent || !errors.Is(err, syscall.ECONNREFUSED) || time.Since(began) != 0 {
			t.Errorf("%v after %v", err, time.Since(began))
		}
	})
}

// The kernel throws away who knocks at a full door: a real black hole. When it is
// opened, the next attempt gets through; the measure is how many it took.
func TestTheKernelsBlackHole(t *testing.T) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	if err := errors.Join(unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}), unix.Listen(fd, 0)); err != nil {
		t.Fatal(err)
	}
	name, err := unix.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	address := fmt.Sprintf("127.0.0.1:%d", name.(*unix.SockaddrInet4).Port)
	filler, err := net.Dial("tcp", address) // the only place behind the door
	if err != nil {
		t.Fatal(err)
	}
	defer filler.Close()
	d := NewDialer(ProxyOptions{})
	ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
	defer cancel()
	_, err = d.Dial(ctx, address)
	if _, silent := errors.AsType[*UnansweredError](err); !silent {
		t.Fatalf("a full door answers: %v", err)
	}
	b := NewBackoff(BackoffOptions{Base: time.Second, Max: time.Hour, Floor: time.Hour}, nil)
	b.Failed(err)

	inner, attempts := d.dial, make(chan time.Time, 64)
	d.dial = func(ctx context.Context, network, address string) (net.Conn, error) {
		attempts <- time.Now()
		return inner(ctx, network, address)
	}
	opened := make(chan time.Time, 1)
	go func() {
		<-attempts
		<-attempts // one hangs, another has begun beside it
		opened <- time.Now()
		for range 2 {
			if c, _, err := unix.Accept(fd); err == nil {
				defer unix.Close(c)
			}
		}
		_, _ = io.Copy(io.Discard, filler)
	}()
	began := time.Now()
	c, err := d.Dial(t.Context(), address)
	if err != nil {
		t.Fatal(err)
	}
	took, n := time.Since(began), len(attempts)
	_ = c.Close()
	_ = filler.Close()
	t.Logf("connected %v after the first attempt and %v after the door was opened, by %d further attempts", took, time.Since(<-opened), n)
	if n > 2 {
		t.Errorf("%d attempts beyond the second after the door was opened", n)
	}
}

// A wait of two minutes ends when the machine comes onto another network, and the
// floor is kept.
func TestAnotherNetworkEndsTheWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var here atomic.Value
		here.Store("home")
		g := NewGate()
		g.network.look = func() string { return here.Load().(string) }
		b := NewBackoff(BackoffOptions{Base: time.Second, Max: 10 * time.Minute, Floor: 10 * time.Second}, most)
		b.Through(g)
		waits(t, b, 12)
		time.AfterFunc(time.Second, func() { here.Store("away") })
		if d := waits(t, b, 1)[0]; d > 13*time.Second || d < 10*time.Second {
			t.Errorf("waited %v on another network, want the floor and a moment", d)
		}
		if d := waits(t, b, 1)[0]; d != 12*time.Second {
			t.Errorf("waited %v after it, want the floor and the second step of the back-off", d)
		}
	})
}
