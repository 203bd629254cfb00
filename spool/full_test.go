package spool

import (
	"bytes"
	"errors"
	"log/slog"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/ebbgate/ebbgate/bridge"
)

// openFull opens a spool whose bound is one generation, as it is with the smallest
// bound that a configuration may set.
func openFull(t *testing.T, dir string) *Spool {
	t.Helper()
	o, z := DefaultOptions(), smallSizes()
	o.Dir, o.MaxSize, z.generation = dir, 256<<10, 256<<10
	s, err := open(o, Deps{Log: slog.New(slog.DiscardHandler), Health: new(bridge.Health)}, z, time.Now)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// tryRecord appends a record of a size and waits.
func tryRecord(s *Spool, i, size int, queue string) error {
	var b bridge.Batch
	b.Append(record(i, queue))
	b.Appends[0].Payload = bytes.Repeat([]byte{byte(i)}, size)
	return ended(s, &b)
}

// A spool that is full of what has been delivered since gives its room back, however
// few records of another queue are live in it, and also when it was killed meanwhile.
func TestFullOfStragglers(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		killed, drained bool // drained before it is killed
		stragglers      int
	}{
		"not killed":           {drained: true, stragglers: 10},
		"killed, then drained": {killed: true, stragglers: 10},
		"drained, then killed": {killed: true, drained: true, stragglers: 10},
		"killed, no straggler": {killed: true},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			s := openFull(t, dir)
			raw := bridge.RawQueue(up)
			var err error
			n, late := 0, 0
			for ; err == nil; n++ {
				q := up
				if n%20 == 10 && late < c.stragglers {
					q, late = raw, late+1
				}
				err = tryRecord(s, n, 200, q)
			}
			if bridge.KindOf(err) != bridge.Full || late != c.stragglers {
				t.Fatalf("%d records, %d of them late: %v", n, late, err)
			}
			if c.drained {
				drain(t, s, up, true)
			}
			if c.killed {
				dir = killed(t, dir)
				closeTest(t, s)
				s = openFull(t, dir)
			}
			drain(t, s, up, true)
			eventually(t, "room", func() bool { return tryRecord(s, n, 200, up) == nil })
			check := func() {
				t.Helper()
				if got := drain(t, s, raw, false); len(got) != late {
					t.Errorf("%d of %d stragglers", len(got), late)
				}
				if got := drain(t, s, up, false); len(got) != 1 || len(s.Missing()) > 0 {
					t.Errorf("%d records after there was room, missing %v", len(got), s.Missing())
				}
			}
			check()
			dir = killed(t, dir)
			closeTest(t, s)
			s = openFull(t, dir)
			check()
			closeTest(t, s)
			if r, err := Verify(dir, nil); err != nil || !r.Sound() {
				t.Errorf("%+v, %v", r, err)
			}
		})
	}
}

// A generation that was condensed when a few large records were live in it, as the
// batches of a route are while the cloud is away, is condensed again when those are
// released and a few others are not.
func TestCondensedAgain(t *testing.T) {
	t.Parallel()
	for name, restart := range map[string]bool{"in one run": false, "after a restart": true} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			s := openFull(t, dir)
			const batches = "up/cloud/batches"
			raw := bridge.RawQueue(up)
			n := 0
			put := func(size int, queue string) {
				t.Helper()
				n++
				if err := tryRecord(s, n, size, queue); err != nil {
					t.Fatal(err)
				}
			}
			for i := range 12 {
				put(19<<10, batches)
				for range 5 {
					put(16, up)
				}
				if i < 2 {
					put(16, raw)
				}
			}
			for tryRecord(s, n, 16, up) == nil {
			}
			drain(t, s, up, true)
			condensed := func() bool {
				s.mu.Lock()
				defer s.mu.Unlock()
				return s.gens[0].condensed && !s.condensing
			}
			eventually(t, "condensed", condensed)
			if restart {
				closeTest(t, s)
				s = openFull(t, dir)
			}
			if err := tryRecord(s, n, 32<<10, up); bridge.KindOf(err) != bridge.Full {
				t.Fatalf("not full any more: %v", err)
			}
			drain(t, s, batches, true)
			eventually(t, "room", func() bool { return tryRecord(s, n, 32<<10, up) == nil })
			if got := drain(t, s, raw, true); len(got) != 2 || len(s.Missing()) > 0 {
				t.Errorf("%d of 2 stragglers, missing %v", len(got), s.Missing())
			}
			closeTest(t, s)
			if r, err := Verify(dir, nil); err != nil || !r.Sound() {
				t.Errorf("%+v, %v", r, err)
			}
		})
	}
}

