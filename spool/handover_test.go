package spool

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// What commands leave for the gateway is bounded, and what cannot be read of it is
// told: it may have been cut by a power cut, or damaged itself.
func TestWhatIsLeftForTheGateway(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, foundName)
	if got := readFound(dir); len(got) != 0 {
		t.Errorf("nothing was left, and read is %q", got)
	}
	for _, what := range []string{"one", "two\nlines"} {
		if err := appendFound(dir, foundLine{By: "ebbgate spool ls", What: what}); err != nil {
			t.Fatal(err)
		}
	}
	cut, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got := readFound(dir); len(got) != 2 || !strings.HasPrefix(got[1], "two\nlines (found by ebbgate spool ls at ") {
		t.Errorf("read is %q", got)
	}
	if err := os.WriteFile(path, cut[:len(cut)-9], 0o600); err != nil {
		t.Fatal(err)
	}
	if err := appendFound(dir, foundLine{By: "ebbgate bill", What: "three"}); err != nil {
		t.Fatal(err)
	}
	if got := readFound(dir); len(got) != 3 || !strings.HasPrefix(got[1], "three") || !strings.Contains(got[2], "some of what commands have found cannot be read") {
		t.Errorf("after a cut: %q", got)
	}
	if err := os.WriteFile(path, make([]byte, 3*maxFoundBytes), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := appendFound(dir, foundLine{What: "four"}); err == nil {
		t.Error("a file without end is taken")
	}
	if got := readFound(dir); len(got) != 1 {
		t.Errorf("of zeros: %q", got)
	}
	s := openTest(t, dir)
	if _, err := os.Stat(path); !os.IsNotExist(err) || s.damages.Load() != 1 {
		t.Errorf("after a start: %v, %d reports of damage", err, s.damages.Load())
	}
	closeTest(t, s)
}
