package spool

import (
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/ebbgate/ebbgate/bridge"
)

// Each test here is a way in which an acknowledged record was once lost, or
// the spool once stopped, in a review.

const other = "up/cloud/other"

func TestQueueBegunMidGenerationKeepsWhatIsHeld(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := openTest(t, dir)
	fill(t, s, 0, 1, other)
	fill(t, s, 1, 21, up)
	var b bridge.Batch
	c := s.Cursor(up)
	for i := range 20 {
		if r, err := c.Next(); err != nil || r == nil {
			t.Fatal(r, err)
		} else if i > 0 { // the first stays
			b.Release(r)
		}
	}
	c.Close()
	commitAll(t, s, &b)
	drain(t, s, other, true)
	k := killed(t, dir)
	closeTest(t, s)
	s = openTest(t, k)
	fill(t, s, 21, 22, other)
	drain(t, s, other, true)
	closeTest(t, s) // waits for whatever is being removed
	s = openTest(t, k)
	defer closeTest(t, s)
	expectRange(t, drain(t, s, up, false), 1, 2)
}

func TestOneDigitOfTheIDChanged(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := openTest(t, dir)
	fill(t, s, 0, 300, up)
	closeTest(t, s)
	path := filepath.Join(dir, idFile)
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	b[0] ^= 1
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	s = openTest(t, dir)
	defer closeTest(t, s)
	expectRange(t, drain(t, s, up, false), 0, 300)
}

// Numbers of generations and sequences go on, whatever becomes of the folders
// that had them.
func TestNumbersAreNeverUsedAgain(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := openTest(t, dir)
	fill(t, s, 0, 3000, up)
	drain(t, s, up, true)
	closeTest(t, s)
	gens, _ := filepath.Glob(filepath.Join(dir, "log", "*"))
	for _, g := range gens {
		if err := os.RemoveAll(g); err != nil {
			t.Fatal(err)
		}
	}
	for round := range 3 {
		s = openTest(t, dir)
		if s.writer.seq < 100 {
			t.Fatalf("sequences begin again at %d", s.writer.seq)
		}
		from := 3000 + round*100
		fill(t, s, from, from+100, up)
		if d := s.Depth(up); d.Records != 100 || d.Bytes <= 0 {
			t.Fatalf("depth %+v", d)
		}
		k := killed(t, dir)
		closeTest(t, s)
		dir = k
		s = openTest(t, dir)
		expectRange(t, drain(t, s, up, true), from, from+100)
		closeTest(t, s)
	}
}

func TestDrainingLeavesNothingInTheState(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := openTest(t, dir)
	for i := range 40 {
		fill(t, s, i*200, i*200+200, up)
		drain(t, s, up, true)
	}
	closeTest(t, s)
	for range 2 {
		if r, err := Verify(dir, nil); err != nil || !r.Sound() {
			t.Fatalf("%+v, %v", r, err)
		}
		s = openTest(t, dir)
		if w := s.deps.Health.Warnings(); len(w) > 0 {
			t.Errorf("after an orderly stop: %+v", w)
		}
		closeTest(t, s)
	}
}

// A commit that the disk refused stays refused: its sequence belongs to what is
// acknowledged after it.
func TestRefusedCommitDoesNotShadow(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := openTest(t, dir)
	fill(t, s, 0, 1, up)
	_ = s.writer.log.file.Close()          // syncing fails
	block := s.generationDir(2)            // and so does
	err := os.WriteFile(block, nil, 0o600) // a new generation
	if err != nil {
		t.Fatal(err)
	}
	refused := make(chan error, 2)
	var b bridge.Batch
	b.Append(record(1, up))
	s.Commit(&b, func(_ bridge.Seq, err error) {
		// What its giver sends before it knows does not pass it.
		var next bridge.Batch
		next.Append(record(100, up))
		s.Commit(&next, func(_ bridge.Seq, err error) { refused <- err })
		refused <- err
	})
	for range 2 {
		if err := <-refused; bridge.KindOf(err) != bridge.Unavailable {
			t.Fatalf("acknowledged without a sync: %v", err)
		}
	}
	for s.intake.refuses() {
		runtime.Gosched() // until everybody knows
	}
	if w := s.deps.Health.Warnings(); len(w) != 1 || w[0].Code != "spool-write" {
		t.Fatalf("warnings %+v", w)
	}
	if err := os.Remove(block); err != nil {
		t.Fatal(err)
	}
	fill(t, s, 2, 12, up)
	if w := s.deps.Health.Warnings(); len(w) != 0 {
		t.Fatalf("warnings after recovery %+v", w)
	}
	k := killed(t, dir)
	closeTest(t, s)
	s = openTest(t, k)
	defer closeTest(t, s)
	got := drain(t, s, up, false)
	expectRange(t, got[:1], 0, 1)
	expectRange(t, got[1:], 2, 12)
}

// The changes that a closed generation carries are not forgotten when the kill
// came between closing it and writing them to the state.
func TestCarriedChangesOfAClosedGeneration(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := openTest(t, dir)
	var b bridge.Batch
	b.Append(record(0, up))
	b.Add("meter", "units", 3)
	commitAll(t, s, &b)
	s.settle()
	before := killed(t, dir)
	closeTest(t, s)
	// The log as it was closed, beside the state as it was before the change:
	// the closed generation's entry is the newer state's.
	s = openTest(t, before)
	applied := s.applied.Load()
	closeTest(t, s)
	if applied == 0 {
		t.Fatal("the change was never applied")
	}
	if n := rewind(t, before); n != 1 {
		t.Fatalf("%d generations with carried changes", n)
	}
	s = openTest(t, before)
	defer closeTest(t, s)
	if n, err := s.Count("meter", "units"); n != 6 || err != nil {
		t.Fatalf("counter %d, %v: the change was not applied again after the mark went back", n, err)
	}
}

