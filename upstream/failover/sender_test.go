package failover

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/ebbgate/ebbgate/bridge"
	"github.com/ebbgate/ebbgate/upstream"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// fake is a member that is reached when its switch is on.
type fake struct {
	mu    sync.Mutex
	up    bool
	hold  bool // acknowledges nothing
	links []*fakeLink
	took  []string
	down  bool // it warns that it is not reached
}

// Rest implements what a member may have.
func (f *fake) Rest() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.down = false
}

func (f *fake) warns() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.down
}

func (f *fake) set(up bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.up = up
	if !up {
		for _, l := range f.links {
			l.end(errors.New("cut"))
		}
	}
}

func (f *fake) Connect(ctx context.Context) (bridge.Link, error) {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		f.mu.Lock()
		if f.up {
			l := &fakeLink{f: f, done: make(chan struct{})}
			f.links, f.down = append(f.links, l), false
			f.mu.Unlock()
			return l, nil
		}
		f.down = true
		f.mu.Unlock()
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

func (f *fake) live() (n int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, l := range f.links {
		if l.Err() == nil {
			n++
		}
	}
	return n
}

type fakeLink struct {
	f    *fake
	done chan struct{}

	mu      sync.Mutex
	err     error
	waiting []func(bridge.Outcome)
}

func (l *fakeLink) Window() int           { return 10 }
func (l *fakeLink) Flush()                {}
func (l *fakeLink) Done() <-chan struct{} { return l.done }
func (l *fakeLink) Close() error          { l.end(errors.New("closed")); return nil }

func (l *fakeLink) Err() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.err
}

func (l *fakeLink) end(err error) {
	l.mu.Lock()
	if l.err != nil {
		l.mu.Unlock()
		return
	}
	l.err = err
	waiting := l.waiting
	l.waiting = nil
	l.mu.Unlock()
	for _, report := range waiting {
		report(bridge.Outcome{Result: bridge.ResultLost})
	}
	close(l.done)
}

func (l *fakeLink) Send(_ context.Context, d *bridge.Delivery, report func(bridge.Outcome)) error {
	if err := l.Err(); err != nil {
		return err
	}
	l.f.mu.Lock()
	hold := l.f.hold
	l.f.took = append(l.f.took, d.Topic)
	l.f.mu.Unlock()
	if hold {
		l.mu.Lock()
		l.waiting = append(l.waiting, report)
		l.mu.Unlock()
		return nil
	}
	report(bridge.Outcome{Result: bridge.ResultAcked})
	return nil
}

// acknowledge answers what a member held.
func (f *fake) acknowledge() {
	f.mu.Lock()
	f.hold = false
	links := slices.Clone(f.links)
	f.mu.Unlock()
	for _, l := range links {
		l.mu.Lock()
		waiting := l.waiting
		l.waiting = nil
		l.mu.Unlock()
		for _, report := range waiting {
			report(bridge.Outcome{Result: bridge.ResultAcked})
		}
	}
}

func delivery(topic string) *bridge.Delivery {
	return &bridge.Delivery{Stored: &bridge.Stored{Record: &bridge.Record{Message: bridge.Message{Topic: topic}}}}
}

// rig is a sender around two fakes, with a minute before it goes and five before
// it comes back.
func rig() (s *Sender, first, second *fake, warned *bridge.Health) {
	first, second, warned = &fake{}, &fake{up: true}, &bridge.Health{}
	s = New([]Member{
		{Name: "main", Via: "main", Sender: first, After: time.Minute, BackAfter: 5 * time.Minute}, {Name: "standby", Via: "standby", Sender: second},
	}, upstream.Hooks{
		Raise: func(w bridge.Warning) { warned.Raise(w) }, Clear: func(code string) { warned.Clear(code) },
	})
	return s, first, second, warned
}

func connect(t *testing.T, ctx context.Context, s *Sender) bridge.Link { //nolint:revive // t first, as everywhere
	t.Helper()
	l, err := s.Connect(ctx)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func send(t *testing.T, l bridge.Link, topic string) string {
	t.Helper()
	via := make(chan string, 1)
	if err := l.Send(t.Context(), delivery(topic), func(o bridge.Outcome) { via <- fmt.Sprint(o.Via, " ", o.Result == bridge.ResultAcked) }); err != nil {
		t.Fatal(err)
	}
	return <-via
}

func TestTheFirstIsUsedWhenItIsReachedInTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		s, first, second, warned := rig()
		time.AfterFunc(50*time.Second, func() { first.set(true) })
		l := connect(t, ctx, s)
		if via := send(t, l, "a"); via != "main true" {
			t.Errorf("taken by %s", via)
		}
		if len(second.links) != 0 || len(warned.Warnings()) != 0 {
			t.Error("the second was asked for")
		}
		_ = l.Close()
		<-l.Done()
	})
}

