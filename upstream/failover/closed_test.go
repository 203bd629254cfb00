package failover

import (
	"context"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ebbgate/ebbgate/bridge"
	"github.com/ebbgate/ebbgate/upstream"
)

// door is what opens and closes a member.
type door struct{ closed atomic.Bool }

func (d *door) why() string {
	if d.closed.Load() {
		return "outside of its windows"
	}
	return ""
}

// What is closed is not connected to, not even in reserve; when it opens it takes
// over, and when it closes again it is left, with what is in flight acknowledged.
func TestWhoeverIsClosedTakesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		first, second, warned := &fake{}, &fake{up: true}, &bridge.Health{}
		var of door
		of.closed.Store(true)
		s := New([]Member{
			{Name: "main", Via: "main", Sender: first, After: time.Minute, BackAfter: 5 * time.Minute},
			{Name: "standby", Via: "standby", Sender: second, Closed: of.why},
		}, upstream.Hooks{Raise: func(w bridge.Warning) { warned.Raise(w) }, Clear: func(code string) { warned.Clear(code) }})
		codes := func() (out []string) {
			for _, w := range warned.Warnings() {
				out = append(out, w.Code)
			}
			return out
		}
		time.AfterFunc(time.Hour, func() {
			if len(second.links) != 0 || !slices.Equal(codes(), []string{"failover-closed"}) {
				t.Errorf("%d links to what is closed, warnings %v", len(second.links), codes())
			}
			of.closed.Store(false)
		})
		began := time.Now()
		l := connect(t, ctx, s)
		if d := time.Since(began); d < time.Hour || d > time.Hour+2*lookAgain {
			t.Errorf("over after %v", d)
		}
		if via := send(t, l, "a"); via != "standby true" || !slices.Equal(codes(), []string{"failed-over"}) {
			t.Errorf("taken by %s, warnings %v", via, codes())
		}
		second.mu.Lock()
		second.hold = true
		second.mu.Unlock()
		acked := make(chan bridge.Outcome, 1)
		if err := l.Send(ctx, delivery("b"), func(o bridge.Outcome) { acked <- o }); err != nil {
			t.Fatal(err)
		}
		of.closed.Store(true)
		<-time.After(time.Minute)
		if l.Err() != nil {
			t.Fatal("it was left while a message was in flight")
		}
		second.acknowledge()
		if o := <-acked; o.Result != bridge.ResultAcked {
			t.Errorf("outcome %+v", o)
		}
		<-l.Done()
		time.AfterFunc(10*time.Minute, func() {
			if !slices.Equal(codes(), []string{"failover-closed"}) {
				t.Errorf("while they wait: warnings %v", codes())
			}
			first.set(true)
		})
		l = connect(t, ctx, s)
		if via := send(t, l, "c"); via != "main true" || len(codes()) != 0 {
			t.Errorf("taken by %s, warnings %v", via, codes())
		}
		if !slices.Equal(second.took, []string{"a", "b"}) || second.live() != 0 {
			t.Errorf("the second took %v, and has %d links", second.took, second.live())
		}
		_ = l.Close()
		<-l.Done()
	})
}

// A chain goes past what is closed, and back to it when it opens.
func TestAChainGoesPastWhatIsClosed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		all := []*fake{{}, {up: true}, {up: true}}
		var of door
		of.closed.Store(true)
		s := New([]Member{
			{Name: "first", Via: "first", Sender: all[0], After: time.Minute, BackAfter: time.Minute},
			{Name: "second", Via: "second", Sender: all[1], After: time.Minute, BackAfter: time.Minute, Closed: of.why},
			{Name: "third", Via: "third", Sender: all[2]},
		}, upstream.Hooks{})
		l := connect(t, ctx, s)
		if via := send(t, l, "a"); via != "third true" {
			t.Errorf("taken by %s", via)
		}
		<-time.After(time.Hour)
		if l.Err() != nil || len(all[1].links) != 0 {
			t.Fatalf("left for what is closed: %v", l.Err())
		}
		of.closed.Store(false)
		<-l.Done()
		l = connect(t, ctx, s)
		if via := send(t, l, "b"); via != "second true" {
			t.Errorf("taken by %s", via)
		}
		_ = l.Close()
		<-l.Done()
	})
}

// Whoever is reached only when it has closed again takes nothing, and is asked anew when it
// opens.
func TestClosedWhileItWasTried(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		first, second := &fake{}, &fake{}
		var of door
		s := New([]Member{
			{Name: "main", Via: "main", Sender: first, After: time.Minute + lookAgain/2, BackAfter: time.Minute},
			{Name: "standby", Via: "standby", Sender: second, Closed: of.why},
		}, upstream.Hooks{})
		// It is reached half a look later, before it is seen that it has closed.
		time.AfterFunc(time.Minute+5*lookAgain/4, func() { of.closed.Store(true); second.set(true) })
		opens := time.Hour + lookAgain/2
		time.AfterFunc(opens, func() {
			if s.Using() >= 0 {
				t.Error("what is closed is used")
			}
			of.closed.Store(false)
		})
		began := time.Now()
		l := connect(t, ctx, s)
		if d := time.Since(began); d < opens || d > opens+2*lookAgain {
			t.Errorf("over after %v", d)
		}
		if via := send(t, l, "a"); via != "standby true" || second.live() != 1 {
			t.Errorf("taken by %s, which has %d links", via, second.live())
		}
		_ = l.Close()
		<-l.Done()
	})
}
