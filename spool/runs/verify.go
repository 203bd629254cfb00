package runs

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
)

// Check is what [Verify] finds.
type Check struct {
	Runs    int
	Entries uint64
	Wrong   []string // what cannot be read, in words
	Writes  uint64   // the last write that is there
	Mark    uint64   // and the log's position that it was made with
}

// Verify reads every byte of a folder and changes nothing. It may run beside a
// gateway: it begins again when a run goes that it wanted to read.
func Verify(dir string) (*Check, error) {
	for range 100 {
		c, err := verify(dir)
		if !errors.Is(err, errWent) {
			return c, err
		}
	}
	return nil, errors.New("verify the shelf: it does not come to rest")
}

var errWent = errors.New("a run has gone")

func verify(dir string) (*Check, error) {
	c := new(Check)
	s := &Store{o: Options{Dir: dir, Damage: func(text string) { c.Wrong = append(c.Wrong, text) }}}
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return c, nil // nothing has ever been put on it
	}
	if err != nil {
		return nil, fmt.Errorf("verify the shelf: %w", err)
	}
	var names []runName
	for _, e := range entries {
		if n, ok := parseName(dir + "/" + e.Name()); ok {
			names = append(names, n)
		}
	}
	sortNames(names)
	for _, n := range names {
		if n.hi <= c.Writes {
			continue // merged, and the merge was interrupted before it went
		}
		r, err := openRun(n.path)
		if errors.Is(err, fs.ErrNotExist) {
			return nil, errWent
		}
		if err != nil {
			c.Wrong = append(c.Wrong, fmt.Sprintf("%s cannot be read: %v", n.path, err))
			continue
		}
		if r.lo > c.Writes+1 {
			c.Wrong = append(c.Wrong, fmt.Sprintf("a file is missing (%d to %d)", c.Writes+1, r.lo-1))
		}
		c.Runs++
		c.Entries += r.entries
		c.Writes, c.Mark = r.hi, r.mark
		s.lookAtFilter(r)
		s.readThrough(r)
		if err := r.f.Close(); err != nil {
			return nil, fmt.Errorf("verify the shelf: %w", err)
		}
	}
	return c, nil
}

// readThrough reads every entry and value of a run; what cannot be read is
// reported.
func (s *Store) readThrough(r *run) {
	c := &cursor{r: r, report: s.report}
	for c.seek(""); c.Valid(); c.Next() {
		c.Value()
	}
}

// Repair reads everything, and writes the runs anew in which something is
// damaged, without it. It returns how many those were.
func (s *Store) Repair() (int, error) {
	s.merging.Lock()
	defer s.merging.Unlock()
	v := s.View()
	defer v.Close()
	n := 0
	for i, r := range slices.Backward(v.v.runs) {
		s.readThrough(r)
		if !r.damaged() {
			continue
		}
		n++
		if err := s.merge(v, i, i+1); err != nil {
			return n, err
		}
	}
	return n, nil
}
