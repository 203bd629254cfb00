package spool

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"testing"

	"github.com/dgraph-io/badger/v4"
	"golang.org/x/sys/unix"

	"github.com/ebbgate/ebbgate/bridge"
)

// failing makes a part of the commits of the state fail, in one of two ways: with the
// commit in Badger's memtable, as when the sync of that fails, and without.
func failing(s *Spool, rnd *rand.Rand, percent int) {
	s.serial.mu.Lock()
	defer s.serial.mu.Unlock()
	s.serial.commit = func(txn *badger.Txn) error {
		switch n := rnd.IntN(100); {
		case n >= percent:
			return txn.Commit()
		case n%2 == 0:
			return unix.EIO
		}
		return errors.Join(unix.EIO, txn.Commit())
	}
}

func inDoubt(s *Spool) bool {
	s.serial.mu.Lock()
	defer s.serial.mu.Unlock()
	return s.serial.doubt != nil
}

// TestTheMeterCountsOnce: what is counted with a commit of the log is counted once,
// however often the state could not be written meanwhile, and whenever a kill comes. What
// comes without one is counted when it is taken, and not when it is refused.
func TestTheMeterCountsOnce(t *testing.T) {
	t.Parallel()
	for _, percent := range []int{10, 40} {
		t.Run(fmt.Sprint(percent, " %"), func(t *testing.T) {
			rnd := rand.New(rand.NewPCG(1, uint64(percent)))
			dir := t.TempDir()
			s := openTest(t, dir)
			failing(s, rnd, percent)
			fill(t, s, 0, 1, up)
			c := s.Cursor(up)
			logged, alone, released := int64(0), int64(0), 0
			for i := range 30 {
				var with, own bridge.Batch
				with.Append(record(i+1, up))
				with.Add("meter", "logged", 3)
				commitAll(t, s, &with)
				logged += 3
				r, err := c.Next()
				if err != nil || r == nil {
					t.Fatal(r, err)
				}
				own.Release(r)
				own.Add("meter", "alone", 5)
				for ended(s, &own) != nil { // as the uplink does
					if n, err := s.Count("meter", "alone"); !inDoubt(s) && (err != nil || n != alone) {
						t.Fatalf("refused, and the meter says %d, not %d (%v)", n, alone, err)
					}
				}
				alone, released = alone+5, released+1
				if i%10 == 7 {
					c.Close()
					k := killed(t, dir)
					closeTest(t, s)
					dir, s = k, openTest(t, k)
					failing(s, rnd, percent)
					c = s.Cursor(up)
				}
			}
			c.Close()
			for range 2 { // as it runs, and after a start
				s.settle()
				for name, want := range map[string]int64{"logged": logged, "alone": alone} {
					if n, err := s.Count("meter", name); err != nil || n != want {
						t.Errorf("the meter %q says %d, not %d (%v)", name, n, want, err)
					}
				}
				expectRange(t, drain(t, s, up, false), released, 31)
				k := killed(t, dir)
				closeTest(t, s)
				dir, s = k, expectUntold(t, killed(t, k))
			}
		})
	}
}

// TestAStateInDoubtIsNotWrittenTo: while the state cannot be put back to what it was
// nothing else is written, not even what would succeed; a kill then finds the commit
// whole or not at all.
func TestAStateInDoubtIsNotWrittenTo(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := openTest(t, dir)
	defer func() { closeTest(t, s) }()
	fill(t, s, 0, 3, up)
	drain(t, s, up, true)
	s.settle()
	add := func(n int64) error {
		var b bridge.Batch
		b.Add("meter", "units", n)
		return ended(s, &b)
	}
	if err := add(1); err != nil {
		t.Fatal(err)
	}
	commit := func(f func(*badger.Txn) error) {
		s.serial.mu.Lock()
		s.serial.commit = f
		s.serial.mu.Unlock()
	}
	commit(func(txn *badger.Txn) error { return errors.Join(unix.EIO, txn.Commit()) })
	for _, n := range []int64{10, 100, 1000} {
		if err := add(n); err == nil {
			t.Fatal("taken")
		}
	}
	if n, err := s.Count("meter", "units"); n != 1 || err != nil {
		t.Errorf("after three that were refused the meter says %d, %v", n, err)
	}
	k := killed(t, dir)
	after := expectUntold(t, k)
	if n, err := after.Count("meter", "units"); n != 1 || err != nil {
		t.Errorf("after a kill the meter says %d, %v", n, err)
	}
	commit(nil)
	if err := add(10_000); err != nil {
		t.Fatal(err)
	}
	if n, err := s.Count("meter", "units"); n != 10_001 || err != nil {
		t.Errorf("at the end the meter says %d, %v", n, err)
	}
}

// TestAGenerationWhoseRemovalFails: what the state could not note as removed stays, and
// is removed when it can.
func TestAGenerationWhoseRemovalFails(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := openTest(t, dir)
	for n := 0; generationsOf(s) < 4; n += 200 {
		fill(t, s, n, n+200, up)
	}
	s.closer.Wait()
	first, second := s.gens[0], s.gens[1]
	s.serial.mu.Lock()
	s.serial.commit = func(*badger.Txn) error { return unix.EIO }
	s.serial.mu.Unlock()
	s.mu.Lock()
	first.gone, second.gone = true, true
	s.unnoted[first], s.unnoted[second] = true, true
	s.mu.Unlock()
	s.remove(first)
	if _, err := os.Stat(first.dir); err != nil {
		t.Errorf("the state has the generation, and its folder is gone: %v", err)
	}
	s.serial.mu.Lock()
	s.serial.commit = nil
	s.serial.mu.Unlock()
	s.remove(second)
	// The newer is gone, the older is not. That nothing was released is the test's doing.
	if r, err := Verify(killed(t, dir), nil); err != nil || len(r.Gaps) > 0 || r.State != "" || r.Serial != "" || r.Tail != "" {
		t.Errorf("a kill now is damage: %+v, %v", r, err)
	}
	s.collect()
	s.closer.Wait()
	if _, err := os.Stat(first.dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("its folder stays: %v", err)
	}
	if len(s.unnoted) > 0 || s.gens[0] == first || s.gens[0] == second {
		t.Errorf("%d are not noted, the first is %x", len(s.unnoted), s.gens[0].n)
	}
	closeTest(t, s)
}

func generationsOf(s *Spool) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.gens)
}
