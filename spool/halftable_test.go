package spool

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/ebbgate/ebbgate/bridge"
)

// halfSent puts a hundred messages into a spool, of which forty are sent and metered.
func halfSent(t *testing.T, s *Spool) {
	t.Helper()
	fill(t, s, 0, 40, up)
	expectRange(t, drain(t, s, up, true), 0, 40)
	fill(t, s, 40, 100, up)
	var b bridge.Batch
	b.Add("meter", "units", 3)
	commitAll(t, s, &b)
}

// expectHalfSent opens the spool of a folder, in which nothing is damaged or forgotten.
func expectHalfSent(t *testing.T, dir string) {
	t.Helper()
	if r, err := Verify(dir, nil); err != nil || !r.Sound() {
		t.Fatalf("verify calls it damage: %+v, %v", r, err)
	}
	after := openTest(t, dir)
	defer closeTest(t, after)
	if n := after.damages.Load(); n != 0 {
		t.Fatalf("%d damages reported: %v", n, after.deps.Health.Warnings())
	}
	if n, err := after.Count("meter", "units"); n != 3 || err != nil {
		t.Fatalf("the meter says %d, %v", n, err)
	}
	expectRange(t, drain(t, after, up, true), 40, 100)
}

// A kill while Badger writes a table leaves a file of its full size that holds
// part of it, or nothing. The manifest does not name it, and what it was to hold
// is still in the memtable's file: nothing is damaged, no meter starts anew.
func TestKilledWhileATableIsWritten(t *testing.T) {
	t.Parallel()
	for name, content := range map[string][]byte{
		"empty": nil, "zeros": make([]byte, 4096), "half": bytes.Repeat([]byte("half of a table "), 300),
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			s := openTest(t, dir)
			halfSent(t, s)
			gen := s.generationDir(s.newest)
			closeTest(t, s)
			for _, folder := range []string{filepath.Join(dir, "state"), gen} {
				if err := os.WriteFile(filepath.Join(folder, "009999.sst"), content, 0o600); err != nil {
					t.Fatal(err)
				}
			}
			expectHalfSent(t, dir)
		})
	}
}

// A kill while Badger makes the log of a memtable, or removes one, leaves a file without a
// byte: nothing is in it, nothing is damaged, no meter starts anew.
func TestKilledWhileALogIsMadeOrRemoved(t *testing.T) {
	t.Parallel()
	for _, empty := range []string{"00000.mem", "00999.mem", "000999.vlog"} {
		for _, killed := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, killed %v", empty, killed), func(t *testing.T) {
				dir := t.TempDir()
				s := openTest(t, dir)
				halfSent(t, s)
				if killed { // as a kill leaves it, with the commits in a memtable's log
					image := t.TempDir()
					if err := os.CopyFS(image, os.DirFS(dir)); err != nil {
						t.Fatal(err)
					}
					defer closeTest(t, s)
					dir = image
				} else {
					closeTest(t, s)
				}
				if err := os.WriteFile(filepath.Join(dir, "state", empty), nil, 0o600); err != nil {
					t.Fatal(err)
				}
				expectHalfSent(t, dir)
			})
		}
	}
}

// A log that damage has emptied is told of.
func TestALogOfTheStateEmptiedByDamage(t *testing.T) {
	t.Parallel()
	dir, image := t.TempDir(), t.TempDir()
	s := openTest(t, dir)
	defer closeTest(t, s)
	fill(t, s, 0, 100, up)
	expectRange(t, drain(t, s, up, true), 0, 100)
	if err := os.CopyFS(image, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	names, err := filepath.Glob(filepath.Join(image, "state", "*.mem"))
	if err != nil || len(names) == 0 {
		t.Fatalf("%v, %v", names, err)
	}
	for _, name := range names {
		if err := os.Truncate(name, 0); err != nil {
			t.Fatal(err)
		}
	}
	after := openTest(t, image)
	defer closeTest(t, after)
	if after.damages.Load() == 0 {
		t.Error("nothing is told of what is lost")
	}
}

// Without its list of tables Badger would open the state empty and delete them. They
// are named anew: nothing is lost.
func TestStateWithoutAManifest(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	closeTest(t, delivered(t, dir))
	if err := os.Remove(filepath.Join(dir, "state", "MANIFEST")); err != nil {
		t.Fatal(err)
	}
	if r, err := Verify(dir, nil); err != nil || r.State == "" {
		t.Fatalf("verify calls it sound: %+v, %v", r, err)
	}
	after := openTest(t, dir)
	if n := after.damages.Load(); n != 1 {
		t.Fatalf("%d reports", n)
	}
	if n, err := after.Count("meter", "units"); n != 300 || err != nil {
		t.Errorf("the meter says %d, %v", n, err)
	}
	expectRange(t, drain(t, after, up, false), 300, 340)
	closeTest(t, after)
	expectUntold(t, dir)
}
