package spool

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/ebbgate/ebbgate/bridge"
)

// Counters are what was added to them, whatever else is done to their keys, however
// many there are, and though commits fail.
func TestCountersAreWhatWasAdded(t *testing.T) {
	t.Parallel()
	for _, percent := range []int{0, 30} {
		t.Run(fmt.Sprint(percent, " % of the commits fail"), func(t *testing.T) {
			rnd := rand.New(rand.NewPCG(3, uint64(percent)))
			s := openTest(t, t.TempDir())
			defer func() { closeTest(t, s) }()
			failing(s, rnd, percent)
			is := map[string]int64{}
			for i := range 120 {
				var b bridge.Batch // puts come before what is added
				put, added := map[string]int64{}, map[string]int64{}
				keys, ops := 20, 1+rnd.IntN(30)
				if i%40 == 39 { // three make more than are remembered
					keys, ops = 4*mostCounters, mostCounters*3/4
				}
				for range ops {
					switch key := fmt.Sprint(rnd.IntN(keys)); rnd.IntN(12) {
					case 0:
						b.Put("meter", key, nil)
						put[key] = 0
					case 1:
						n := rnd.Uint64N(1000)
						b.Put("meter", key, binary.BigEndian.AppendUint64(nil, n))
						put[key] = int64(n)
					default:
						b.Add("meter", key, 7)
						added[key] += 7
					}
				}
				if ended(s, &b) != nil {
					continue
				}
				for key, n := range put {
					is[key] = n
				}
				for key, n := range added {
					is[key] += n
				}
			}
			s.settle()
			for key, want := range is {
				if n, err := s.Count("meter", key); err != nil || n != want {
					t.Fatalf("%s is %d, not %d (%v)", key, n, want, err)
				}
			}
			if n := len(s.counters); n == 0 || n > mostCounters {
				t.Errorf("%d are remembered", n)
			}
		})
	}
}
