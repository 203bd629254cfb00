package mqtt

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ebbgate/ebbgate/bridge"
	"github.com/ebbgate/ebbgate/upstream"
)

// A link on demand is opened when there is something to send, closed politely when
// there was nothing for a while and nothing is in flight, and opened again at once
// for the next message. None of that is a warning.
func TestALinkOnDemandIsOpenedAndClosed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var warned, opened atomic.Int32
		u := NewUplink(unhurried(), "pump-7", discard(), upstream.Hooks{
			Raise:  func(bridge.Warning) { warned.Add(1) },
			Opened: func(string) upstream.Connection { opened.Add(1); return upstream.Hooks{}.Open("") },
		})
		wanted := make(chan struct{})
		const idle = time.Minute
		u.OnDemand(func(ctx context.Context) error {
			select {
			case <-wanted:
				return nil
			case <-ctx.Done():
				return ctx.Err()
			}
		}, idle)
		cloud := hold(t, &u.dialer)
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		links := make(chan bridge.Link, 1)
		connect := func() {
			l, err := u.Connect(ctx)
			if err != nil {
				t.Error(err)
			}
			links <- l
		}
		go connect()
		<-time.After(time.Hour) // virtual
		if s := u.Status(); opened.Load() != 0 || s.Up || !s.Idle || s.Err != nil {
			t.Fatalf("nobody has anything to send: %+v, %d opened", s, opened.Load())
		}
		wanted <- struct{}{}
		first := <-links
		if s := u.Status(); !s.Up || s.Idle {
			t.Errorf("%+v", s)
		}
		outcome := cloud.give(t, first)
		<-time.After(3 * idle)
		if err := first.Err(); err != nil {
			t.Fatalf("it ended with a message in flight: %v", err)
		}
		cloud.acknowledged(t, first, outcome)
		if err := first.Err(); !errors.Is(err, ErrIdle) || !cloud.leftPolitely() {
			t.Errorf("it ended with packet type %d: %v", cloud.last.Load(), err)
		}
		began := time.Now()
		go connect()
		wanted <- struct{}{}
		second := <-links
		if d := time.Since(began); d != 0 {
			t.Errorf("the next message waited %v for a link, want none", d)
		}
		if n := warned.Load(); n != 0 {
			t.Errorf("%d warnings", n)
		}
		_ = second.Close()
		<-second.Done()
	})
}
