package failover

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ebbgate/ebbgate/bridge"
	"github.com/ebbgate/ebbgate/upstream"
)

// Member is one of the receivers of a chain.
type Member struct {
	Name      string        // for people
	Via       string        // what [bridge.Outcome.Via] says of what it took
	Sender    bridge.Sender // whoever it is, it does not share its identity with another member; one with a Rest is told when nobody tries it
	After     time.Duration // how long it may be away before the next takes over as well
	BackAfter time.Duration // how long it must be reached again before it takes back from another upstream

	// Closed says why nothing may go by it now, else it is empty: then it is as if it
	// were not reached, and is not connected to. nil: never. It is asked once a second.
	Closed func() string
}

// shut says why nothing may go by a member now; empty: it may.
func (m *Member) shut() string {
	if m.Closed == nil {
		return ""
	}
	return m.Closed()
}

// lookAgain is how often members are asked whether they are closed.
const lookAgain = time.Second

// backSoon is how long a member must be reached again to take back from one with
// the same Via: they are ways to one upstream.
const backSoon = 30 * time.Second

// back is how long the i-th member must be reached to take back from the n-th.
func (s *Sender) back(i, n int) time.Duration {
	if s.members[i].Via == s.members[n].Via {
		return backSoon
	}
	return s.members[i].BackAfter
}

// Sender is the [bridge.Sender] to the first of its members that is reached.
//
// Its warnings are failed-over, and failover-closed.
type Sender struct {
	members []Member
	hooks   upstream.Hooks
	news    chan struct{} // for Connect, or for who looks after its link; never for both

	connecting sync.Mutex
	present    *link
	tried      []*way // by member; nil: nobody tries it

	from  atomic.Int32 // members up to this one are tried from the start
	using atomic.Int32 // the member in use, counted from 1; 0: none
}

// New makes a sender from a chain of members, the best first; there is at least
// one.
func New(members []Member, hooks upstream.Hooks) *Sender {
	return &Sender{members: members, hooks: hooks, news: make(chan struct{}, 1), tried: make([]*way, len(members))}
}

// Using is the member that is in use, by its place in the chain; -1: none is.
func (s *Sender) Using() int { return int(s.using.Load()) - 1 }

// Resume makes the sender go on where another was that had the same members up to that
// one: it and those before it are tried from the start. Call it before Connect.
func (s *Sender) Resume(member int) { s.from.Store(int32(member)) }

// Resumes is what to resume the sender with.
func (s *Sender) Resumes() int { return int(s.from.Load()) }

// Connect waits until one of the members is reached: the first, and after a while
// the second as well, and so on. Of several it takes the first. It fails only
// when ctx ends, or when a member's does. While a member is used, ctx is also how
// long those before it are tried.
func (s *Sender) Connect(ctx context.Context) (bridge.Link, error) {
	s.connecting.Lock()
	defer s.connecting.Unlock()
	if s.present != nil {
		_ = s.present.Close() // never fails
		<-s.present.Done()
		<-s.present.watched
		s.present = nil
	}
	patience := time.NewTimer(0)
	defer patience.Stop()
	look := time.NewTicker(lookAgain)
	defer look.Stop()
	last := -1 // the last member that is tried
	for {
		for i, w := range s.tried {
			if w == nil || !w.settled() {
				continue
			}
			switch {
			case ctx.Err() != nil:
			case w.err != nil:
				s.giveUp(0)
				return nil, w.err
			case !w.reached(): // it was held in reserve, and has ended
				w.giveUp()
				s.tried[i] = begin(ctx, s.members[i], s.news)
			case s.members[i].shut() != "": // it has closed since
			default:
				s.tried[i] = nil
				s.giveUp(i)
				for n := i + 1; n < len(s.members); n++ {
					s.members[n].rest()
				}
				return s.use(ctx, w, i), nil
			}
		}
		select {
		case <-s.news:
		case <-look.C:
			s.hooks.Over("failed-over") // nobody takes the messages
			s.tryOpen(ctx, last)
		case <-patience.C:
			last++
			s.tryOpen(ctx, last)
			if last < s.Resumes() {
				patience.Reset(0) // it was beyond this one already
			} else if last+1 < len(s.members) {
				patience.Reset(s.members[last].After)
			}
		case <-ctx.Done():
			s.giveUp(0)
			s.end()
			return nil, ctx.Err()
		}
	}
}