// A cursor that stands in the oldest generation, as an uplink's does that has no
// connection, keeps only that one from being condensed.
func TestCursorHoldsOnlyItsGeneration(t *testing.T) {
	t.Parallel()
	o := DefaultOptions()
	o.Dir, o.MaxSize = t.TempDir(), 256<<10
	s, err := open(o, Deps{Log: slog.New(slog.DiscardHandler), Health: new(bridge.Health)}, smallSizes(), time.Now)
	if err != nil {
		t.Fatal(err)
	}
	defer closeTest(t, s)
	const waiting = "up/cloud/waiting"
	if err := tryRecord(s, 0, 200, waiting); err != nil {
		t.Fatal(err)
	}
	c := s.Cursor(waiting)
	defer c.Close()
	if r, err := c.Next(); err != nil || r == nil {
		t.Fatalf("%v, %v", r, err)
	}
	n, held := 1, 1
	for ; err == nil; n++ {
		q := up
		if n%20 == 0 {
			q, held = waiting, held+1
		}
		err = tryRecord(s, n, 200, q)
	}
	if n%20 == 1 { // the one that was refused
		held--
	}
	drain(t, s, up, true)
	eventually(t, "room", func() bool { return tryRecord(s, n, 200, up) == nil })
	got := 1
	for r, err := c.Next(); r != nil || err != nil; r, err = c.Next() {
		if err != nil {
			t.Fatal(err)
		}
		got++
	}
	if got != held || len(s.Missing()) > 0 {
		t.Errorf("%d of %d, missing %v", got, held, s.Missing())
	}
}

// A full disk takes nothing that is written anew: Badger would write it through a map,
// and the process would end. It is tried again when there is room.
func TestCondenseOnAFullDisk(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := openFull(t, dir)
	const few = "up/cloud/few"
	fill(t, s, 0, 300, up)
	fill(t, s, 300, 302, few)
	closeTest(t, s)

	o := DefaultOptions()
	o.Dir, o.Headroom = dir, 1<<50
	s, err := open(o, Deps{Log: slog.New(slog.DiscardHandler), Health: new(bridge.Health)}, smallSizes(), time.Now)
	if err != nil {
		t.Fatal(err)
	}
	drain(t, s, up, true)
	g := s.gens[0]
	for range 2 { // the second time it is known what it takes
		if done, err := s.condenseOne(candidate{g, 2}); done || err != nil || g.condensed {
			t.Fatalf("%v, %v", done, err)
		}
	}
	closeTest(t, s)

	s = openFull(t, dir)
	defer closeTest(t, s)
	g = s.gens[0]
	if done, err := s.condenseOne(candidate{g, 2}); !done || err != nil || !g.condensed {
		t.Fatalf("with room: %v, %v", done, err)
	}
	if got := drain(t, s, few, false); len(got) != 2 || len(s.Missing()) > 0 {
		t.Errorf("%d of 2, missing %v", len(got), s.Missing())
	}

	// Another program takes the room between the look and the writing.
	full := filepath.Join(mountExt4(t, filepath.Join(t.TempDir(), "disk.img"), 32<<20), "new")
	raw, err := s.rawOf(g)
	if err != nil || len(raw) == 0 {
		t.Fatal(len(raw), err)
	}
	if err := s.writeAnew(full, raw, 64<<20); !errors.Is(err, unix.ENOSPC) {
		t.Errorf("a full disk takes it: %v", err)
	}
}
