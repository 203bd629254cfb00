package spool

import (
	"bytes"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/dgraph-io/badger/v4"

	"github.com/ebbgate/ebbgate/bridge"
)

const shelfQueue = bridge.ShelfPrefix + "queue"

// put puts keys on the shelf, in one commit, and waits.
func put(t testing.TB, s *Spool, value string, keys ...string) {
	t.Helper()
	var b bridge.Batch
	for _, k := range keys {
		b.Put(shelfQueue, k, []byte(value))
	}
	commitAll(t, s, &b)
}

func keysOf(t testing.TB, s *Spool, prefix string) (out []string) {
	t.Helper()
	if err := s.Keys(shelfQueue, prefix, func(k string) bool { out = append(out, k); return true }); err != nil {
		t.Fatal(err)
	}
	return out
}

// eventually waits until something is so that another goroutine does.
func eventually(t testing.TB, what string, is func() bool) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !is(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("never: " + what)
		}
	}
}

// slowShelf opens a spool whose shelf is written only when it must be.
func slowShelf(t testing.TB, dir string) *Spool {
	t.Helper()
	o, z := DefaultOptions(), smallSizes()
	o.Dir, z.tray, z.trayAge = dir, 64<<20, time.Hour
	s, err := open(o, Deps{Log: slog.New(slog.DiscardHandler), Health: new(bridge.Health)}, z, time.Now)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// TestShelf: what is put on the shelf is there once its commit is done, and
// after a start; what is forgotten is gone.
func TestShelf(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := openTest(t, dir)
	for i := range 3 {
		put(t, s, fmt.Sprint(i), fmt.Sprintf("s/%d", i))
	}
	s.Forget(shelfQueue, "s/1")
	check := func(s *Spool) {
		t.Helper()
		if got := fmt.Sprint(keysOf(t, s, "s/")); got != "[s/0 s/2]" {
			t.Errorf("keys %s", got)
		}
		v, err := s.Get(shelfQueue, "s/2")
		if err != nil || string(v) != "2" {
			t.Errorf("value %q, %v", v, err)
		}
		if v, err := s.Get(shelfQueue, "s/1"); err != nil || v != nil {
			t.Errorf("forgotten value %v, %v", v, err)
		}
	}
	check(s)
	closeTest(t, s)
	s = openTest(t, dir)
	check(s)
	closeTest(t, s)
}

// What is put and forgotten before it is written never reaches the folder.
func TestForgottenIsNeverWritten(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := slowShelf(t, dir)
	for i := range 500 {
		k := fmt.Sprintf("s/%04d", i)
		put(t, s, "x", k)
		s.Forget(shelfQueue, k)
	}
	if n := s.shelf.active.n; n > 0 {
		t.Errorf("%d entries are left in memory", n)
	}
	closeTest(t, s)
	if files, _ := filepath.Glob(filepath.Join(dir, "shelf", "*")); len(files) > 0 {
		t.Errorf("written: %v", files)
	}
	s = openTest(t, dir)
	defer closeTest(t, s)
	if got := keysOf(t, s, ""); len(got) > 0 {
		t.Errorf("%d forgotten keys are back after an orderly stop", len(got))
	}
}

// What is forgotten is in the log with the next commit, or by itself.
func TestForgottenReachesTheLog(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := slowShelf(t, dir)
	defer closeTest(t, s)
	put(t, s, "x", "a", "b", "c")
	s.Forget(shelfQueue, "a")
	fill(t, s, 0, 1, up) // carries it
	s.Forget(shelfQueue, "b")
	eventually(t, "the log has what is forgotten", func() bool { return s.shelf.waiting.Load() == 0 })
	after := openTest(t, killed(t, dir))
	defer closeTest(t, after)
	if got := fmt.Sprint(keysOf(t, after, "")); got != "[c]" {
		t.Errorf("after a kill: %s", got)
	}
}

// Forgetting concerns what was given to the spool before, committed or not, and
// nothing that comes later; a kill changes nothing of it.
func TestForgetBetweenPuts(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := slowShelf(t, dir)
	defer closeTest(t, s)
	done := make(chan error, 100)
	give := func(value string) {
		var b bridge.Batch
		b.Put(shelfQueue, "again", []byte(value))
		if value == "first" {
			b.Put(shelfQueue, "once", []byte(value))
		}
		s.Commit(&b, func(_ bridge.Seq, err error) { done <- err })
	}
	for round := range 20 {
		give("first")
		s.Forget(shelfQueue, "again", "once")
		give("second")
		for range 2 {
			if err := <-done; err != nil {
				t.Fatal(err)
			}
		}
		check := func(s *Spool, when string) {
			t.Helper()
			if v, _ := s.Get(shelfQueue, "again"); string(v) != "second" {
				t.Fatalf("round %d, %s: %q is there, want what was put after it was forgotten", round, when, v)
			}
			if v, _ := s.Get(shelfQueue, "once"); v != nil {
				t.Fatalf("round %d, %s: %q is there, and was forgotten", round, when, v)
			}
		}
		check(s, "running")
		if round%5 == 0 {
			eventually(t, "the log has what is forgotten", func() bool { return s.shelf.waiting.Load() == 0 })
			after := openTest(t, killed(t, dir))
			check(after, "after a kill")
			closeTest(t, after)
		}
	}
}

// A generation whose records are all released stays until the shelf has what it
// carries, and does not stay for that for long.
func TestGenerationsWaitForTheShelf(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := slowShelf(t, dir)
	var want []string
	for i := range 300 {
		var b bridge.Batch
		b.Append(record(i, up))
		want = append(want, fmt.Sprintf("k%04d", i))
		b.Put(shelfQueue, want[i], bytes.Repeat([]byte("x"), 500))
		commitAll(t, s, &b)
	}
	drain(t, s, up, true)
	put(t, s, "y", "last")
	want = append(want, "last")
	eventually(t, "the generations go", func() bool { return s.logBytes() < 100<<10 })
	after := openTest(t, killed(t, dir))
	if got := keysOf(t, after, ""); !slices.Equal(got, want) {
		t.Errorf("%d keys after a kill, want %d", len(got), len(want))
	}
	closeTest(t, after)
	closeTest(t, s)
}

// A kill between the shelf's write and the state's note of it.
func TestKilledBeforeTheShelfIsNoted(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := openTest(t, dir)
	put(t, s, "1", "a", "b")
	if err := s.flushShelf(); err != nil {
		t.Fatal(err)
	}
	put(t, s, "2", "b", "c")
	if err := s.noteShelf(0, 0); err != nil {
		t.Fatal(err)
	}
	k := killed(t, dir)
	closeTest(t, s)
	s = openTest(t, k)
	defer closeTest(t, s)
	for key, want := range map[string]string{"a": "1", "b": "2", "c": "2"} {
		if v, err := s.Get(shelfQueue, key); string(v) != want || err != nil {
			t.Errorf("%s is %q, %v", key, v, err)
		}
	}
	if w := s.deps.Health.Warnings(); len(w) > 0 {
		t.Errorf("warnings %+v", w)
	}
}

// Whatever becomes of the shelf's folder, the spool starts, says so, and has what
// the log still has.
func TestShelfLost(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := openTest(t, dir)
	fill(t, s, 0, 1, up)
	put(t, s, "x", "a", "b")
	if err := s.flushShelf(); err != nil {
		t.Fatal(err)
	}
	put(t, s, "x", "c")
	k := killed(t, dir)
	closeTest(t, s)
	for name, harm := range map[string]func(path string) error{
		"removed": os.RemoveAll,
		"a file in its place": func(path string) error {
			return os.WriteFile(path+"x", nil, 0o600)
		},
		"emptied": func(path string) error {
			files, err := filepath.Glob(filepath.Join(path, "*.run"))
			for _, f := range files {
				err = os.Truncate(f, 0)
			}
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			dir := killed(t, k)
			path := filepath.Join(dir, "shelf")
			if err := harm(path); err != nil {
				t.Fatal(err)
			}
			if name == "a file in its place" {
				if err := os.RemoveAll(path); err != nil {
					t.Fatal(err)
				}
				if err := os.Rename(path+"x", path); err != nil {
					t.Fatal(err)
				}
			}
			if r, err := Verify(dir, nil); err != nil || r.Sound() {
				t.Errorf("verify calls it sound: %+v, %v", r, err)
			}
			s := openTest(t, dir)
			expectRange(t, drain(t, s, up, false), 0, 1)
			if got := fmt.Sprint(keysOf(t, s, "")); got != "[a b c]" {
				t.Errorf("keys %s: the log has all of them", got)
			}
			if w := s.deps.Health.Warnings(); len(w) != 1 || w[0].Code != "spool-damage" || !strings.Contains(w[0].Text, "shelf") {
				t.Errorf("warnings %+v", w)
			}
			put(t, s, "y", "d")
			closeTest(t, s)
			s = openTest(t, dir)
			defer closeTest(t, s)
			if got := fmt.Sprint(keysOf(t, s, "")); got != "[a b c d]" {
				t.Errorf("keys %s after a restart", got)
			}
			if w := s.deps.Health.Warnings(); len(w) > 0 {
				t.Errorf("it is reported again: %+v", w)
			}
		})
	}
}

