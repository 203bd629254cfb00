package spool

import (
	"math/rand/v2"
	"sync"
	"testing"

	"github.com/ebbgate/ebbgate/bridge"
)

// TestSeekAnywhere seeks back and forth, also in the middle of a commit that is
// half decoded, while some records are released, others are appended, and
// generations go; Next is always the first live record at or after the place.
func TestSeekAnywhere(t *testing.T) {
	t.Parallel()
	for seed := range uint64(12) {
		rnd := rand.New(rand.NewPCG(seed, 3))
		s := openTest(t, t.TempDir())
		const other = "up/b/z"
		var mu sync.Mutex
		var live []*bridge.Stored // by place; nil when released
		n := 0
		grow := func() {
			var b bridge.Batch
			k := 1 + rnd.IntN(60)
			for range k {
				switch rnd.IntN(4) {
				case 0:
					b.Append(record(n, other))
				case 1:
					b.Append(record(n, other, up))
				default:
					b.Append(record(n, up))
				}
				n++
			}
			commitAll(t, s, &b)
		}
		for range 30 {
			grow()
		}
		refresh := func() {
			mu.Lock()
			defer mu.Unlock()
			c := s.Cursor(up)
			defer c.Close()
			live = live[:0]
			for {
				r, err := c.Next()
				if err != nil {
					t.Fatal(err)
				}
				if r == nil {
					return
				}
				live = append(live, r)
			}
		}
		refresh()
		c := s.Cursor(up)
		at := 0 // index in live of what Next returns
		for step := range 4000 {
			switch x := rnd.IntN(100); {
			case x < 80:
				r, err := c.Next()
				if err != nil {
					t.Fatal(err)
				}
				switch {
				case at >= len(live):
					if r != nil {
						t.Fatalf("seed %d step %d: place %d after the end", seed, step, r.Place)
					}
				case r == nil || r.Place != live[at].Place || string(r.Payload) != string(live[at].Payload):
					t.Fatalf("seed %d step %d: got %+v, want place %d", seed, step, r, live[at].Place)
				default:
					at++
				}
			case x < 92 && len(live) > 0: // back or forth
				at = rnd.IntN(len(live))
				if rnd.IntN(2) == 0 { // near
					at = max(0, at-rnd.IntN(30))
				}
				c.Seek(live[at].Place)
			case x < 93:
				at = 0
				c.Seek(0)
			case x < 97 && len(live) > 0: // release some, mostly the oldest
				var b bridge.Batch
				var keep []*bridge.Stored
				cut := rnd.IntN(len(live)/8 + 1)
				newAt := at
				for i, r := range live {
					if i < cut && rnd.IntN(10) > 0 || rnd.IntN(100) == 0 {
						b.Release(r)
						if i < at {
							newAt--
						}
						continue
					}
					keep = append(keep, r)
				}
				commitAll(t, s, &b)
				live, at = keep, newAt
			default:
				grow()
				before := append([]*bridge.Stored(nil), live...)
				refresh()
				if len(live) < len(before) {
					t.Fatal("lost")
				}
			}
		}
		c.Close()
		closeTest(t, s)
	}
}
