package spool

import (
	"bytes"
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ebbgate/ebbgate/bridge"
)

// told calls fn for each line of a log.
type told struct {
	slog.Handler
	fn func(text string)
}

func (h told) Handle(_ context.Context, r slog.Record) error { h.fn(r.Message); return nil }

func (h told) Enabled(context.Context, slog.Level) bool { return true }

func openAs(dir, command string, z sizes, log *slog.Logger) (*Spool, error) {
	o := DefaultOptions()
	o.Dir = dir
	return open(o, Deps{Log: log, Health: new(bridge.Health), Command: command}, z, time.Now)
}

func heldBy(t *testing.T, err error, words string) {
	t.Helper()
	if bridge.KindOf(err) != bridge.Unavailable || !strings.Contains(err.Error(), words) {
		t.Errorf("got %v, want %q in it", err, words)
	}
}

// Who finds the folder taken is told by whom.
func TestWhoHoldsTheFolder(t *testing.T) {
	t.Parallel()
	dir, quiet, z := t.TempDir(), slog.New(slog.DiscardHandler), smallSizes()
	s := openTest(t, dir)
	for _, command := range []string{"", "ebbgate spool ls"} {
		_, err := openAs(dir, command, z, quiet)
		heldBy(t, err, "is held by another gateway (process ")
	}
	closeTest(t, s)
	s, err := openAs(dir, "ebbgate spool requeue", z, quiet)
	if err != nil {
		t.Fatal(err)
	}
	for _, command := range []string{"", "ebbgate spool ls"} {
		_, err := openAs(dir, command, z, quiet)
		heldBy(t, err, "is held by ebbgate spool requeue (process ")
	}
	if r, err := Verify(dir, nil); err != nil || !r.Running {
		t.Errorf("%+v, %v", r, err)
	}
	closeTest(t, s)
	reading, running, err := lockToRead(dir)
	if err != nil || running {
		t.Fatal(running, err)
	}
	_, err = openAs(dir, "", z, quiet)
	heldBy(t, err, "is being read by ebbgate spool verify")
	if r, err := Verify(dir, nil); err != nil || r.Running {
		t.Errorf("two read at once: %+v, %v", r, err)
	}
	if err := reading.Close(); err != nil {
		t.Error(err)
	}
}

// A gateway waits for a command to end, and does not wait for another gateway.
func TestAGatewayWaitsForACommand(t *testing.T) {
	t.Parallel()
	dir, z := t.TempDir(), smallSizes()
	z.lockWait = time.Hour
	begin := map[string]func() func() error{
		"writes": func() func() error {
			s, err := openAs(dir, "ebbgate spool requeue", z, slog.New(slog.DiscardHandler))
			if err != nil {
				t.Fatal(err)
			}
			return s.Close
		},
		"reads": func() func() error {
			f, _, err := lockToRead(dir)
			if err != nil {
				t.Fatal(err)
			}
			return f.Close
		},
	}
	for _, name := range []string{"writes", "reads"} {
		end, waited := begin[name](), false
		s, err := openAs(dir, "", z, slog.New(told{slog.DiscardHandler, func(text string) {
			if text == "waiting for the spool" {
				waited = true
				if err := end(); err != nil {
					t.Error(err)
				}
			}
		}}))
		if err != nil || !waited {
			t.Fatalf("%s: %v, waited: %v", name, err, waited)
		}
		_, err = openAs(dir, "", z, slog.New(slog.DiscardHandler))
		heldBy(t, err, "another gateway")
		closeTest(t, s)
	}
}

// Verify changes nothing, not even who had the folder last.
func TestVerifyLeavesTheLockAlone(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	closeTest(t, openTest(t, dir))
	path := filepath.Join(dir, "LOCK")
	was := []byte("12345 ebbgate of old\n")
	if err := os.WriteFile(path, was, 0o400); err != nil {
		t.Fatal(err)
	}
	if r, err := Verify(dir, nil); err != nil || r.Running || !r.Sound() {
		t.Errorf("%+v, %v", r, err)
	}
	if is, err := os.ReadFile(path); err != nil || !bytes.Equal(is, was) {
		t.Errorf("LOCK is %q, %v", is, err)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if r, err := Verify(dir, nil); err != nil || r.Running || !r.Sound() {
		t.Errorf("without LOCK: %+v, %v", r, err)
	}
	if _, err := os.Stat(path); !os.IsNotExist(err) {
		t.Errorf("verify has made LOCK: %v", err)
	}
}
