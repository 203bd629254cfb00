package spool

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/dgraph-io/badger/v4"
	"golang.org/x/sys/unix"

	"github.com/ebbgate/ebbgate/bridge"
)

// A route that is paused for long holds its own messages and little else.
func TestPausedQueueDoesNotHoldTheRest(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := openTest(t, dir)
	const paused = "up/cloud/paused"
	n := 0
	for range 30 {
		fill(t, s, n, n+200, up)
		n += 200
		fill(t, s, n, n+1, paused)
		n++
		drain(t, s, up, true)
	}
	deadline := time.Now().Add(30 * time.Second)
	for s.logBytes() > 3*smallSizes().generation { // one at a time, each after a release
		if time.Now().After(deadline) {
			t.Fatalf("30 live records hold %d bytes", s.logBytes())
		}
		var b bridge.Batch
		b.Release(&bridge.Stored{Place: 1, Record: &bridge.Record{}, Receiver: &bridge.Receiver{Queue: up}})
		commitAll(t, s, &b)
		time.Sleep(time.Millisecond)
	}
	check := func(s *Spool) {
		t.Helper()
		got := drain(t, s, paused, false)
		if len(got) != 30 {
			t.Fatalf("%d of 30 paused records", len(got))
		}
		for i, p := range got {
			if want := string(record(200 + i*201).Payload); p != want {
				t.Fatalf("record %d is %q, want %q", i, p, want)
			}
		}
		if lost := s.Missing(); len(lost) > 0 {
			t.Fatalf("reported missing: %v", lost)
		}
	}
	check(s)
	closeTest(t, s)
	if r, err := Verify(dir, nil); err != nil || !r.Sound() {
		t.Fatalf("%+v, %v", r, err)
	}
	s = openTest(t, dir)
	check(s)
	drain(t, s, paused, true)
	closeTest(t, s)
}

func TestInterruptedSwap(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := openTest(t, dir)
	fill(t, s, 0, 1000, up)
	closeTest(t, s)
	gens, _ := filepath.Glob(filepath.Join(dir, "log", "*"))
	if err := os.Rename(gens[0], gens[0]+replacedSuffix); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(gens[1]+condensedSuffix, 0o700); err != nil {
		t.Fatal(err)
	}
	s = openTest(t, dir)
	defer closeTest(t, s)
	expectRange(t, drain(t, s, up, true), 0, 1000)
	if left, _ := filepath.Glob(filepath.Join(dir, "log", "*.*")); len(left) > 0 {
		t.Fatalf("left behind: %v", left)
	}
}

// A kill before the state notes that a generation is condensed, or right after, leaves
// it as it was; so does a state that cannot be written.
func TestKilledWhileCondensing(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := openTest(t, dir)
	const paused = "up/cloud/paused"
	fill(t, s, 0, 1, paused)
	fill(t, s, 1, 1000, up)
	s.closer.Wait()
	s.mu.Lock()
	s.condensing = true // by the test alone
	s.mu.Unlock()
	drain(t, s, up, true)
	s.closer.Wait()
	copies := []string{filepath.Join(t.TempDir(), "before"), filepath.Join(t.TempDir(), "after")}
	commit := func(f func(*badger.Txn) error) {
		s.serial.mu.Lock()
		s.serial.commit = f
		s.serial.mu.Unlock()
	}
	commit(func(*badger.Txn) error { return unix.EIO })
	if done, err := s.condenseOne(candidate{s.gens[0], 1}); done || err == nil {
		t.Errorf("the state cannot be written, and it is done: %v, %v", done, err)
	}
	if s.gens[0].condensed {
		t.Error("it counts as condensed")
	}
	var copying error
	commit(func(txn *badger.Txn) error {
		copying = os.CopyFS(copies[0], os.DirFS(dir))
		err := txn.Commit()
		copying = errors.Join(copying, os.CopyFS(copies[1], os.DirFS(dir)))
		s.serial.commit = nil
		return err
	})
	if done, err := s.condenseOne(candidate{s.gens[0], 1}); !done || err != nil {
		t.Fatal(done, err)
	}
	if copying != nil {
		t.Fatal(copying)
	}
	closeTest(t, s)
	for _, dir := range append(copies, dir) {
		s := expectUntold(t, dir)
		if got := drain(t, s, paused, false); len(got) != 1 {
			t.Errorf("%s: %d of 1 record", filepath.Base(dir), len(got))
		}
		if lost := s.Missing(); len(lost) > 0 {
			t.Errorf("reported missing: %v", lost)
		}
	}
}
