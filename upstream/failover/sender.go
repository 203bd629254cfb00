package failover

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/ebbgate/ebbgate/bridge"
	"github.com/ebbgate/ebbgate/upstream"
)

// Member is one of the two receivers.
type Member struct {
	Name   string // of the upstream
	Sender bridge.Sender
}

// Sender is the [bridge.Sender] to the first of two members that is reached.
// What a member took has its name in [bridge.Outcome.Via].
//
// Its warning is failed-over.
type Sender struct {
	o             Options
	first, second Member
	hooks         upstream.Hooks

	connecting sync.Mutex
	present    *link
	back       *way // to the first, while the second takes the messages
}

// New makes a sender from valid options.
func New(o Options, first, second Member, hooks upstream.Hooks) *Sender {
	return &Sender{o: o, first: first, second: second, hooks: hooks}
}

// way is an attempt to reach a member, which goes on until it has a link or is
// given up.
type way struct {
	cancel context.CancelFunc
	keep   func() bool   // from now on the end of ctx is not its end
	done   chan struct{} // closed when link or err is there
	link   bridge.Link
	err    error
}

func begin(ctx context.Context, m Member) *way {
	ctx, cancel := context.WithCancel(ctx)
	w := &way{cancel: cancel, done: make(chan struct{})}
	w.keep = context.AfterFunc(ctx, w.drop)
	go func() {
		defer close(w.done)
		w.link, w.err = m.Sender.Connect(ctx)
	}()
	return w
}

// ended reports whether nothing more is to be hoped of an attempt.
func (w *way) ended() bool {
	select {
	case <-w.done:
		return w.err != nil || w.link.Err() != nil
	default:
		return false
	}
}

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

// Connect waits until one of the two is reached: the first, and after a while
// the second as well. It fails only when ctx ends, or when a member's does. While
// the second is used, ctx is also how long the first is tried.
func (s *Sender) Connect(ctx context.Context) (bridge.Link, error) {
	s.connecting.Lock()
	defer s.connecting.Unlock()
	if s.present != nil {
		_ = s.present.Close() // never fails
		<-s.present.Done()
		<-s.present.watched
		s.present = nil
	}
	first := s.back // perhaps there already
	s.back = nil
	if first == nil || first.ended() {
		first = begin(ctx, s.first)
	}
	var second *way
	patience := time.NewTimer(s.o.After)
	defer patience.Stop()
	for {
		var other <-chan struct{}
		if second != nil {
			other = second.done
		}
		select {
		case <-first.done:
			if first.err != nil {
				if second != nil {
					second.giveUp()
				}
				return nil, first.err
			}
			if second != nil {
				second.giveUp()
			}
			s.hooks.Over("failed-over")
			return s.use(ctx, first, s.first, nil), nil
		case <-other:
			if second.err != nil {
				first.giveUp()
				return nil, second.err
			}
			s.hooks.Warn(bridge.Warning{Code: "failed-over", Severity: bridge.Degraded,
				Text: fmt.Sprintf("%s is not reached: %s takes its messages until it has been for %v", s.first.Name, s.second.Name, s.o.BackAfter)})
			return s.use(ctx, second, s.second, first), nil
		case <-patience.C:
			second = begin(ctx, s.second)
		case <-ctx.Done():
			first.giveUp()
			if second != nil {
				second.giveUp()
			}
			return nil, ctx.Err()
		}
	}
}

// use makes the link of a member the present one. back is the way to the first
// member, while it is the second that is used.
func (s *Sender) use(ctx context.Context, w *way, m Member, back *way) *link {
	l := &link{Link: w.link, name: m.Name, watched: make(chan struct{})}
	s.present, s.back = l, back
	w.keep()
	go func() {
		defer close(l.watched)
		if back != nil && s.await(ctx, l) {
			l.retire()
		}
		<-l.Done()
		w.cancel()
	}()
	return l
}

// await waits until the first member's link has lived for long enough, and
// reports whether it has before l ended. Nobody else uses s.back meanwhile.
func (s *Sender) await(ctx context.Context, l *link) bool {
	for {
		select {
		case <-s.back.done:
		case <-l.Done():
			return false
		}
		if s.back.err != nil {
			return false
		}
		proven := time.NewTimer(s.o.BackAfter)
		select {
		case <-proven.C:
			return true
		case <-s.back.link.Done():
			proven.Stop()
			s.back = begin(ctx, s.first)
		case <-l.Done():
			proven.Stop()
			return false
		}
	}
}

// errBack is why the second member's link ends.
var errBack = errors.New("the first upstream is reached again")

// link is a member's link, from which the sender can go away.
type link struct {
	bridge.Link
	name    string
	watched chan struct{} // closed when nobody looks after it any more

	mu      sync.Mutex
	sent    int // and not reported yet
	leaving bool
}

// Send sends, unless the link is being left; then it waits for its end.
func (l *link) Send(ctx context.Context, d *bridge.Delivery, report func(bridge.Outcome)) error {
	l.mu.Lock()
	if l.leaving {
		l.mu.Unlock()
		l.Flush()
		select {
		case <-l.Done():
			return fmt.Errorf("send: %w", errBack)
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	l.sent++
	l.mu.Unlock()
	err := l.Link.Send(ctx, d, func(o bridge.Outcome) {
		o.Via = l.name
		report(o)
		l.settled()
	})
	if err != nil {
		l.settled()
	}
	return err
}

// settled counts what has come back, and closes a link that is being left once
// nothing is in flight.
func (l *link) settled() {
	l.mu.Lock()
	l.sent--
	over := l.leaving && l.sent == 0
	l.mu.Unlock()
	if over {
		_ = l.Close() // never fails
	}
}

// retire sends nothing more, awaits what is in flight, and ends the link.
func (l *link) retire() {
	l.mu.Lock()
	l.leaving = true
	over := l.sent == 0
	l.mu.Unlock()
	l.Flush()
	if over {
		_ = l.Close() // never fails
	}
}
