package mqtt

import (
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/ebbgate/ebbgate/bridge"
)

// TestWindowAgainstAModel reserves, sends, gives back, acknowledges in any
// order and empties, beside a plain list.
func TestWindowAgainstAModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		size := rapid.IntRange(1, 8).Draw(t, "size")
		w := newWindow(size)
		type sent struct {
			id   uint16
			wire int
		}
		var model []sent
		next, latest := 0, uint16(0)
		w.last = rapid.SampledFrom([]uint16{0, 65530}).Draw(t, "last") // the latter comes to the end of the identifiers
		latest = w.last
		for range rapid.IntRange(0, 200).Draw(t, "steps") {
			switch rapid.IntRange(0, 4).Draw(t, "step") {
			case 0, 1: // send
				id := w.reserve()
				if (id == 0) != (len(model) == size) {
					t.Fatalf("reserve gave %d with %d of %d out", id, len(model), size)
				}
				if id != 0 {
					want := latest
					for in := true; in; in = slices.ContainsFunc(model, func(s sent) bool { return s.id == want }) {
						if want++; want == 0 {
							want = 1
						}
					}
					if id != want {
						t.Fatalf("reserve gave %d after %d, and %d is free: what was used last comes last", id, latest, want)
					}
					latest = id
					next++
					w.send(id, func(bridge.Outcome) {}, next, 1, 0, time.Now())
					model = append(model, sent{id, next})
				}
			case 2: // a send that fails
				if id := w.reserve(); id != 0 {
					latest = id
					if w.awaits(id) {
						t.Fatalf("%d is reserved and not sent, and awaited", id)
					}
					w.giveBack(id)
				}
			case 3: // an acknowledgement, of anything
				id := rapid.Uint16().Draw(t, "id")
				if near := rapid.Uint16Range(0, 10).Draw(t, "back"); rapid.Bool().Draw(t, "near") {
					id = latest - near
				}
				awaited := w.awaits(id)
				s, ok := w.take(id, time.Now())
				at := -1
				for i := range model {
					if model[i].id == id {
						at = i
					}
				}
				if ok != awaited || ok != (at >= 0) || ok && s.wire != model[at].wire {
					t.Fatalf("take(%d) gave %v %v, model %v", id, s.wire, ok, model)
				}
				if ok {
					model = append(model[:at], model[at+1:]...)
				}
			case 4: // the oldest
				s, ok := w.takeOldest()
				if ok != (len(model) > 0) || ok && s.wire != model[0].wire {
					t.Fatalf("takeOldest gave %v %v, model %v", s.wire, ok, model)
				}
				if ok {
					model = model[1:]
				}
			}
		}
	})
}

func TestOverdue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWindow(4)
		due := func() time.Duration { late, _ := w.overdue(time.Now()); return late }
		send := func() uint16 {
			id := w.reserve()
			w.send(id, func(bridge.Outcome) {}, 1, 1, 0, time.Now())
			return id
		}
		if d := due(); d != 0 {
			t.Errorf("an empty window is overdue by %v", d)
		}
		a := send()
		time.Sleep(time.Second)
		b := send()
		c := send()
		if d := due(); d != time.Second {
			t.Errorf("overdue by %v, want the age of the oldest", d)
		}
		time.Sleep(time.Second)
		w.take(a, time.Now())
		time.Sleep(time.Second)
		if d := due(); d != time.Second {
			t.Errorf("overdue by %v, want the time since the one before it was acknowledged", d)
		}
		w.take(c, time.Now())
		if d := due(); d != time.Second {
			t.Errorf("overdue by %v: being overtaken must not help", d)
		}
		w.take(b, time.Now())
		if d := due(); d != 0 {
			t.Errorf("an empty window is overdue by %v", d)
		}
	})
}
