package spool

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/ebbgate/ebbgate/bridge"
)

// newestFile is the value log file that was written last.
func newestFile(t testing.TB, dir string) string {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(dir, "log", "*", "*.vlog"))
	if err != nil || len(names) == 0 {
		t.Fatalf("no value log: %v", err)
	}
	return slices.Max(names)
}

// rewrite changes one file.
func rewrite(t testing.TB, path string, change func([]byte) []byte) {
	t.Helper()
	b, err := os.ReadFile(path)
	if err == nil {
		err = os.WriteFile(path, change(b), 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// used is the length of a file without the zeros at its end.
func used(b []byte) int { return len(bytes.TrimRight(b, "\x00")) }

// What was acknowledged last and is not there is reported: at the start, by
// verify before it, by repair as well, and once.
func TestTheEndOfTheLogIsMissing(t *testing.T) {
	t.Parallel()
	const all = 700
	dir, z := t.TempDir(), smallSizes()
	z.trayAge = time.Hour // what is put last is in the log only
	s := openSized(t, dir, z)
	fill(t, s, 0, 600, up)
	fill(t, s, 600, all, up, other)
	put(t, s, "kept", "device")
	k := killed(t, dir)
	closeTest(t, s)
	for name, damage := range map[string]func(dir string) error{
		"file gone": func(dir string) error { return os.Remove(newestFile(t, dir)) },
		"generation gone": func(dir string) error {
			return os.RemoveAll(filepath.Dir(newestFile(t, dir)))
		},
		"log gone": func(dir string) error { return os.RemoveAll(filepath.Join(dir, "log")) },
		"empty":    func(dir string) error { return os.Truncate(newestFile(t, dir), 0) },
		"cut": func(dir string) error {
			rewrite(t, newestFile(t, dir), func(b []byte) []byte { return b[:used(b)*2/3] })
			return nil
		},
		"end zeroed": func(dir string) error {
			rewrite(t, newestFile(t, dir), func(b []byte) []byte { clear(b[used(b)*2/3:]); return b })
			return nil
		},
		"last commit": func(dir string) error {
			rewrite(t, newestFile(t, dir), func(b []byte) []byte { b[bytes.LastIndex(b, []byte(commitMagic))] ^= 1; return b })
			return nil
		},
	} {
		t.Run(name, func(t *testing.T) {
			dir := killed(t, k)
			if err := damage(dir); err != nil {
				t.Fatal(err)
			}
			if name != "log gone" { // then there is no spool, as far as verify can tell
				if r, err := Verify(dir, nil); err != nil || r.Sound() || len(r.Gaps) == 0 {
					t.Errorf("verify misses nothing: %+v, %v", r, err)
				}
			}
			second := killed(t, dir)
			s := openTest(t, dir)
			atOnce := count(s.Missing())
			got, also := drain(t, s, up, false), drain(t, s, other, false)
			missing := s.Missing()
			if n := count(missing); n+len(got)+len(also) != all+100 || (n == 0 || atOnce == 0) != (name == "last commit") {
				t.Errorf("%d and %d records, %d reported missing at the start, %d after reading, of %d and 100", len(got), len(also), atOnce, n, all)
			}
			if v, err := s.Get(shelfQueue, "device"); v != nil || err != nil || s.damages.Load() == 0 {
				t.Errorf("the shelf holds %q (%v), %d reports of damage", v, err, s.damages.Load())
			}
			closeTest(t, s)
			s = openTest(t, second)
			_, err := s.Repair(nil)
			if repaired := s.Missing(); err != nil || count(repaired) != count(missing) {
				t.Errorf("repair reports %v, the start %v (%v)", repaired, missing, err)
			}
			closeTest(t, s)
			s = openTest(t, dir)
			fill(t, s, all, all+50, up)
			expectRange(t, drain(t, s, up, false)[len(got):], all, all+50)
			if lost := s.Missing(); len(lost) > 0 || s.damages.Load() > 0 {
				t.Errorf("reported again: %v, %d reports of damage", lost, s.damages.Load())
			}
			closeTest(t, s)
		})
	}
}

// cutShort leaves half of a commit at the end of the log, as a power cut leaves
// the one that was under way, and returns how many records it had.
func cutShort(t testing.TB, dir string, keep float64) {
	t.Helper()
	rewrite(t, newestFile(t, dir), func(b []byte) []byte {
		last := bytes.LastIndex(b, []byte(commitMagic))
		h, err := parseHeader(b[last:])
		if err != nil {
			t.Fatal(err)
		}
		clear(b[last+int(keep*float64(h.size)):])
		return b
	})
}

// The commit that was under way when the power went is no loss: nobody was told
// that it was taken. Neither is it when the mark is older than the log, as a
// power cut leaves it.
func TestWhatWasUnderWayIsNotMissing(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name string
		keep float64
	}{{"half a header", 0.01}, {"header", 0.3}, {"some records", 0.6}} {
		for _, older := range []bool{false, true} {
			t.Run(fmt.Sprint(c.name, " mark older ", older), func(t *testing.T) {
				dir := t.TempDir()
				s := openTest(t, dir)
				fill(t, s, 0, 100, up)
				early := killed(t, dir)
				if older {
					fill(t, s, 100, 200, up)
				}
				mark := killed(t, dir)
				var b bridge.Batch
				for i := range 5 {
					b.Append(record(200+i, up))
				}
				commitAll(t, s, &b)
				k := killed(t, dir)
				closeTest(t, s)
				all := 100
				if older {
					mark, all = early, 200
				}
				data, err := os.ReadFile(filepath.Join(mark, tailName))
				if err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(filepath.Join(k, tailName), data, 0o600); err != nil {
					t.Fatal(err)
				}
				cutShort(t, k, c.keep)
				if r, err := Verify(k, nil); err != nil || !r.Sound() {
					t.Errorf("verify calls it damaged: %+v, %v", r, err)
				}
				s = openTest(t, k)
				defer closeTest(t, s)
				got := drain(t, s, up, false)
				expectRange(t, got[:all], 0, all)
				if lost := s.Missing(); len(got) >= all+5 || len(lost) > 0 || s.damages.Load() > 0 {
					t.Errorf("%d records; reported missing: %v, %d reports of damage", len(got), lost, s.damages.Load())
				}
				fill(t, s, 300, 310, up)
				expectRange(t, drain(t, s, up, false)[len(got):], 300, 310)
			})
		}
	}
}

// A mark that cannot be read, or is not there, is reported, and loses nothing.
func TestMarkOfTheEndUnreadable(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := openTest(t, dir)
	fill(t, s, 0, 300, up)
	k := killed(t, dir)
	closeTest(t, s)
	for name, b := range map[string][]byte{"empty": nil, "zeros": make([]byte, 2*tailSlot), "short": []byte(tailMagic), "missing": nil} {
		t.Run(name, func(t *testing.T) {
			dir := killed(t, k)
			if err := os.WriteFile(filepath.Join(dir, tailName), b, 0o600); err != nil {
				t.Fatal(err)
			}
			if name == "missing" {
				if err := os.Remove(filepath.Join(dir, tailName)); err != nil {
					t.Fatal(err)
				}
			}
			if r, err := Verify(dir, nil); err != nil || r.Sound() || r.Tail == "" {
				t.Errorf("verify: %+v, %v", r, err)
			}
			s := openTest(t, dir)
			if s.damages.Load() != 1 {
				t.Errorf("%d reports of damage", s.damages.Load())
			}
			expectRange(t, drain(t, s, up, false), 0, 300)
			fill(t, s, 300, 301, up)
			closeTest(t, s)
			if r, err := Verify(dir, nil); err != nil || !r.Sound() {
				t.Errorf("after the next commit: %+v, %v", r, err)
			}
		})
	}
}

// One of the mark's two halves is always whole, however a kill cut the other; and
// the file grows with the queues.
func TestMarkOfTheEnd(t *testing.T) {
	t.Parallel()
	f := tailFile{dir: t.TempDir(), spool: 7}
	defer f.close()
	if err := f.begin(tailMark{generation: 3, first: 10, end: 10}); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(f.dir, tailName)
	for i := range 300 {
		h := &commitHeader{first: bridge.Seq(10 + i), records: 1, table: []queueSpan{{name: fmt.Sprintf("up/cloud/%d", i%200), first: bridge.Place(1 + i/200), count: 1}}}
		if err := f.take(h.table); err != nil {
			t.Fatal(err)
		}
		f.note(h)
		m, err := readTail(f.dir, 7)
		if err != nil || m.end != h.next() || m.generation != 3 || m.first != 10 || len(m.queues) != min(i+1, 200) {
			t.Fatalf("after %d: %+v, %v", i, m, err)
		}
		if i%50 > 0 { // the newer half is cut short
			b, _ := os.ReadFile(path)
			at := (1 - f.slot) * len(b) / 2
			clear(b[at+tailHeader/2 : at+tailHeader])
			cut := t.TempDir()
			if err := os.WriteFile(filepath.Join(cut, tailName), b, 0o600); err != nil {
				t.Fatal(err)
			}
			if m, err := readTail(cut, 7); err != nil || m.end != h.first && len(m.queues) == 200 {
				t.Fatalf("the older half, after %d: %+v, %v", i, m, err)
			}
		}
	}
	if fi, err := os.Stat(path); err != nil || fi.Size() <= 2*tailSlot {
		t.Errorf("the file has not grown: %v, %v", fi, err)
	}
	if m, err := readTail(f.dir, 8); err == nil {
		t.Errorf("another spool's mark is taken: %+v", m)
	}
}

// A paused route keeps an old generation while later ones come and go: nothing is
// missing.
func TestVerifyWithGenerationsGone(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := openTest(t, dir)
	fill(t, s, 0, 1, other)
	fill(t, s, 1, 4000, up)
	drain(t, s, up, true)
	k := killed(t, dir)
	closeTest(t, s)
	gens, _ := filepath.Glob(filepath.Join(dir, "log", "*"))
	if len(gens) > 3 {
		t.Fatalf("%d generations are left: the test needs some that went", len(gens))
	}
	for name, dir := range map[string]string{"closed": dir, "killed": k} {
		if r, err := Verify(dir, nil); err != nil || !r.Sound() {
			t.Errorf("%s: %+v, %v", name, r, err)
		}
	}
}

// Nothing tells a start without its state what was before the oldest generation
// that is left: it went in order, and is not missing.
func TestStateLostAfterGenerationsWent(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := openTest(t, dir)
	fill(t, s, 0, 2000, up)
	drain(t, s, up, true)
	fill(t, s, 2000, 2100, up)
	k := killed(t, dir)
	closeTest(t, s)
	for name, dir := range map[string]string{"closed": dir, "killed": k} {
		t.Run(name, func(t *testing.T) {
			if err := os.RemoveAll(filepath.Join(dir, "state")); err != nil {
				t.Fatal(err)
			}
			s := openTest(t, dir)
			defer closeTest(t, s)
			got := drain(t, s, up, false)
			expectRange(t, got[len(got)-100:], 2000, 2100)
			if lost := s.Missing(); len(lost) > 0 {
				t.Errorf("%d of 2100 records there, missing %v", len(got), lost)
			}
		})
	}
}
