package main

import (
	"bytes"
	"crypto/sha256"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestStill: a file that is sent is watched: what was written over is seen, by its time
// or when it is looked at closely; what was added or touched is not taken for it.
func TestStill(t *testing.T) {
	const content = "12:00 started"
	for name, c := range map[string]struct {
		write          string
		at             int64
		hidden         bool // its time is as it was
		still, closely bool
	}{
		"nothing":         {"", 0, true, true, true},
		"touched":         {"", 0, false, true, true},
		"written over":    {"13", 0, false, false, false},
		"so, hidden":      {"13", 0, true, true, false},
		"added to":        {" 12:01", int64(len(content)), false, true, true},
		"cut short":       {"", -1, false, false, false},
		"so, in its time": {"", -1, true, false, false},
	} {
		t.Run(name, func(t *testing.T) {
			f, err := os.OpenFile(filepath.Join(t.TempDir(), "f"), os.O_RDWR|os.O_CREATE, 0o600)
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			then := time.Now().Add(-time.Hour)
			if _, err = f.WriteString(content); err == nil {
				err = os.Chtimes(f.Name(), then, then)
			}
			if err != nil {
				t.Fatal(err)
			}
			info, err := f.Stat()
			if err != nil {
				t.Fatal(err)
			}
			w := &watched{f, info, sha256.Sum256([]byte(content))}
			if c.at < 0 {
				err = f.Truncate(5)
			} else {
				_, err = f.WriteAt([]byte(c.write), c.at)
			}
			if err == nil && c.hidden {
				err = os.Chtimes(f.Name(), then, then)
			} else if err == nil {
				err = os.Chtimes(f.Name(), time.Time{}, time.Now())
			}
			if err != nil {
				t.Fatal(err)
			}
			if still, err := w.still(t.Context(), false); err != nil || still != c.still {
				t.Errorf("%v %v", still, err)
			}
			if still, err := w.still(t.Context(), true); err != nil || still != c.closely {
				t.Errorf("closely: %v %v", still, err)
			}
		})
	}
}

// TestNameOfOtherLetters: a name that is no UTF-8 would arrive as another one.
func TestNameOfOtherLetters(t *testing.T) {
	path := filepath.Join(t.TempDir(), "caf\xe9.log")
	if err := os.WriteFile(path, []byte("x"), 0o600); err != nil {
		t.Skipf("needs a file system with names that are not UTF-8, such as ext4: %v", err)
	}
	var stderr bytes.Buffer
	if code := execute([]string{"files", "put", path, "--broker", "mqtt://127.0.0.1:1"}, io.Discard, &stderr); code != exitInvalid || !strings.Contains(stderr.String(), `"caf\xe9.log" is no UTF-8`) {
		t.Errorf("%d, %s", code, stderr.String())
	}
	stderr.Reset()
	if code := execute([]string{"files", "put", path, "--name", "café.log", "--dry-run"}, io.Discard, &stderr); code != 0 {
		t.Errorf("%d, %s", code, stderr.String())
	}
}
