package spool

import (
	"bytes"
	"path/filepath"
	"testing"
)

// Recovery leaves two copies of a commit in the raw files when the index had not
// got it yet. When one of them is damaged, the start, the reader, verify and
// repair all go by the other, whichever the index names.
func TestOneOfTwoCopiesIsDamaged(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := openTest(t, dir)
	fill(t, s, 0, 200, up)
	k := killed(t, dir)
	closeTest(t, s)
	each(t, filepath.Join(k, "log"), ".mem", func(_ string, b []byte) []byte { return make([]byte, len(b)) })
	closeTest(t, openTest(t, k))
	marked := record(150).Payload
	hits := 0
	each(t, filepath.Join(k, "log"), ".vlog", func(_ string, b []byte) []byte {
		hits += bytes.Count(b, marked)
		return b
	})
	if hits != 2 {
		t.Fatalf("%d copies, want 2", hits)
	}
	for name, last := range map[string]bool{"first": false, "second": true} {
		for what, offset := range map[string]int{"payload": 0, "frame length": -frameLengthBefore(t)} {
			t.Run(name+" "+what, func(t *testing.T) {
				dir := killed(t, k)
				damageCopy(t, dir, marked, last, offset)
				r, err := Verify(dir, nil)
				if err != nil {
					t.Fatal(err)
				}
				second := killed(t, dir)
				s := openTest(t, dir)
				expectRange(t, drain(t, s, up, false), 0, 200)
				if reported := s.damages.Load() > 0; reported == r.Sound() || len(s.Missing()) > 0 {
					t.Errorf("verify says sound: %v, reported at reading: %v, missing %v", r.Sound(), reported, s.Missing())
				}
				closeTest(t, s)
				s = openTest(t, second)
				if n, err := s.Repair(nil); err != nil || (n == 0) != r.Sound() || len(s.Missing()) > 0 {
					t.Errorf("repair rebuilt %d, verify says sound: %v, missing %v, %v", n, r.Sound(), s.Missing(), err)
				}
				expectRange(t, drain(t, s, up, false), 0, 200)
				closeTest(t, s)
				if r, err := Verify(second, nil); err != nil || !r.Sound() {
					t.Errorf("after the repair: %+v, %v", r, err)
				}
			})
		}
	}
}

// frameLengthBefore is how far before a payload its frame begins.
func frameLengthBefore(t *testing.T) int {
	t.Helper()
	r := record(150, up)
	frame := appendFrame(nil, frameRecord, func(b []byte) []byte { return appendRecord(b, r, 0, []place{{0, 0}}) })
	i := bytes.Index(frame, r.Payload)
	if i < 0 {
		t.Fatal("the payload is not in its frame")
	}
	return i
}

// damageCopy flips a bit near the first or the last copy of a payload in the
// log's files, as they are in order.
func damageCopy(t *testing.T, dir string, payload []byte, last bool, offset int) {
	t.Helper()
	names, _ := filepath.Glob(filepath.Join(dir, "log", "*", "*.vlog"))
	done := false
	for i := range names {
		path := names[i]
		if last {
			path = names[len(names)-1-i]
		}
		rewrite(t, path, func(b []byte) []byte {
			at := bytes.Index(b, payload)
			if last {
				at = bytes.LastIndex(b, payload)
			}
			if at >= 0 && !done {
				b[at+offset] ^= 1
				done = true
			}
			return b
		})
	}
	if !done {
		t.Fatal("the payload is nowhere")
	}
}
