package account

import (
	"errors"
	"maps"
	"os"
	"path/filepath"
	"testing"
)

// prepared is a folder with an old state and a new one that waits.
func prepared(t *testing.T) (*swap, []string) {
	out := t.TempDir()
	s := &swap{out: out, work: filepath.Join(out, workFolder)}
	write(t, out, map[string]string{"policies/a.json": "old", "policies/b.json": "old", "things.yaml": "old", "mine": "mine"})
	write(t, s.next(), map[string]string{"policies/a.json": "new", "things.yaml": "new", "account.json": "new"})
	write(t, s.work, map[string]string{"journal.jsonl": "x"})
	return s, []string{"policies", "things.yaml", "account.json"}
}

var (
	oldState = map[string]string{"policies/a.json": "old", "policies/b.json": "old", "things.yaml": "old", "mine": "mine"}
	newState = map[string]string{"policies/a.json": "new", "things.yaml": "new", "account.json": "new", "mine": "mine"}
)

func TestSwap(t *testing.T) {
	s, names := prepared(t)
	if err := s.apply(names); err != nil {
		t.Fatal(err)
	}
	if got := tree(t, s.out); !maps.Equal(got, newState) {
		t.Error(got)
	}
	if got := tree(t, s.previous()); !maps.Equal(got, map[string]string{"policies/a.json": "old", "policies/b.json": "old", "things.yaml": "old"}) {
		t.Error(got)
	}
}

// TestCrashInSwap ends the process after each of its steps. From the promise
// on the next pull makes the new state whole; before it the old one stands.
func TestCrashInSwap(t *testing.T) {
	steps := []func(s *swap) error{
		func(s *swap) error { return os.MkdirAll(s.previous(), 0o755) },
		func(s *swap) error {
			return writeSynced(s.promise(), []byte(`["policies","things.yaml","account.json"]`))
		},
		func(s *swap) error {
			return os.Rename(filepath.Join(s.out, "policies"), filepath.Join(s.previous(), "policies"))
		},
		func(s *swap) error {
			return os.Rename(filepath.Join(s.next(), "policies"), filepath.Join(s.out, "policies"))
		},
		func(s *swap) error {
			return keepFile(filepath.Join(s.out, "things.yaml"), filepath.Join(s.previous(), "things.yaml"))
		},
		func(s *swap) error {
			return os.Rename(filepath.Join(s.next(), "things.yaml"), filepath.Join(s.out, "things.yaml"))
		},
		func(s *swap) error {
			return os.Rename(filepath.Join(s.next(), "account.json"), filepath.Join(s.out, "account.json"))
		},
	}
	for crash := range len(steps) + 1 {
		s, _ := prepared(t)
		for _, step := range steps[:crash] {
			if err := step(s); err != nil {
				t.Fatal(err)
			}
		}
		if err := s.finish(); err != nil {
			t.Fatalf("after %d steps: %v", crash, err)
		}
		want := newState
		if crash < 2 {
			want = oldState
		}
		if got := tree(t, s.out); !maps.Equal(got, want) {
			t.Errorf("after %d steps: %v", crash, got)
		}
		if _, err := os.Stat(s.promise()); err == nil {
			t.Errorf("after %d steps the promise is still there", crash)
		}
	}
}

// TestSwapThatFails puts back what it has moved.
func TestSwapThatFails(t *testing.T) {
	s, names := prepared(t)
	// A folder that is in the way of a file: rename refuses.
	if err := os.MkdirAll(filepath.Join(s.out, "account.json", "x"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := s.apply(names); err == nil {
		t.Fatal("no error")
	}
	if got := tree(t, s.out); !maps.Equal(got, oldState) {
		t.Error(got)
	}
	if _, err := os.Stat(s.promise()); err == nil {
		t.Error("the promise is still there")
	}
}

func TestSwapRefusesLinks(t *testing.T) {
	s, names := prepared(t)
	if err := errors.Join(os.Remove(filepath.Join(s.out, "things.yaml")), os.Symlink("mine", filepath.Join(s.out, "things.yaml"))); err != nil {
		t.Fatal(err)
	}
	if err := s.apply(names); err == nil {
		t.Error("a link was replaced")
	}
}