// A batch is a body and its entries for all who get it, and no more.
func TestShelfBatchSizes(t *testing.T) {
	t.Parallel()
	o := DefaultOptions()
	o.Dir = t.TempDir()
	s, err := Open(o, Deps{Log: slog.New(slog.DiscardHandler), Health: new(bridge.Health)})
	if err != nil {
		t.Fatal(err)
	}
	defer closeTest(t, s)
	var b bridge.Batch
	b.Put(bridge.ShelfPrefix+"body", "1", make([]byte, 150<<10))
	for i := range 20_000 {
		b.Put(shelfQueue, fmt.Sprintf("session-of-a-device-%06d/%012d", i, 1), []byte("1"))
	}
	commitAll(t, s, &b)
	if n := len(keysOf(t, s, "session-of-a-device-")); n != 20_000 {
		t.Errorf("%d entries", n)
	}
	var large bridge.Batch
	for i := range 3 {
		large.Put(shelfQueue, fmt.Sprint(i), make([]byte, 1<<20))
	}
	if err := ended(s, &large); bridge.KindOf(err) != bridge.TooLarge {
		t.Errorf("3 MiB in one batch: %v", err)
	}
}

// While the folder takes nothing the shelf refuses more, the messages to the
// cloud go on, and nothing is lost; then it goes on by itself.
func TestShelfCannotBeWritten(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := openTest(t, dir)
	block := filepath.Join(dir, "shelf")
	if err := os.RemoveAll(block); err != nil {
		t.Fatal(err)
	}
	var want []string
	try := func() error {
		k := fmt.Sprintf("k%05d", len(want))
		var b bridge.Batch
		b.Put(shelfQueue, k, make([]byte, 1000))
		err := ended(s, &b)
		if err == nil {
			want = append(want, k)
		}
		return err
	}
	var err error
	for err == nil && len(want) < 1000 {
		err = try()
	}
	if bridge.KindOf(err) != bridge.Full {
		t.Fatalf("after %d puts: %v", len(want), err)
	}
	fill(t, s, 0, 10, up)
	eventually(t, "it is reported", func() bool {
		w := s.deps.Health.Warnings()
		return len(w) == 1 && w[0].Code == "spool-shelf"
	})
	k := killed(t, dir)
	if err := os.Mkdir(block, 0o700); err != nil {
		t.Fatal(err)
	}
	eventually(t, "it goes on", func() bool { return try() == nil && len(s.deps.Health.Warnings()) == 0 })
	if got := keysOf(t, s, ""); !slices.Equal(got, want) {
		t.Errorf("%d keys, want %d", len(got), len(want))
	}
	closeTest(t, s)
	s = openTest(t, k)
	defer closeTest(t, s)
	if got := len(keysOf(t, s, "")); got < len(want)-1 {
		t.Errorf("%d keys after a kill, want %d", got, len(want)-1)
	}
}

// A state without a word of the shelf, as after its own damage, is believed to
// know nothing of it.
func TestShelfWithoutTheStatesWord(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := openTest(t, dir)
	put(t, s, "x", "a")
	closeTest(t, s)
	db, err := openBadger(stateOptions(filepath.Join(dir, "state"), s.deps.Log))
	if err != nil {
		t.Fatal(err)
	}
	if err := db.Update(func(txn *badger.Txn) error { return txn.Delete([]byte(keyShelf)) }); err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	s = openTest(t, dir)
	defer closeTest(t, s)
	if got := fmt.Sprint(keysOf(t, s, "")); got != "[a]" {
		t.Errorf("keys %s", got)
	}
	if w := s.deps.Health.Warnings(); len(w) > 0 {
		t.Errorf("warnings %+v", w)
	}
}
