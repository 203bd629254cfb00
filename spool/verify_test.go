package spool

import (
	"path/filepath"
	"testing"
)

func TestVerify(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := openTest(t, dir)
	fill(t, s, 0, 1500, up)
	r, err := Verify(dir, nil)
	if err != nil || !r.Running || !r.Sound() {
		t.Fatalf("beside a gateway: %+v, %v", r, err)
	}
	killedDir := killed(t, dir)
	closeTest(t, s)
	for name, dir := range map[string]string{"closed": dir, "killed": killedDir} {
		r, err := Verify(dir, nil)
		if err != nil || r.Running || !r.Sound() {
			t.Fatalf("%s: %+v, %v", name, r, err)
		}
		n := 0
		for _, g := range r.Generations {
			n += g.Records
		}
		if n != 1500 {
			t.Fatalf("%s: %d records", name, n)
		}
	}
	for name, c := range map[string]struct{ sub, suffix string }{
		"value log": {"log", ".vlog"}, "index": {"log", ".sst"}, "state": {"state", "MANIFEST"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := killed(t, dir)
			each(t, filepath.Join(dir, c.sub), c.suffix, func(_ string, b []byte) []byte {
				if len(b) > 0 {
					b[len(b)*6/10] ^= 4
				}
				return b
			})
			r, err := Verify(dir, nil)
			if err != nil || r.Sound() {
				t.Fatalf("damage is not seen: %+v, %v", r, err)
			}
			s := openTest(t, dir)
			if _, err := s.Repair(nil); err != nil {
				t.Fatal(err)
			}
			got, missing := len(drain(t, s, up, false)), count(s.Missing())
			if got+missing != 1500 {
				t.Fatalf("%d read, %d reported missing of 1500", got, missing)
			}
			closeTest(t, s)
		})
	}
}
