package upstream

import (
	"context"
	"errors"
	"io"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// door is a way that opens after a while, fails, or hangs.
type door struct {
	after time.Duration
	err   error // instead of opening
	hangs bool
}

// corridor opens ways as its doors say, and counts what is left open.
type corridor struct {
	doors []door

	mu    sync.Mutex
	begun []int
	open  int
}

func (c *corridor) try(ctx context.Context, i int) (io.Closer, error) {
	c.mu.Lock()
	c.begun = append(c.begun, i)
	c.mu.Unlock()
	d := c.doors[i]
	if d.hangs {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	select {
	case <-time.After(d.after):
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	if d.err != nil {
		return nil, d.err
	}
	c.count(1)
	return closer(func() { c.count(-1) }), nil
}

func (c *corridor) count(n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.open += n
}

type closer func()

func (c closer) Close() error { c(); return nil }

// The best way that is open is taken: a worse one begins while the better hangs,
// and waits a moment for it.
func TestRace(t *testing.T) {
	refused := &RefusedError{Reason: "no", Remedy: "ask"}
	const s = time.Second
	for _, c := range []struct {
		name  string
		order []int
		doors []door
		want  int
		took  time.Duration
		begun []int
	}{
		{"the first is open", []int{0, 1, 2}, []door{{after: s}, {}, {}}, 0, s, []int{0}},
		{"the first hangs", []int{0, 1, 2}, []door{{hangs: true}, {after: s}, {}}, 1, 4 * s, []int{0, 1}},
		{"the first is slow", []int{0, 1, 2}, []door{{after: 3 * s}, {after: s}, {}}, 0, 3 * s, []int{0, 1}},
		{"the first refuses", []int{0, 1, 2}, []door{{err: refused}, {after: s}, {}}, 1, s, []int{0, 1}},
		{"two hang", []int{0, 1, 2}, []door{{hangs: true}, {hangs: true}, {}}, 2, 3*s + askAgain, []int{0, 1, 2}},
		{"the last worked before", []int{2, 0, 1}, []door{{hangs: true}, {hangs: true}, {after: s}}, 2, s, []int{2}},
		{"nothing is open", []int{0, 1, 2}, []door{{err: io.EOF}, {hangs: true}, {err: refused}}, -1, 10 * s, []int{0, 1, 2}},
		{"all refuse", []int{0, 1, 2}, []door{{err: io.EOF}, {err: io.EOF}, {err: refused}}, -1, 0, []int{0, 1, 2}},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithTimeout(t.Context(), 10*s)
				defer cancel()
				w := NewWays([]string{"mqtts://a", "mqtts://b", "wss://c"}, nil)
				k := &corridor{doors: c.doors}
				began := time.Now()
				got, way, err := Race(ctx, w, c.order, k.try)
				if took := time.Since(began); way != c.want || took != c.took || !slices.Equal(k.begun, c.begun) {
					t.Errorf("way %d after %v, begun %v: %v; want %d after %v, begun %v", way, took, k.begun, err, c.want, c.took, c.begun)
				}
				left := 0
				if c.want < 0 {
					if e, ok := errors.AsType[*RefusedError](err); !ok || e != refused || !strings.Contains(err.Error(), "by mqtts://a: EOF") {
						t.Errorf("error %v", err)
					}
				} else if left = 1; got == nil {
					t.Fatal("nothing is open")
				}
				synctest.Wait()
				if k.open != left {
					t.Errorf("%d ways are open", k.open)
				}
			})
		})
	}
}

// What worked last is tried first, what let us in to no end last; the better ways
// are looked at more and more seldom, by one connection at a time.
func TestWaysRemember(t *testing.T) {
	now := time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)
	w := NewWays([]string{"a", "b", "c"}, nil)
	order := func(want ...int) {
		t.Helper()
		if got := w.Order(now); !slices.Equal(got, want) {
			t.Errorf("order %v, want %v", got, want)
		}
	}
	order(0, 1, 2)
	w.Unreached(0, io.EOF, now)
	order(0, 1, 2) // it costs nothing to look
	w.Up(1, now)
	order(1, 0, 2)
	if s := w.Status(); s[0].Err != io.EOF || s[1].Err != nil || s[2].Way != "c" {
		t.Errorf("status %+v", s)
	}
	w.Lived(1, 10*time.Second, io.EOF, now)
	order(0, 2, 1)
	w.Up(2, now)
	var looks []time.Duration
	for end := now.Add(24 * time.Hour); now.Before(end); now = now.Add(10 * time.Second) {
		if slices.Contains(w.Due(2, now), 0) {
			looks = append(looks, now.Sub(end.Add(-24*time.Hour)))
			if again := w.Due(2, now); len(again) != 0 {
				t.Errorf("two connections look at %v", again)
			}
		}
	}
	if n := len(looks); n < 25 || n > 35 || looks[0] > 75*time.Second {
		t.Errorf("looked %d times in a day, first after %v", n, looks[0])
	}
	if w.Left(2, now) {
		t.Error("others follow before anybody went")
	}
	w.GoBack(0, now)
	order(0, 1, 2)
	w.Up(0, now)
	if w.Left(2, now.Add(29*time.Second)) || !w.Left(2, now.Add(30*time.Second)) || w.Left(0, now.Add(time.Hour)) {
		t.Error("others follow at the wrong time")
	}
	if d := pauseOf(1000); d > lookMost*9/8 {
		t.Errorf("a pause of %v", d)
	}
}

// On another network everything is looked at again at once.
func TestAnotherNetworkOpensAllWays(t *testing.T) {
	g, here := NewGate(), "home"
	g.network.look = func() string { return here }
	now := time.Now()
	w := NewWays([]string{"a", "b"}, g)
	for range 8 {
		w.Refused(0, io.EOF, now)
	}
	w.Up(1, now)
	if due := w.Due(1, now.Add(time.Second)); len(due) != 0 {
		t.Errorf("looks at %v at once", due)
	}
	here = "away"
	if due := w.Due(1, now.Add(20*time.Second)); !slices.Equal(due, []int{0}) {
		t.Errorf("looks at %v on another network", due)
	}
}