// end takes back what was told of a sender that is not asked to connect any more.
func (s *Sender) end() {
	s.hooks.Over("failed-over")
	s.hooks.Over("failover-closed")
	for i := range s.members {
		s.members[i].rest()
	}
}

// tryOpen tries to reach each of the members up to the last that is not closed, and
// leaves those that are.
func (s *Sender) tryOpen(ctx context.Context, last int) {
	for i := range last + 1 {
		why := s.members[i].shut()
		switch {
		case why != "":
			if s.tried[i] != nil {
				s.tried[i].giveUp()
				s.tried[i] = nil
			}
			s.members[i].rest()
			s.hooks.Warn(bridge.Warning{Code: "failover-closed", Severity: bridge.Notice,
				Text: fmt.Sprintf("%s is not reached, and %s, which would take its messages, may not now (%s): they wait", s.members[0].Name, s.members[i].Name, why)})
		case s.tried[i] == nil:
			s.tried[i] = begin(ctx, s.members[i], s.news)
		}
	}
}

// rest lets a member that nobody tries now take its warnings back.
func (m *Member) rest() {
	if r, ok := m.Sender.(interface{ Rest() }); ok {
		r.Rest()
	}
}

// giveUp ends the attempts to reach the members from the i-th on.
func (s *Sender) giveUp(i int) {
	for ; i < len(s.tried); i++ {
		if s.tried[i] != nil {
			s.tried[i].giveUp()
			s.tried[i] = nil
		}
	}
}

// use makes the link of the i-th member the present one. Those before it are
// tried on.
func (s *Sender) use(ctx context.Context, w *way, i int) *link {
	l := &link{Link: w.link, via: s.members[i].Via, watched: make(chan struct{})}
	s.present = l
	s.from.Store(int32(i))
	s.using.Store(int32(i) + 1)
	s.hooks.Over("failover-closed")
	if i == 0 {
		s.hooks.Over("failed-over")
	} else {
		s.hooks.Warn(bridge.Warning{Code: "failed-over", Severity: bridge.Degraded,
			Text: fmt.Sprintf("%s is not reached: %s takes its messages until it has been for %v", s.members[0].Name, s.members[i].Name, s.back(0, i))})
	}
	w.keep()
	go func() {
		defer close(l.watched)
		if better, leave := s.await(ctx, l, i); leave {
			s.from.Store(int32(better))
			l.retire()
		}
		<-l.Done()
		s.using.Store(0)
		w.cancel()
	}()
	return l
}

// await waits until a member before the n-th has been reached for long enough, or the
// n-th is closed, and names the member to go to, or to wait for; leave is false when l
// has ended before. Nobody else uses s.tried meanwhile.
func (s *Sender) await(ctx context.Context, l *link, n int) (better int, leave bool) {
	look := time.NewTicker(lookAgain)
	defer look.Stop()
	for {
		if s.members[n].shut() != "" {
			return n, true
		}
		var proven <-chan time.Time
		soonest := time.Duration(-1)
		for i := range n {
			w := s.tried[i]
			shut := s.members[i].shut() != ""
			if w != nil && (shut || w.settled() && w.err == nil && !w.reached()) {
				w.giveUp() // it was not there to stay
				w, s.tried[i] = nil, nil
			}
			switch {
			case shut:
				s.members[i].rest()
			case w == nil:
				s.tried[i] = begin(ctx, s.members[i], s.news)
			case w.reached():
				left := s.back(i, n) - time.Since(w.since)
				if left <= 0 {
					return i, true
				}
				if soonest < 0 || left < soonest {
					soonest = left
				}
			}
		}
		if soonest >= 0 {
			proven = time.After(soonest)
		}
		select {
		case <-s.news:
		case <-look.C:
		case <-proven:
		case <-l.Done():
			return -1, false
		}
	}
}
