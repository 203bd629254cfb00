package tally

import (
	"math/rand/v2"
	"reflect"
	"sync"
	"testing"

	"go.uber.org/goleak"
	"pgregory.net/rapid"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestAddTellsWhatItFound(t *testing.T) {
	var s Set
	for i, c := range []struct {
		series string
		number uint64
		want   Added
	}{
		{"a", 1, First}, {"a", 3, First}, {"a", 2, Late}, {"a", 3, Duplicate}, {"a", 4, First},
		{"b", 2, First}, {"b", 1, Late}, {"a", 0, Refused}, {"a", MaxNumber + 1, Refused},
	} {
		if got := s.Add(c.series, c.number); got != c.want {
			t.Errorf("step %d, %s/%d: %d, want %d", i, c.series, c.number, got, c.want)
		}
	}
	if s.Len() != 6 || !s.Has("a", 2) || s.Has("a", 5) || s.Has("c", 1) || s.Has("a", MaxNumber*2) {
		t.Errorf("contents wrong: %d, %v", s.Len(), s.Series())
	}
}

func TestSeriesAreBounded(t *testing.T) {
	var s Set
	for i := range MaxSeries {
		s.Add(string(rune('a'))+string(rune(i)), 1)
	}
	if got := s.Add("one too many", 1); got != Refused {
		t.Errorf("got %d, want it refused", got)
	}
}

func TestCompareNamesWhatIsLost(t *testing.T) {
	var acked, arrived Set
	for n := uint64(1); n <= 200; n++ {
		acked.Add("a", n)
		if n != 7 && n != 130 {
			arrived.Add("a", n)
		}
	}
	arrived.Add("a", 500)
	arrived.Add("b", 1)
	acked.Add("c", 1)
	d := Compare(&acked, &arrived)
	if d.Lost != 3 || d.Extra != 2 || !reflect.DeepEqual(d.Sample, []Number{{"a", 7}, {"a", 130}, {"c", 1}}) {
		t.Errorf("got %+v", d)
	}
}

func TestCompareAgreesWithMaps(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		draw := func(label string) map[uint64]bool {
			return rapid.MapOf(rapid.Uint64Range(1, 300), rapid.Just(true)).Draw(t, label)
		}
		want, got := draw("acked"), draw("arrived")
		var acked, arrived Set
		lost, extra := int64(0), int64(0)
		for n := range want {
			acked.Add("s", n)
			if !got[n] {
				lost++
			}
		}
		for n := range got {
			arrived.Add("s", n)
			if !want[n] {
				extra++
			}
		}
		if d := Compare(&acked, &arrived); d.Lost != lost || d.Extra != extra {
			t.Fatalf("lost %d, extra %d; want %d, %d", d.Lost, d.Extra, lost, extra)
		}
	})
}

func TestConcurrentUse(t *testing.T) {
	var s Set
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for _, n := range rand.Perm(1000) {
				s.Add("a", uint64(n+1))
				s.Has("a", uint64(n))
			}
			Compare(&s, &s)
		})
	}
	wg.Wait()
	if s.Len() != 1000 {
		t.Errorf("%d, want 1000", s.Len())
	}
}
