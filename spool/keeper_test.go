package spool

import (
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/dgraph-io/badger/v4"

	"github.com/ebbgate/ebbgate/bridge"
)

// TestNothingPassesAChangeThatFails: while a spool closes it does not try again what
// the state refuses. What comes behind that in the log must not be written either: a
// start goes on behind the last that was.
func TestNothingPassesAChangeThatFails(t *testing.T) {
	t.Parallel()
	s, err := Open(Options{Dir: t.TempDir(), Headroom: 32 << 20}, Deps{Log: slog.New(slog.DiscardHandler), Health: new(bridge.Health)})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if s.state, err = badger.Open(badger.DefaultOptions("").WithInMemory(true).WithLogger(nil)); err != nil { // the files are closed
		t.Fatal(err)
	}
	defer s.state.Close()
	s.serial, s.age = serial{}, newAgeClock(nil, time.Now)
	before := s.applied.Load()
	put := func(logged bridge.Seq, key string) (failed error) {
		s.applyChanges([]*change{{
			Batch:  &bridge.Batch{Puts: []bridge.Put{{Namespace: "n", Key: key, Value: []byte("v")}}},
			logged: logged, done: func(_ bridge.Seq, err error) { failed = err },
		}})
		return failed
	}
	if err := put(7, strings.Repeat("k", 70_000)); err == nil {
		t.Fatal("a key of 70,000 bytes is taken")
	}
	if err := put(8, "behind"); err == nil {
		t.Error("what is behind it in the log is written")
	}
	if err := put(0, "of the state alone"); err != nil {
		t.Errorf("what is not in the log: %v", err)
	}
	if got := s.applied.Load(); got != before {
		t.Errorf("commit %d counts as applied, after %d", got, before)
	}
}
