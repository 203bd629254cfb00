package spool

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"
)

// A log that ends in the middle of a commit: of that one the records that are there
// are there, and the others are missing, as the start and repair say. Verify counted
// all of them as there.
func TestVerifyCountsACutCommit(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := openTest(t, dir)
	fill(t, s, 0, 1500, up)
	was := killed(t, dir)
	closeTest(t, s)
	for _, percent := range []int{30, 55, 80, 97} {
		t.Run(fmt.Sprint(percent), func(t *testing.T) {
			dir := killed(t, was)
			names, err := filepath.Glob(filepath.Join(dir, "log", "*", "*.vlog"))
			if err != nil || len(names) == 0 {
				t.Fatalf("%v, %v", names, err)
			}
			newest := slices.Max(names)
			b, err := os.ReadFile(newest)
			if err != nil {
				t.Fatal(err)
			}
			if err := os.Truncate(newest, int64(used(b)*percent/100)); err != nil {
				t.Fatal(err)
			}
			r, err := Verify(dir, nil)
			if err != nil || r.Sound() || len(r.Missing) == 0 {
				t.Fatalf("%+v, %v", r, err)
			}
			there := 0
			for _, g := range r.Generations {
				there += g.Records
			}
			if there+count(r.Missing) != 1500 {
				t.Errorf("%d are there and %d missing, of 1500", there, count(r.Missing))
			}
			s := openTest(t, dir)
			if _, err := s.Repair(nil); err != nil {
				t.Fatal(err)
			}
			if got := s.Missing(); !slices.Equal(got, r.Missing) {
				t.Errorf("verify says %v, repair %v", r.Missing, got)
			}
			if got := len(drain(t, s, up, false)); got != there {
				t.Errorf("%d are there, verify says %d", got, there)
			}
			closeTest(t, s)
			if r, err := Verify(dir, nil); err != nil || !r.Sound() {
				t.Errorf("after repair: %+v, %v", r, err)
			}
		})
	}
}
