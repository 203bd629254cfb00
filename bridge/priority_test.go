package bridge_test

import (
	"fmt"
	"testing"

	"github.com/ebbgate/ebbgate/bridge"
)

// The priority of a queue is kept as it was last, also over a restart, however many
// queues there are; what nobody can read is not known.
func TestPrioritiesAreKept(t *testing.T) {
	dir := t.TempDir()
	s := openAt(t, dir)
	const queues = 2500 // more than go into one commit
	name := func(i int) string { return fmt.Sprint("up/cloud/", i) }
	note := func(priority func(i int) int) {
		t.Helper()
		of := map[string]int{}
		for i := range queues {
			of[name(i)] = priority(i)
		}
		if err := bridge.NotePriorities(s, of); err != nil {
			t.Fatal(err)
		}
	}
	expect := func(when string, s bridge.Spool, priority func(i int) int) {
		t.Helper()
		for i := range queues {
			if n, known, err := bridge.PriorityOf(s, name(i)); n != priority(i) || !known || err != nil {
				t.Fatalf("%s: queue %d has priority %d (%v, %v), want %d", when, i, n, known, err, priority(i))
			}
		}
	}
	first := func(i int) int { return i % 10 }
	note(first)
	expect("noted", s, first)
	later := func(i int) int { return (i + i%3) % 10 } // two of three are another
	note(later)
	expect("noted again", s, later)
	if err := bridge.NotePriorities(s, map[string]int{name(1): 9}); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = openAt(t, dir)
	expect("after a start", s, func(i int) int {
		if i == 1 {
			return 9
		}
		return later(i)
	})
	var b bridge.Batch
	b.Put("priority", name(2), []byte("high"))
	commit(t, s, &b)
	if n, known, err := bridge.PriorityOf(s, name(2)); known || err != nil {
		t.Errorf("what is no number is priority %d, %v", n, err)
	}
}
