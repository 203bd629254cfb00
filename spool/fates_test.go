package spool

import (
	"slices"
	"testing"

	"github.com/ebbgate/ebbgate/bridge"
)

// What was written before fates were counted reads as delivered, and what has
// none but deliveries is written as it was then.
func TestFatesOfAnOlderSpool(t *testing.T) {
	t.Parallel()
	r := releases{head: 5, ranges: []placeRange{{7, 9}, {20, 21}}, bytes: 100}
	b := r.encode()
	old, err := decodeReleases(b[:len(b)-int(bridge.Fates)]) // each 0 is one byte
	if want := (fates{7, 0, 0, 0}); err != nil || old.fates != want {
		t.Errorf("%+v, %v; want %v", old, err, want)
	}
	r.fates = fates{3, 2, 0, 2}
	if got, err := decodeReleases(r.encode()); err != nil || got.fates != r.fates {
		t.Errorf("%+v comes back as %+v, %v", r.fates, got.fates, err)
	}

	list := []bridge.Release{{Queue: up, Place: 1, Bytes: 2}, {Queue: up, Place: 2}}
	before := appendOps(nil, list, nil, nil)
	list[1].Fate = bridge.Consumed
	after := appendOps(nil, list, nil, nil)
	if !slices.Equal(after[:len(before)], before) || len(after) != len(before)+2 {
		t.Errorf("% x, and with a fate % x", before, after)
	}
	if got, err := decodeOps(after); err != nil || !slices.Equal(got.Releases, list) {
		t.Errorf("%+v comes back as %+v, %v", list, got, err)
	}
	after[len(after)-1] = byte(bridge.Fates)
	if _, err := decodeOps(after); err == nil {
		t.Error("a fate that nobody knows is taken")
	}
}
