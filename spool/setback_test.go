package spool

import (
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/dgraph-io/badger/v4"

	"github.com/ebbgate/ebbgate/bridge"
)

// tabled makes a spool of which the state has three tables, and a log of a memtable in
// which its last commits are, as a kill leaves it: 300 of 343 records are delivered.
func tabled(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	closeTest(t, delivered(t, dir))
	for i := range 3 {
		s := openTest(t, dir)
		fill(t, s, 340+i, 341+i, up)
		var b bridge.Batch
		b.Add("meter", "starts", 1)
		commitAll(t, s, &b)
		if i == 2 {
			k := killed(t, dir)
			closeTest(t, s)
			return k
		}
		closeTest(t, s)
	}
	return ""
}

// whole reports how a spool of tabled is: whether all is as it was, and what is told.
func whole(t *testing.T, dir string) (same, told bool) {
	t.Helper()
	s := openTest(t, dir)
	defer closeTest(t, s)
	told = s.damages.Load() > 0
	units, err := s.Count("meter", "units")
	starts, err2 := s.Count("meter", "starts")
	if errors.Join(err, err2) != nil {
		t.Fatal(err, err2)
	}
	return units == 300 && starts == 3 && s.Depth(up).Records == 43, told
}

// judgeState expects of a damaged state that it is whole, or that the start and verify
// both tell; and that nobody tells again.
func judgeState(t *testing.T, dir, what string) (same bool) {
	t.Helper()
	r, err := Verify(dir, nil)
	if err != nil {
		t.Fatalf("%s: %v", what, err)
	}
	same, told := whole(t, dir)
	if !same && !told || told == r.Sound() {
		t.Errorf("%s: as it was: %v, the start tells: %v, verify: %q %q sound: %v", what, same, told, r.State, r.Serial, r.Sound())
	}
	if _, again := whole(t, dir); again {
		t.Errorf("%s: told again", what)
	}
	return same
}

// TestEveryByteOfTheStatesList cuts and flips MANIFEST at every byte, or at every few of
// them in the short form: a list that has lost its end named fewer tables, which Badger
// then deleted, and what was delivered came again without a word. None of it sets the
// state back: the tables are there. Start and verify tell what mendState returns.
func TestEveryByteOfTheStatesList(t *testing.T) {
	t.Parallel()
	dir := tabled(t)
	state, serial := filepath.Join(dir, "state"), serialOf(dir)
	b, err := os.ReadFile(filepath.Join(state, "MANIFEST"))
	if err != nil {
		t.Fatal(err)
	}
	step, tells := 3, 0
	if os.Getenv("EBBGATE_SOAK") != "" {
		step = 1
	}
	for at := 0; at < len(b); at += step {
		for how, damaged := range map[string][]byte{
			"cut": b[:at], "flipped": flip(b, at), "zeros from": append(slices.Clone(b[:at]), make([]byte, len(b)-at)...),
		} {
			k := filepath.Join(t.TempDir(), "state")
			if err := errors.Join(os.CopyFS(k, os.DirFS(state)), os.WriteFile(filepath.Join(k, "MANIFEST"), damaged, 0o600)); err != nil {
				t.Fatal(err)
			}
			told, err := mendState(k, serial)
			if err != nil {
				t.Fatal(err)
			}
			if told != "" {
				tells++
			}
			if again, err := mendState(k, serial); err != nil || again != "" {
				t.Errorf("%s at %d: told again: %s, %v", how, at, again, err)
			}
			db, err := openBadger(stateOptions(k, slog.New(slog.DiscardHandler)))
			if err != nil {
				t.Errorf("%s at %d (%q): %v", how, at, told, err)
				continue
			}
			err = db.View(func(txn *badger.Txn) error {
				n, err := getValue(txn, []byte(keySerial))
				units, err2 := getValue(txn, userKey("meter", "units"))
				if numberIn(n) != serial || counter(units) != 300 {
					t.Errorf("%s at %d (%q): the state is at %d of %d, the meter at %d", how, at, told, numberIn(n), serial, counter(units))
				}
				return errors.Join(err, err2)
			})
			if err := errors.Join(err, closeBadger(db), os.RemoveAll(k)); err != nil {
				t.Fatal(err)
			}
		}
	}
	if tells == 0 {
		t.Error("nothing was ever told")
	}
}

