package failover

import (
	"context"
	"time"

	"github.com/ebbgate/ebbgate/bridge"
)

// way is an attempt to reach a member, which goes on until it has a link or is
// given up.
type way struct {
	cancel context.CancelFunc
	keep   func() bool   // from now on the end of ctx is not its end
	done   chan struct{} // closed when link or err is there
	link   bridge.Link
	err    error
	since  time.Time // when the link came
}

// begin tries to reach a member. news gets a token when there is a link or an
// error, and when the link has ended.
func begin(ctx context.Context, m Member, news chan struct{}) *way {
	ctx, cancel := context.WithCancel(ctx)
	w := &way{cancel: cancel, done: make(chan struct{})}
	w.keep = context.AfterFunc(ctx, w.drop)
	tell := func() {
		select {
		case news <- struct{}{}:
		default:
		}
	}
	go func() {
		w.link, w.err = m.Sender.Connect(ctx)
		w.since = time.Now()
		close(w.done)
		tell()
		if w.err == nil {
			<-w.link.Done()
			tell()
		}
	}()
	return w
}

// settled reports whether there is a link or an error.
func (w *way) settled() bool {
	select {
	case <-w.done:
		return true
	default:
		return false
	}
}

// reached reports whether there is a link that lives.
func (w *way) reached() bool { return w.settled() && w.err == nil && w.link.Err() == nil }

// giveUp ends an attempt, and the link that it may have made.
func (w *way) giveUp() {
	w.keep()
	w.drop()
}

func (w *way) drop() {
	w.cancel()
	<-w.done
	if w.link != nil {
		_ = w.link.Close() // never fails
		<-w.link.Done()
	}
}
