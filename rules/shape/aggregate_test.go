package shape

import (
	"math"
	"math/big"
	"math/rand/v2"
	"testing"
)

// statsOf is a field of readings, one by one.
func statsOf(values ...float64) *stat {
	var all *stat
	for _, v := range values {
		one := &stat{First: v, Last: v, Min: v, Max: v, Mean: v, Sum: &v, Count: 1}
		if all == nil {
			all = one
		} else {
			all.merge(one)
		}
	}
	return all
}

// The average of readings of a decimal or two is the number next to it, in whatever
// parts they come, and never less than the least of them nor more than the largest.
func TestAveragesAreTheNearest(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	for range 2000 {
		var parts []*stat
		exact, n := new(big.Rat), int64(0)
		steady := rnd.IntN(4) == 0
		v := float64(rnd.IntN(2000)-1000) / 10
		for range 1 + rnd.IntN(4) {
			var values []float64
			for range 1 + rnd.IntN(60) {
				if !steady {
					v = float64(rnd.IntN(2000)-1000) / 10
				}
				values = append(values, v)
				exact.Add(exact, new(big.Rat).SetFloat64(v))
				n++
			}
			parts = append(parts, statsOf(values...))
		}
		whole := parts[0]
		for _, p := range parts[1:] {
			whole.merge(p)
		}
		want, _ := exact.Quo(exact, new(big.Rat).SetInt64(n)).Float64()
		if got := whole.mean(); math.Abs(got-want) > math.Abs(want)*1e-15 || steady && got != v || got < whole.Min || got > whole.Max {
			t.Fatalf("%v of %d readings from %v to %v, want %v", got, n, whole.Min, whole.Max, want)
		}
	}
}

// A part that an earlier version has written, which knows no sum, goes together with one
// that does, and the other way round.
func TestPartsWithoutASum(t *testing.T) {
	for name, order := range map[string]func(old, now *stat) (into, from *stat){
		"the old one comes":       func(old, now *stat) (*stat, *stat) { return now, old },
		"the old one is there":    func(old, now *stat) (*stat, *stat) { return old, now },
		"there are only old ones": func(old, now *stat) (*stat, *stat) { now.Sum = nil; return old, now },
	} {
		old, now := statsOf(1, 2, 3), statsOf(4, 6)
		old.Sum = nil
		into, from := order(old, now)
		into.merge(from)
		into.merge(statsOf(8))
		if into.mean() != 4 || into.Count != 6 || into.Sum != nil {
			t.Errorf("%s: %v of %d", name, into.mean(), into.Count)
		}
	}
}

// What is taken into a window is not changed by what comes after it.
func TestWhatIsMergedStays(t *testing.T) {
	part := &aggregate{Count: 1, Fields: map[string]*stat{"v": statsOf(2)}}
	for range 2 {
		window := new(aggregate)
		window.merge(part)
		window.merge(&aggregate{Count: 1, Fields: map[string]*stat{"v": statsOf(4)}})
		if avg := window.Fields["v"].mean(); avg != 3 {
			t.Errorf("an average of %v", avg)
		}
	}
	if s := part.Fields["v"]; *s.Sum != 2 || s.Count != 1 {
		t.Errorf("%v of %d", *s.Sum, s.Count)
	}
}