// TestTheStatesListLosesItsEnd is the same for a whole spool, at some places.
func TestTheStatesListLosesItsEnd(t *testing.T) {
	t.Parallel()
	dir := tabled(t)
	for _, at := range []int64{0, 8, 20} {
		k := killed(t, dir)
		if err := os.Truncate(filepath.Join(k, "state", "MANIFEST"), at); err != nil {
			t.Fatal(err)
		}
		if what := fmt.Sprint("cut at ", at); !judgeState(t, k, what) {
			t.Errorf("%s: the state is set back", what)
		}
	}
}

// TestTheMiddleOfTheStateIsMissing: neither the list nor the tables are there, or the log
// of an older memtable is damaged: what is left fits the number of the last commit, and
// what it begins with tells that others were before it.
func TestTheMiddleOfTheStateIsMissing(t *testing.T) {
	t.Parallel()
	k := tabled(t)
	tables, err := filepath.Glob(filepath.Join(k, "state", "*.sst"))
	if err != nil || len(tables) < 2 {
		t.Fatal(tables, err)
	}
	for _, name := range tables {
		err = errors.Join(err, os.Remove(name))
	}
	if err := errors.Join(err, os.Truncate(filepath.Join(k, "state", "MANIFEST"), 8)); err != nil {
		t.Fatal(err)
	}
	if judgeState(t, k, "without tables") {
		t.Error("the state has not gone back, and this shows nothing")
	}
	f := stateFiles{commits: map[uint64]uint64{7: 6, 9: 7, 12: 11}} // 8 failed; 10 and 11 were in another file
	for upTo, want := range map[uint64]uint64{6: 2, 7: 2, 11: 0, 3: 5, 20: 0} {
		f.levels, f.numbers = map[uint64]uint8{1: 0}, map[uint64]uint64{1: upTo}
		if n := f.lost(); n != want {
			t.Errorf("tables up to %d: %d are lost, not %d", upTo, n, want)
		}
	}
}

func flip(b []byte, at int) []byte {
	b = slices.Clone(b)
	b[at] ^= 1 << (at % 8)
	return b
}

// TestEachFileOfTheState damages each file of the state in each way; in the short form
// in one of them.
func TestEachFileOfTheState(t *testing.T) {
	t.Parallel()
	dir := tabled(t)
	files, err := os.ReadDir(filepath.Join(dir, "state"))
	if err != nil || len(files) < 6 {
		t.Fatal(files, err)
	}
	for i, file := range files {
		b, err := os.ReadFile(filepath.Join(dir, "state", file.Name()))
		if err != nil {
			t.Fatal(err)
		}
		n := used(b)
		ways := map[string][]byte{
			"missing": nil, "empty": {}, "cut in the middle": b[:n/2], "cut at its end": b[:max(n-1, 0)], "zeros": make([]byte, len(b)),
			"zeros in the middle": append(append(slices.Clone(b[:n/2]), make([]byte, n-n/2)...), b[n:]...), "flipped": flip(append(b, 0), n/2),
		}
		for j, how := range slices.Sorted(maps.Keys(ways)) {
			if os.Getenv("EBBGATE_SOAK") == "" && j != i%len(ways) {
				continue
			}
			damaged := ways[how]
			k := killed(t, dir)
			path := filepath.Join(k, "state", file.Name())
			err := os.WriteFile(path, damaged, 0o600)
			if damaged == nil {
				err = os.Remove(path)
			}
			if err != nil {
				t.Fatal(err)
			}
			judgeState(t, k, file.Name()+" "+how)
			_ = os.RemoveAll(k)
		}
	}
}
