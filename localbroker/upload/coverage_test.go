package upload

import (
	"testing"

	"pgregory.net/rapid"
)

// TestCoverProperty compares the path with a search through all of them.
func TestCoverProperty(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		size := rapid.Int64Range(0, 12).Draw(t, "size")
		segments := map[span]stored{}
		for range rapid.IntRange(0, 14).Draw(t, "n") {
			s := span{rapid.Int64Range(0, 12).Draw(t, "offset"), rapid.Int64Range(1, 6).Draw(t, "length")}
			segments[s] = stored{durable: rapid.Bool().Draw(t, "durable")}
		}
		plan, ok := cover(segments, size)
		if want := reaches(segments, 0, size); ok != want {
			t.Fatalf("cover says %v, a search %v", ok, want)
		}
		at := int64(0)
		for _, p := range plan {
			if p.offset != at || !segments[p.span].durable {
				t.Fatalf("%+v is no path", plan)
			}
			at = p.end()
		}
		if ok && at != size {
			t.Fatalf("%+v ends at %d, not %d", plan, at, size)
		}
	})
}

func reaches(segments map[span]stored, from, to int64) bool {
	if from == to {
		return true
	}
	for s, at := range segments {
		if at.durable && s.offset == from && s.end() <= to && reaches(segments, s.end(), to) {
			return true
		}
	}
	return false
}

// TestCoverTakesTheLongest: of segments that end together the longest counts
// (§4).
func TestCoverTakesTheLongest(t *testing.T) {
	yes := stored{durable: true}
	plan, ok := cover(map[span]stored{{0, 4}: yes, {4, 4}: yes, {0, 8}: yes, {6, 2}: yes}, 8)
	if !ok || len(plan) != 1 || plan[0].span != (span{0, 8}) {
		t.Errorf("%+v", plan)
	}
}
