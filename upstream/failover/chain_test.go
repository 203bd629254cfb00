package failover

import (
	"context"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ebbgate/ebbgate/bridge"
	"github.com/ebbgate/ebbgate/upstream"
)

// Down a chain of three, each after its own while, and up again to the best that
// is there to stay.
func TestDownAChainAndUpAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		all := []*fake{{}, {}, {up: true}}
		warned := &bridge.Health{}
		s := New([]Member{
			{Name: "first", Via: "first", Sender: all[0], After: time.Minute, BackAfter: 5 * time.Minute},
			{Name: "second", Via: "second", Sender: all[1], After: 2 * time.Minute, BackAfter: 10 * time.Minute},
			{Name: "third", Via: "third", Sender: all[2]},
		}, upstream.Hooks{Raise: func(w bridge.Warning) { warned.Raise(w) }, Clear: func(code string) { warned.Clear(code) }})
		began := time.Now()
		l := connect(t, ctx, s)
		if d := time.Since(began); d != 3*time.Minute || s.Using() != 2 {
			t.Errorf("member %d after %v, want the third after one and two minutes", s.Using(), d)
		}
		if via := send(t, l, "a"); via != "third true" {
			t.Errorf("taken by %s", via)
		}
		all[1].set(true) // the second stays, so after its ten minutes it takes over
		began = time.Now()
		<-l.Done()
		if d := time.Since(began); d < 10*time.Minute || d > 10*time.Minute+2*time.Second {
			t.Errorf("left the third after %v", d)
		}
		l = connect(t, ctx, s)
		if via := send(t, l, "b"); via != "second true" || s.Using() != 1 || len(warned.Warnings()) != 1 {
			t.Errorf("taken by %s, warnings %v", via, warned.Warnings())
		}
		// A short cut of the second is no reason to wait: it is tried at once.
		all[1].set(false)
		<-l.Done()
		all[1].set(true)
		began = time.Now()
		l = connect(t, ctx, s)
		if d := time.Since(began); d > time.Second || s.Using() != 1 {
			t.Errorf("member %d again after %v", s.Using(), d)
		}
		all[0].set(true)
		began = time.Now()
		<-l.Done()
		if d := time.Since(began); d < 5*time.Minute || d > 5*time.Minute+2*time.Second {
			t.Errorf("left the second after %v", d)
		}
		l = connect(t, ctx, s)
		if via := send(t, l, "c"); via != "first true" || s.Using() != 0 || len(warned.Warnings()) != 0 {
			t.Errorf("taken by %s, warnings %v", via, warned.Warnings())
		}
		if !slices.Equal(all[0].took, []string{"c"}) || !slices.Equal(all[1].took, []string{"b"}) || !slices.Equal(all[2].took, []string{"a"}) {
			t.Errorf("they took %v, %v, %v", all[0].took, all[1].took, all[2].took)
		}
		if all[1].live()+all[2].live() != 0 {
			t.Error("a link of a later member is held while the first is used")
		}
		_ = l.Close()
		<-l.Done()
	})
}

// Everybody is away: each is tried from its turn on, and whichever comes is taken.
func TestTheFirstOfAChainThatComes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		all := []*fake{{}, {}, {}}
		var members []Member
		for _, f := range all {
			members = append(members, Member{Sender: f, After: time.Second, BackAfter: time.Minute})
		}
		s := New(members, upstream.Hooks{})
		time.AfterFunc(time.Hour, func() { all[1].set(true) })
		began := time.Now()
		l := connect(t, ctx, s)
		if d := time.Since(began); d > time.Hour+time.Second || s.Using() != 1 {
			t.Errorf("member %d after %v", s.Using(), d)
		}
		_ = l.Close()
		<-l.Done()
		synctest.Wait()
		if s.Using() != -1 {
			t.Errorf("member %d is used after the end", s.Using())
		}
	})
}