// Over after a minute, back when the first has been reached for five, with what
// is in flight acknowledged before.
func TestOverAndBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		s, first, second, warned := rig()
		began := time.Now()
		l := connect(t, ctx, s)
		if d := time.Since(began); d != time.Minute {
			t.Errorf("over after %v", d)
		}
		if via := send(t, l, "a"); via != "standby true" {
			t.Errorf("taken by %s", via)
		}
		if w := warned.Warnings(); len(w) != 1 || w[0].Code != "failed-over" {
			t.Errorf("warnings %v", w)
		}
		first.set(true)
		<-time.After(2 * time.Minute)
		first.set(false) // it was not there to stay
		<-time.After(10 * time.Minute)
		if l.Err() != nil {
			t.Fatalf("back too early: %v", l.Err())
		}
		first.set(true)
		second.mu.Lock()
		second.hold = true
		second.mu.Unlock()
		acked := make(chan bridge.Outcome, 1)
		if err := l.Send(ctx, delivery("b"), func(o bridge.Outcome) { acked <- o }); err != nil {
			t.Fatal(err)
		}
		<-time.After(6 * time.Minute)
		if l.Err() != nil {
			t.Fatal("it left while a message was in flight")
		}
		late := make(chan error, 1)
		go func() {
			late <- l.Send(ctx, delivery("c"), func(bridge.Outcome) { t.Error("sent on a link that is being left") })
		}()
		synctest.Wait()
		second.acknowledge()
		if o := <-acked; o.Result != bridge.ResultAcked || o.Via != "standby" {
			t.Errorf("outcome %+v", o)
		}
		<-l.Done()
		if err := <-late; err == nil {
			t.Error("the send that came too late succeeded")
		}
		began = time.Now()
		again := connect(t, ctx, s)
		if d := time.Since(began); d != 0 {
			t.Errorf("back after %v more", d)
		}
		if via := send(t, again, "c"); via != "main true" || len(warned.Warnings()) != 0 {
			t.Errorf("taken by %s, warnings %v", via, warned.Warnings())
		}
		if !slices.Equal(second.took, []string{"a", "b"}) || !slices.Equal(first.took, []string{"c"}) {
			t.Errorf("the second took %v, the first %v", second.took, first.took)
		}
		_ = again.Close()
		<-again.Done()
	})
}

// Both away: it waits for whichever comes, and for nobody longer than its
// context. Nothing stays behind.
func TestNobodyIsReached(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, first, second, _ := rig()
		second.set(false)
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		if _, err := s.Connect(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("error %v", err)
		}
		synctest.Wait()
		if first.live()+second.live() != 0 {
			t.Error("a link stays behind")
		}
	})
}

// The end of the context ends what is held in reserve.
func TestTheReserveEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, first, second, _ := rig()
		ctx, cancel := context.WithCancel(t.Context())
		l := connect(t, ctx, s)
		first.set(true)
		<-time.After(2 * time.Minute)
		if first.live() != 1 || second.live() != 1 {
			t.Fatalf("%d and %d links", first.live(), second.live())
		}
		cancel()
		_ = l.Close()
		<-l.Done()
		synctest.Wait()
		if first.live()+second.live() != 0 {
			t.Error("a link stays behind")
		}
	})
}

// Whoever is not tried any more is nobody's trouble: both were away, and the first
// has come back.
func TestWhoIsNotTriedDoesNotWarn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		s, first, second, _ := rig()
		second.set(false)
		time.AfterFunc(time.Hour, func() {
			if !first.warns() || !second.warns() {
				t.Error("they are not reached, and do not say so")
			}
			first.set(true)
		})
		l := connect(t, ctx, s)
		if first.warns() || second.warns() {
			t.Error("a warning stays of one that nobody tries, or that is reached")
		}
		_ = l.Close()
		<-l.Done()
	})
}

// One that resumes another tries the members that were in use at once, and what was told
// of it ends with it.
func TestResumes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		s, _, second, warned := rig()
		l := connect(t, ctx, s)
		cancel()
		_ = l.Close()
		<-l.Done()
		if _, err := s.Connect(ctx); err == nil || len(warned.Warnings()) != 0 || second.live() != 0 {
			t.Errorf("after its end: %v, warnings %v", err, warned.Warnings())
		}
		again, _, second, warned := rig()
		again.Resume(s.Resumes())
		began := time.Now()
		l = connect(t, t.Context(), again)
		if d := time.Since(began); d > time.Second || again.Using() != 1 || len(warned.Warnings()) != 1 {
			t.Errorf("member %d after %v, warnings %v", again.Using(), d, warned.Warnings())
		}
		second.set(false)
		<-l.Done()
		_ = l.Close()
	})
}

func TestValidate(t *testing.T) {
	if p := DefaultOptions().Validate(); len(p) != 0 {
		t.Errorf("problems %v", p)
	}
	if p := (Options{After: 1, BackAfter: 25 * time.Hour}).Validate(); len(p) != 2 || p[0].Path != "after" || p[1].Path != "back_after" {
		t.Errorf("problems %v", p)
	}
}
