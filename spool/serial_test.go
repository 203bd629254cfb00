package spool

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/dgraph-io/badger/v4"

	"github.com/ebbgate/ebbgate/bridge"
)

// delivered makes a spool of which the first 300 of 340 records were delivered and
// metered, three at a time, and returns it open.
func delivered(t *testing.T, dir string) *Spool {
	t.Helper()
	s := openTest(t, dir)
	fill(t, s, 0, 340, up)
	c := s.Cursor(up)
	defer c.Close()
	for range 100 {
		var b bridge.Batch
		for range 3 {
			r, err := c.Next()
			if err != nil || r == nil {
				t.Fatal(r, err)
			}
			b.Release(r)
		}
		b.Add("meter", "units", 3)
		commitAll(t, s, &b)
	}
	return s
}

// Badger replays its memtable's log up to the first entry that it cannot read, and
// what comes behind it is gone: the state is then as it was some time ago. That is
// told, once, by the start and by verify, and nothing that was not delivered is lost.
func TestTheStateGoesBack(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := delivered(t, dir)
	killedDir := killed(t, dir)
	closeTest(t, s)
	for _, percent := range []int{5, 50, 90} {
		for how, damage := range map[string]func(b []byte, at int) []byte{
			"flipped":   func(b []byte, at int) []byte { b[at] ^= 1; return b },
			"truncated": func(b []byte, at int) []byte { return b[:at] },
		} {
			t.Run(fmt.Sprint(how, " at ", percent, " %"), func(t *testing.T) {
				k := killed(t, killedDir)
				each(t, filepath.Join(k, "state"), ".mem", func(_ string, b []byte) []byte {
					return damage(b, used(b)*percent/100)
				})
				r, err := Verify(k, nil)
				if err != nil || r.Sound() || !strings.Contains(r.State, "has lost its last ") {
					t.Errorf("verify says of the state %q, %v", r.State, err)
				}
				after := openTest(t, k)
				w := after.deps.Health.Warnings()
				if len(w) != 1 || w[0].Code != "spool-damage" || !strings.Contains(w[0].Text, "the state has lost its last ") {
					t.Errorf("the start warns %+v", w)
				}
				n, err := after.Count("meter", "units")
				if err != nil || n >= 300 {
					t.Errorf("the meter says %d, %v: the state has not gone back, and this shows nothing", n, err)
				}
				expectRange(t, drain(t, after, up, false), int(n), 340)
				told := killed(t, k)
				closeTest(t, after)
				expectUntold(t, told)
				expectUntold(t, k)
			})
		}
	}
}

// expectUntold expects a start, and verify before it, to report nothing.
func expectUntold(t *testing.T, dir string) *Spool {
	t.Helper()
	if r, err := Verify(dir, nil); err != nil || !r.Sound() {
		t.Errorf("verify says %+v, %v", r, err)
	}
	s := openTest(t, dir)
	t.Cleanup(func() { closeTest(t, s) })
	if n := s.damages.Load(); n > 0 {
		t.Errorf("%d reports of damage, such as %v", n, s.deps.Health.Warnings())
	}
	return s
}

// A state that is whole is not suspected, however the spool was left: the number
// on the disk may be older than the state, for it is not synced.
func TestTheStateIsWhole(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := delivered(t, dir)
	old, err := os.ReadFile(filepath.Join(dir, serialName))
	if err != nil {
		t.Fatal(err)
	}
	var b bridge.Batch
	b.Add("meter", "units", 1)
	commitAll(t, s, &b)
	moments := map[string]string{"killed": killed(t, dir), "power cut": killed(t, dir), "power cut in a write": killed(t, dir), "before they were counted": killed(t, dir)}
	closeTest(t, s)
	moments["closed"] = dir
	half := append([]byte(nil), old...)
	clear(half[int(s.serial.n%2)*serialSlot:][:serialSlot])
	for name, b := range map[string][]byte{"power cut": old, "power cut in a write": half} {
		if err := os.WriteFile(filepath.Join(moments[name], serialName), b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	forgetSerial(t, moments["before they were counted"])
	for name, dir := range moments {
		t.Run(name, func(t *testing.T) {
			s := expectUntold(t, dir)
			if n, err := s.Count("meter", "units"); n != 301 || err != nil {
				t.Errorf("the meter says %d, %v", n, err)
			}
			expectRange(t, drain(t, s, up, true), 300, 340)
			n, whole, err := readSerial(dir)
			if err != nil || !whole || n == 0 || n != s.serial.n {
				t.Errorf("the file says %d (%v, %v), the spool %d", n, whole, err, s.serial.n)
			}
		})
	}
}

// forgetSerial makes a folder one of a version that did not count.
func forgetSerial(t *testing.T, dir string) {
	t.Helper()
	db, err := openBadger(stateOptions(filepath.Join(dir, "state"), slog.New(slog.DiscardHandler)))
	if err != nil {
		t.Fatal(err)
	}
	err = db.Update(func(txn *badger.Txn) error { return txn.Delete([]byte(keySerial)) })
	if err := errors.Join(err, db.Close(), os.Remove(filepath.Join(dir, serialName))); err != nil {
		t.Fatal(err)
	}
}

// The file itself is damaged: that is told, once, and nothing else is.
func TestTheSerialIsDamaged(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := delivered(t, dir)
	killedDir := killed(t, dir)
	closeTest(t, s)
	for name, damage := range map[string]func(path string) error{
		"gone":  os.Remove,
		"empty": func(path string) error { return os.Truncate(path, 0) },
		"zeros": func(path string) error { return os.WriteFile(path, make([]byte, 2*serialSlot), 0o600) },
		"other": func(path string) error { return os.WriteFile(path, []byte(strings.Repeat("EbbS", 1<<16)), 0o600) },
	} {
		t.Run(name, func(t *testing.T) {
			k := killed(t, killedDir)
			if err := damage(filepath.Join(k, serialName)); err != nil {
				t.Fatal(err)
			}
			if r, err := Verify(k, nil); err != nil || r.Sound() || r.Serial == "" || r.State != "" {
				t.Errorf("verify says %+v, %v", r, err)
			}
			after := openTest(t, k)
			w := after.deps.Health.Warnings()
			if len(w) != 1 || !strings.Contains(w[0].Text, serialName) || after.damages.Load() != 1 {
				t.Errorf("the start warns %+v", w)
			}
			expectRange(t, drain(t, after, up, false), 300, 340)
			closeTest(t, after)
			expectUntold(t, k)
		})
	}
}

// A state that is not there at all, or was set aside, is told of once, not twice.
func TestTheStateIsGoneAndCounted(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := delivered(t, dir)
	killedDir := killed(t, dir)
	closeTest(t, s)
	for name, damage := range map[string]func(state string) error{
		"gone":       os.RemoveAll,
		"unreadable": func(state string) error { return os.Truncate(filepath.Join(state, "KEYREGISTRY"), 0) },
	} {
		t.Run(name, func(t *testing.T) {
			k := killed(t, killedDir)
			if err := damage(filepath.Join(k, "state")); err != nil && !errors.Is(err, fs.ErrNotExist) {
				t.Fatal(err)
			}
			after := openTest(t, k)
			if n := after.damages.Load(); n != 1 {
				t.Errorf("%d reports: %v", n, after.deps.Health.Warnings())
			}
			closeTest(t, after)
			again := openTest(t, k)
			defer closeTest(t, again)
			if n := again.damages.Load(); n != 0 {
				t.Errorf("%d reports by the second start: %v", n, again.deps.Health.Warnings())
			}
		})
	}
}