func TestCursorAtTheEndOfWhatGoes(t *testing.T) {
	t.Parallel()
	s := openTest(t, t.TempDir())
	defer closeTest(t, s)
	fill(t, s, 0, 500, up)
	c := s.Cursor(up)
	defer c.Close()
	var b bridge.Batch
	for {
		r, err := c.Next()
		if err != nil {
			t.Fatal(err)
		}
		if r == nil {
			break
		}
		b.Release(r)
	}
	commitAll(t, s, &b)
	for i := range 50 { // idle rotation and removal go on beside this
		fill(t, s, 500+i, 501+i, up)
		if r, err := c.Next(); err != nil || r == nil {
			t.Fatalf("record %d: %v, %v", 500+i, r, err)
		}
	}
	if w := s.deps.Health.Warnings(); len(w) > 0 {
		t.Errorf("warnings %+v", w)
	}
}

// Somebody looks into a generation for long while it drains and goes.
func TestCloseWithACursorInAGenerationThatWent(t *testing.T) {
	t.Parallel()
	s := openTest(t, t.TempDir())
	fill(t, s, 0, 100, up)
	c := s.Cursor(up)
	if _, err := c.Next(); err != nil {
		t.Fatal(err)
	}
	fill(t, s, 100, 1500, other)
	drain(t, s, up, true)
	drain(t, s, other, true)
	c.Close()
	closeTest(t, s) // the test's own time-out tells of a hang
}

// A bound of a generation or two is not kept full by one dead letter.
func TestOneRecordDoesNotFillASmallSpool(t *testing.T) {
	t.Parallel()
	o := DefaultOptions()
	o.Dir, o.MaxSize = t.TempDir(), 64<<10
	s, err := open(o, Deps{Log: slog.New(slog.DiscardHandler), Health: new(bridge.Health)}, smallSizes(), time.Now)
	if err != nil {
		t.Fatal(err)
	}
	defer closeTest(t, s)
	try := func(i int, q string) error {
		var b bridge.Batch
		b.Append(record(i, q))
		return ended(s, &b)
	}
	if err := try(0, "dead/up/cloud/all"); err != nil {
		t.Fatal(err)
	}
	n := 1
	for try(n, up) == nil {
		n++
	}
	drain(t, s, up, true)
	deadline := time.Now().Add(30 * time.Second)
	for try(n, up) != nil {
		if time.Now().After(deadline) {
			t.Fatal("full for ever")
		}
		time.Sleep(10 * time.Millisecond)
	}
	expectRange(t, drain(t, s, "dead/up/cloud/all", false), 0, 1)
}

// What the state refuses is refused to who asked for it, and to nobody else.
func TestOversizeChangesHarmNobodyElse(t *testing.T) {
	t.Parallel()
	s := openTest(t, t.TempDir())
	defer closeTest(t, s)
	var wg sync.WaitGroup
	for i := range 200 {
		wg.Add(2)
		var good, bad bridge.Batch
		good.Append(record(i, up))
		good.Add("meter", "units", 1)
		s.Commit(&good, func(_ bridge.Seq, err error) {
			defer wg.Done()
			if err != nil {
				t.Error(err)
			}
		})
		bad.Put("ns", fmt.Sprint(i), make([]byte, 2<<20))
		s.Commit(&bad, func(_ bridge.Seq, err error) {
			defer wg.Done()
			if bridge.KindOf(err) != bridge.TooLarge {
				t.Errorf("2 MiB in one key: %v", err)
			}
		})
	}
	wg.Wait()
	if n, err := s.Count("meter", "units"); n != 200 || err != nil {
		t.Errorf("%d of 200 counted, %v", n, err)
	}
}

// A kill while recovery has the crashed generation open does not cost what
// Badger cuts off a damaged value log.
func TestKilledInRecovery(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := openTest(t, dir)
	fill(t, s, 0, 300, up)
	k := killed(t, dir)
	closeTest(t, s)
	each(t, filepath.Join(k, "log"), ".vlog", func(_ string, b []byte) []byte {
		b[300] ^= 1 // in the first commit
		return b
	})
	each(t, filepath.Join(k, "log"), ".mem", func(_ string, b []byte) []byte { return make([]byte, len(b)) })
	once := openTest(t, killed(t, k))
	want := drain(t, once, up, false)
	closeTest(t, once)

	r := &Spool{opts: Options{Dir: k}, sizes: smallSizes(), deps: Deps{Log: slog.New(slog.DiscardHandler)}}
	var ok bool
	if r.id, ok = readIDFile(k); !ok {
		t.Fatal("no id")
	}
	if _, err := r.keepNewest(r.generationDir(1)); err != nil {
		t.Fatal(err)
	}
	db, err := openBadger(genOptions(r.generationDir(1), r.sizes, false, r.deps.Log))
	if err != nil {
		t.Fatal(err)
	}
	twice := killed(t, k)
	_ = db.Close()
	s = openTest(t, twice)
	defer closeTest(t, s)
	if got := drain(t, s, up, false); len(got) != len(want) || len(want) < 200 {
		t.Fatalf("%d records when the first start was killed, %d otherwise", len(got), len(want))
	}
	if left, _ := filepath.Glob(filepath.Join(twice, "log", "*.*")); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}
