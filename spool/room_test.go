package spool

import (
	"log/slog"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ebbgate/ebbgate/bridge"
)

// openBound opens a spool of a bound, whose generations are small.
func openBound(t *testing.T, dir string, bound bridge.Size, delay time.Duration, health *bridge.Health) *Spool {
	t.Helper()
	o := DefaultOptions()
	o.Dir, o.MaxSize, o.CommitDelay = dir, bound, delay
	s, err := open(o, Deps{Log: slog.New(slog.DiscardHandler), Health: health}, smallSizes(), time.Now)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// releaseFirst releases the oldest records of a queue that is still full of them, so
// many bytes at least.
func releaseFirst(t *testing.T, s *Spool, queue string, size int64) {
	t.Helper()
	c := s.Cursor(queue)
	defer c.Close()
	var b bridge.Batch
	for n := int64(0); n < size; {
		r, err := c.Next()
		if err != nil || r == nil {
			t.Fatalf("%d bytes of %d: %v, %v", n, size, r, err)
		}
		n += int64(len(r.Payload))
		b.Release(r)
	}
	commitAll(t, s, &b)
}

func fullAsTold(h *bridge.Health) bool {
	return slices.ContainsFunc(h.Warnings(), func(w bridge.Warning) bool { return w.Code == "spool-full" })
}

// A full spool takes messages again when there is room and those who were refused know
// it, not before: a device's next would pass the one that it has to send again. What
// waited behind the refused one is refused with it, in order.
func TestRoomComesBackWhenTheRefusedKnow(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := new(bridge.Health)
		s := openBound(t, t.TempDir(), 256<<10, time.Second, h)
		defer closeTest(t, s)
		know := make(chan struct{})
		var refused []int // the completer's, in the order in which it tells their givers
		give := func(i int) {
			var b bridge.Batch
			b.Append(record(i, up))
			b.Appends[0].Payload = make([]byte, 2<<10)
			s.Commit(&b, func(_ bridge.Seq, err error) {
				if err == nil {
					return
				}
				if bridge.KindOf(err) != bridge.Full {
					t.Errorf("%d: %v", i, err)
				}
				if refused = append(refused, i); len(refused) == 1 {
					<-know
				}
			})
		}
		const most = 256 // twice as many as it holds, and less than ends the delay of a commit
		for i := range most {
			give(i)
			synctest.Wait() // the committer waits for more, from the first on
		}
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if len(refused) != 1 || !fullAsTold(h) {
			t.Fatalf("%d were refused, warnings %v", len(refused), h.Warnings())
		}
		drain(t, s, up, true)
		time.Sleep(20 * spaceChecked)
		if err := s.fits(32 << 10); err != nil {
			t.Fatalf("there is no room: %v", err)
		}
		early := make(chan error, 1)
		var b bridge.Batch
		b.Append(record(most, up))
		s.Commit(&b, func(_ bridge.Seq, err error) { early <- err })
		synctest.Wait()
		select {
		case err := <-early:
			if bridge.KindOf(err) != bridge.Full {
				t.Errorf("one is answered with %v while the giver of one before it does not know that it was refused", err)
			}
		default:
			t.Error("one is taken while the giver of one before it does not know that it was refused")
		}
		close(know)
		time.Sleep(2 * spaceChecked)
		if err := tryRecord(s, most, 16, up); err != nil {
			t.Errorf("there is room, and who was refused knows: %v", err)
		}
		if fullAsTold(h) {
			t.Errorf("it is still said to be full: %v", h.Warnings())
		}
		for k, i := range refused {
			if i != refused[0]+k {
				t.Fatalf("after %d, %d is told that it was refused", refused[k-1], i)
			}
		}
		if accepted := s.Ledger(up).Accepted; accepted != int64(refused[0])+1 || len(refused) != most-refused[0] {
			t.Errorf("%d of %d were refused, from %d on, and %d accepted", len(refused), most, refused[0], accepted)
		}
	})
}

// Room for one message is not enough: a spool that took it would be full with the
// next, and say so each time. So it is after a start that finds the spool full, too.
func TestRoomToSpare(t *testing.T) {
	t.Parallel()
	for name, restart := range map[string]bool{"in one run": false, "full at a start": true} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				const bound, spare = 1 << 20, 128 << 10 // an eighth
				dir, h := t.TempDir(), new(bridge.Health)
				s := openBound(t, dir, bound, 0, h)
				n := 0
				for ; tryRecord(s, n, 2<<10, up) == nil; n++ {
				}
				if restart {
					closeTest(t, s)
					h = new(bridge.Health)
					s = openBound(t, dir, bound-spare/4, 0, h)
				}
				defer closeTest(t, s)
				if !fullAsTold(h) {
					t.Fatalf("it is not full: %v", h.Warnings())
				}
				releaseFirst(t, s, up, smallSizes().generation*3/2)
				time.Sleep(20 * spaceChecked)
				if err := s.fits(4 << 10); err != nil {
					t.Fatalf("there is no room for one: %v", err)
				}
				if err := tryRecord(s, n, 16, up); bridge.KindOf(err) != bridge.Full || !fullAsTold(h) {
					t.Errorf("with room for a few messages: %v, warnings %v", err, h.Warnings())
				}
				releaseFirst(t, s, up, 2*spare)
				time.Sleep(20 * spaceChecked)
				if err := tryRecord(s, n, 16, up); err != nil || fullAsTold(h) {
					t.Errorf("with room to spare: %v, warnings %v", err, h.Warnings())
				}
			})
		})
	}
}
