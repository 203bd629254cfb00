package spool

import (
	"bytes"
	"fmt"
	"path/filepath"
	"testing"

	"github.com/ebbgate/ebbgate/bridge"
)

// While the cloud is away every generation stays. A start must not look through
// all of them for what is on the shelf, also when nothing of it is left.
func TestPositionMovesWithABacklog(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := openTest(t, dir)
	for i := range 600 {
		var b bridge.Batch
		b.Append(record(i, up))
		b.Put(shelfQueue, fmt.Sprint(i), bytes.Repeat([]byte("x"), 300))
		commitAll(t, s, &b)
		s.Forget(shelfQueue, fmt.Sprint(i))
	}
	s.mu.Lock()
	gens := len(s.gens)
	s.mu.Unlock()
	if gens < 3 {
		t.Fatalf("%d generations: the test shows nothing", gens)
	}
	eventually(t, "the position is past the last generation but one", func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		return bridge.Seq(s.shelf.mark.Load()) >= s.gens[len(s.gens)-1].first
	})
	k := killed(t, dir)
	closeTest(t, s)
	s = openTest(t, k)
	defer closeTest(t, s)
	expectRange(t, drain(t, s, up, false), 0, 600)
}

// A commit that holds only what is kept for devices, and that cannot be read
// before it is on the shelf, is reported.
func TestDamagedCommitOfTheShelfIsReported(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := slowShelf(t, dir)
	put(t, s, "first", "a")
	put(t, s, "second", "b")
	put(t, s, "third", "c")
	k := killed(t, dir)
	closeTest(t, s)
	each(t, filepath.Join(k, "log"), ".vlog", func(_ string, b []byte) []byte {
		at := bytes.Index(b, []byte("second"))
		if at < 0 {
			t.Fatal("the commit is not there")
		}
		b[at] ^= 1
		return b
	})
	s = openTest(t, k)
	defer closeTest(t, s)
	if got := fmt.Sprint(keysOf(t, s, "")); got != "[a c]" {
		t.Errorf("keys %s", got)
	}
	if w := s.deps.Health.Warnings(); len(w) != 1 || w[0].Code != "spool-damage" {
		t.Errorf("warnings %+v", w)
	}
}
