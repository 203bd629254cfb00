package account

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"time"
)

// journal remembers what a pull has fetched, so that the next one need not ask
// again. It is a file of JSON lines, a key and its value each; of a line that
// a crash has cut, and whatever follows, nothing counts.
type journal struct {
	mu   sync.Mutex
	file *os.File
	said map[string]json.RawMessage
	old  int // entries that were there when it was opened
}

// journalHead is the value of the first line: what the journal is of.
type journalHead struct {
	Format   int       `json:"format"`
	Region   string    `json:"region"`
	Endpoint string    `json:"endpoint,omitempty"`
	Started  time.Time `json:"started"`
}

type journalLine struct {
	Key   string          `json:"key"`
	Value json.RawMessage `json:"value"`
}

const (
	journalFormat = 1
	headKey       = "pull"    // the key of the head
	accountKey    = "account" // whose account it is, once that is known
	// journalAge is how old a journal may be. Its answers are mixed with
	// newer ones, and a day is long enough to come back after a night.
	journalAge = 24 * time.Hour
)

// openJournal opens the journal of an interrupted pull, or begins one. A
// journal of another region, another format or another day begins anew.
func openJournal(path string, head journalHead, restart bool) (*journal, error) {
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("the pull's journal: %w", err)
	}
	j := &journal{file: file, said: map[string]json.RawMessage{}}
	if err := lockFile(file); err != nil {
		return nil, errors.Join(fmt.Errorf("%s is in use by another pull; wait for it to end", path), file.Close())
	}
	end, was, err := j.read()
	if err != nil {
		return nil, errors.Join(fmt.Errorf("%s: %w", path, err), file.Close())
	}
	usable := !restart && was.Format == journalFormat && was.Region == head.Region && was.Endpoint == head.Endpoint &&
		head.Started.Sub(was.Started) < journalAge && !head.Started.Before(was.Started)
	if !usable {
		end, j.said = 0, map[string]json.RawMessage{}
	}
	if err := errors.Join(file.Truncate(end), seek(file, end)); err != nil {
		return nil, errors.Join(fmt.Errorf("%s: %w", path, err), file.Close())
	}
	if !usable {
		head.Format = journalFormat
		if err := j.put(headKey, head); err != nil {
			return nil, errors.Join(err, file.Close())
		}
	}
	j.old = j.answers()
	return j, nil
}

func seek(f *os.File, to int64) error {
	_, err := f.Seek(to, io.SeekStart)
	return err
}

// read takes in all whole lines and returns where they end.
func (j *journal) read() (end int64, head journalHead, err error) {
	in := bufio.NewReaderSize(j.file, 1<<16)
	for {
		line, err := in.ReadBytes('\n')
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return 0, head, err
		}
		var l journalLine
		if json.Unmarshal(line, &l) != nil || l.Key == "" {
			break
		}
		j.said[l.Key] = l.Value
		end += int64(len(line))
	}
	if raw, ok := j.said[headKey]; ok && json.Unmarshal(raw, &head) != nil {
		head = journalHead{} // not usable
	}
	return end, head, nil
}

// get finds what an earlier pull, or this one, has put under a key.
func (j *journal) get(key string, into any) bool {
	j.mu.Lock()
	raw, ok := j.said[key]
	j.mu.Unlock()
	return ok && json.Unmarshal(raw, into) == nil
}

// put remembers a value. It is written at once and in one call: a killed pull
// loses nothing, and the loss of power only what is asked again.
func (j *journal) put(key string, value any) error {
	raw, err := json.Marshal(value)
	if err != nil {
		return fmt.Errorf("the pull's journal: %w", err)
	}
	var line bytes.Buffer
	if err := json.NewEncoder(&line).Encode(journalLine{key, raw}); err != nil {
		return fmt.Errorf("the pull's journal: %w", err)
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	j.said[key] = raw
	if _, err := j.file.Write(line.Bytes()); err != nil {
		return fmt.Errorf("the pull's journal: %w", err)
	}
	return nil
}

// answers counts what need not be asked again.
func (j *journal) answers() int {
	j.mu.Lock()
	defer j.mu.Unlock()
	n := len(j.said)
	for _, key := range []string{headKey, accountKey} {
		if _, ok := j.said[key]; ok {
			n--
		}
	}
	return n
}

// clear forgets everything.
func (j *journal) clear() error {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.said = map[string]json.RawMessage{}
	return errors.Join(j.file.Truncate(0), seek(j.file, 0))
}

func (j *journal) close() error { return j.file.Close() }
