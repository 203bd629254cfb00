package spool

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"
)

// foundName is the file with what commands have found damaged and dealt with, a
// JSON object a line. Opening a spool mends it, so the next start of a gateway finds
// nothing any more; but it is the gateway that people look at. It tells what is in
// the file, and removes it.
const foundName = "FOUND"

// maxFound bounds the list, and maxFoundBytes the file.
const (
	maxFound      = 1000
	maxFoundBytes = 1 << 20
)

// foundLine is one line of the file.
type foundLine struct {
	At   time.Time `json:"at"` // as the clock was then
	By   string    `json:"by"` // the command
	What string    `json:"what"`
}

// String says it in words.
func (l foundLine) String() string {
	return fmt.Sprintf("%s (found by %s at %s)", l.What, l.By, l.At.UTC().Format(time.RFC3339))
}

// findings are what has been found damaged since the spool was opened.
type findings struct {
	mu   sync.Mutex
	list []string
}

// Found lists what was found damaged since the spool was opened, and was dealt with:
// files set aside or made anew, records that are missing.
func (s *Spool) Found() []string {
	s.findings.mu.Lock()
	defer s.findings.mu.Unlock()
	return slices.Clone(s.findings.list)
}

// note keeps what was found, and when it is a command that found it, leaves it for
// the gateway, before anything is mended that would show it again.
func (s *Spool) note(text string) {
	s.findings.mu.Lock()
	defer s.findings.mu.Unlock()
	if len(s.findings.list) >= maxFound {
		return
	}
	s.findings.list = append(s.findings.list, text)
	if s.deps.Command == "" {
		return
	}
	if err := appendFound(s.opts.Dir, foundLine{time.Now(), s.deps.Command, text}); err != nil {
		s.deps.Log.Warn("spool: what was found cannot be left for the gateway, which will not tell it", "file", foundName, "error", err)
	}
}

func appendFound(dir string, l foundLine) error {
	b, err := json.Marshal(l)
	if err != nil {
		return err
	}
	f, err := os.OpenFile(filepath.Join(dir, foundName), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	fi, err := f.Stat()
	if err == nil && fi.Size() > maxFoundBytes {
		err = errors.New("it is full")
	}
	if err == nil {
		_, err = f.Write(append([]byte{'\n'}, append(b, '\n')...)) // a line that a power cut has cut short ends here
	}
	return errors.Join(err, f.Sync(), f.Close(), syncDir(dir))
}

// readFound reads what commands have left. What cannot be read of it is one line
// that says so.
func readFound(dir string) (out []string) {
	f, err := os.Open(filepath.Join(dir, foundName))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return []string{fmt.Sprintf("what commands have found damaged cannot be read: %v", err)}
	}
	defer func() { _ = f.Close() }()
	in := bufio.NewScanner(io.LimitReader(f, 2*maxFoundBytes))
	in.Buffer(nil, 2*maxFoundBytes)
	unread := 0
	for in.Scan() && len(out) < maxFound {
		var l foundLine
		switch {
		case len(in.Bytes()) == 0:
		case json.Unmarshal(in.Bytes(), &l) != nil || l.What == "":
			unread++
		default:
			out = append(out, l.String())
		}
	}
	if unread > 0 || in.Err() != nil {
		out = append(out, fmt.Sprintf("the file %s is damaged: some of what commands have found cannot be read", foundName))
	}
	return out
}

// tellFound tells what commands have found, when it is a gateway that starts.
func (s *Spool) tellFound() {
	if s.deps.Command != "" {
		return
	}
	for _, text := range readFound(s.opts.Dir) {
		s.damage(text)
	}
	if err := os.Remove(filepath.Join(s.opts.Dir, foundName)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		s.deps.Log.Warn("spool: what commands have found is told again at the next start", "file", foundName, "error", err)
	}
}
