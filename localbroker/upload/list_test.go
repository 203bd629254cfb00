package upload

import (
	"fmt"
	"testing"
)

// TestRanges: segments are put together where they touch or overlap, whatever their
// order; a file in too many pieces is told in part.
func TestRanges(t *testing.T) {
	size := int64(100)
	for _, c := range []struct {
		list []span
		size *int64
		want string
	}{
		{nil, &size, "[] [{0 100}] false"},
		{nil, nil, "[] [] false"},
		{[]span{{50, 50}, {0, 20}, {20, 10}}, &size, "[{0 30} {50 100}] [{30 50}] false"},
		{[]span{{10, 20}, {0, 100}, {5, 2}}, &size, "[{0 100}] [] false"},
		{[]span{{90, 20}}, &size, "[{90 110}] [{0 90}] false"},
		{[]span{{90, 20}}, nil, "[{90 110}] [{0 90}] false"},
	} {
		have, gaps, cut := ranges(c.list, c.size)
		if got := fmt.Sprint(have, gaps, cut); got != c.want {
			t.Errorf("%v: %s, want %s", c.list, got, c.want)
		}
	}
	var many []span
	for i := range int64(2 * mostRanges) {
		many = append(many, span{2 * i, 1})
	}
	if have, gaps, cut := ranges(many, nil); len(have) != mostRanges || len(gaps) > mostRanges || !cut {
		t.Errorf("%d ranges, %d gaps, cut %v", len(have), len(gaps), cut)
	}
}

// TestCost: units are AWS's, by hand at their bounds (M03); what a PUBLISH is on the
// wire has one to four digits of length.
func TestCost(t *testing.T) {
	for size, want := range map[int]Cost{
		0: {Messages: 1, Units: 1, Wire: 6}, 5120: {Messages: 1, Units: 1, Wire: 5127}, 5121: {Messages: 1, Units: 2, Wire: 5128},
		123: {Messages: 1, Units: 1, Wire: 129}, 124: {Messages: 1, Units: 1, Wire: 131}, 131072: {Messages: 1, Units: 26, Wire: 131080},
	} {
		var c Cost
		if c.add(size); c != want {
			t.Errorf("%d bytes: %+v, want %+v", size, c, want)
		}
	}
}

// FuzzFileRef: what is taken for the name of an exported file is the name of one
// client and file id, spelt in one way only.
func FuzzFileRef(f *testing.F) {
	for _, s := range []string{fileRef("c", "f"), fileRef("", ""), fileRef("sensor/ä", ".."), "", "/etc/passwd", "../x", "AmMxZjE", "AmMxZjE=", "A\rA", "gICAgICAgICAgAE"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, ref string) {
		if p, ok := parseFileRef(ref); ok && fileRef(p.client, p.file) != ref {
			t.Errorf("%q is taken for %q, which is %q", ref, p, fileRef(p.client, p.file))
		}
	})
}
