package runs

import (
	"errors"
	"fmt"
	"iter"
	"math/bits"
	"os"
)

// Write writes entries, whose keys must ascend, as the newest run, with the
// log's position. keys is how many there are at most. When it returns without
// an error the entries and the position are durable; otherwise nothing has
// changed. Deletions of what is not there are left out.
func (s *Store) Write(mark, keys uint64, entries iter.Seq[*Entry]) error {
	v := s.View()
	defer v.Close()
	_, writes := s.Mark()
	w, err := create(s.o.Dir, writes+1, writes+1, mark, keys)
	if err != nil {
		return fmt.Errorf("write the shelf: %w", err)
	}
	cursors := make([]*cursor, len(v.v.runs))
	for e := range entries {
		old, found := v.find(string(e.Key), cursors)
		found = found && !old.Dead()
		if e.Dead && !found {
			continue
		}
		if found {
			w.foot.hides++
			w.foot.hidden += uint64(len(e.Key) + old.length())
		}
		if err = w.add(e); err != nil {
			w.abandon()
			return fmt.Errorf("write the shelf: %w", err)
		}
	}
	r, err := w.finish()
	if err != nil {
		return fmt.Errorf("write the shelf: %w", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.installLocked(append([]*run{r}, s.now.runs...))
	return nil
}

// sums of several runs.
type sums struct{ entries, dead, bytes, hides, hidden uint64 }

func sumOf(list []*run) (t sums) {
	for _, r := range list {
		t.entries += r.entries
		t.dead += r.dead
		t.bytes += r.bytes
		t.hides += r.hides
		t.hidden += r.hidden
	}
	return t
}

// live is how many keys there are; what damage has taken may make it less than
// what is said.
func (t sums) live() uint64 {
	n := t.entries - min(t.dead, t.entries)
	return n - min(t.hides, n)
}

func (t sums) liveBytes() uint64 { return t.bytes - min(t.hidden, t.bytes) }

const (
	smallRun  = 64 << 10  // runs up to here count as of one size
	together  = 4         // so many runs of about one size become one
	atMost    = 40        // runs
	worthIt   = 256 << 10 // bytes of runs from which dead entries are looked at
	deadShare = 2         // one part in so many of all may be dead
)

// level sorts runs by size: each level is four times the one before.
func level(size int64) int { return (bits.Len64(uint64(size)/smallRun) + 1) / 2 }

// Merge merges some runs into one, if it is worth while, and reports whether it
// did. What is replaced or deleted is left out. Without room for the best merge
// it makes do with a smaller one.
func (s *Store) Merge() (bool, error) {
	s.merging.Lock()
	defer s.merging.Unlock()
	v := s.View()
	defer v.Close()
	var err error
	for _, pick := range []func([]*run) (int, int){wasteful, ofOneSize} {
		from, to := pick(v.v.runs)
		if from == to {
			continue
		}
		if err = s.merge(v, from, to); err == nil || !errors.Is(err, errNoRoom) {
			return err == nil, err
		}
	}
	return false, err
}

// wasteful picks all runs, when too much in them is dead or they are too many.
func wasteful(list []*run) (from, to int) {
	t, size := sumOf(list), int64(0)
	for _, r := range list {
		size += r.size
	}
	dead := t.hides*deadShare >= t.entries-min(t.dead, t.entries) || t.hidden*deadShare >= t.bytes
	if t.hides > 0 && dead && size >= worthIt || len(list) > atMost {
		return 0, len(list)
	}
	return 0, 0
}

// ofOneSize picks neighbours of about one size, the small ones first.
func ofOneSize(list []*run) (from, to int) {
	for top := range 32 {
		for from = 0; from < len(list); from = to + 1 {
			sum, most := int64(0), int64(0)
			for to = from; to < len(list) && level(list[to].size) <= top; to++ {
				sum += list[to].size
				most = max(most, list[to].size)
			}
			if n := to - from; n >= 2*together || n >= together && sum-most >= most/2 {
				return from, to
			}
		}
	}
	return 0, 0
}

var errNoRoom = errors.New("no room on the disk")

// ErrStopped is why a merge did not come to its end.
var ErrStopped = errors.New("stopped")

// merge writes the runs [from, to) of a view as one, and lets it take their
// place.
func (s *Store) merge(v *View, from, to int) error {
	list := v.v.runs
	window, oldest := list[from:to], to == len(list)
	t := sumOf(window)
	need := t.bytes
	if oldest {
		need = t.liveBytes()
	}
	if !s.o.Room(int64(need + need/8)) {
		return fmt.Errorf("merge the shelf: %w", errNoRoom)
	}
	first, last := window[len(window)-1], window[0]
	w, err := create(s.o.Dir, first.lo, last.hi, last.mark, t.entries)
	if err != nil {
		return fmt.Errorf("merge the shelf: %w", err)
	}
	if err := copyLive(w, v, window, t, oldest); err != nil {
		w.abandon()
		return fmt.Errorf("merge the shelf: %w", err)
	}
	for _, x := range window {
		s.keepDamaged(x)
	}
	r, err := w.finish()
	if err != nil {
		return fmt.Errorf("merge the shelf: %w", err)
	}
	s.mu.Lock()
	var next []*run
	for i := 0; i < len(s.now.runs); i++ {
		if s.now.runs[i] == last { // more may have been written meanwhile
			next = append(next, r)
			i += len(window) - 1
			continue
		}
		next = append(next, s.now.runs[i])
	}
	s.installLocked(next)
	s.mu.Unlock()
	for _, x := range window {
		if x.path != r.path {
			err = errors.Join(err, os.Remove(x.path))
		}
	}
	if err != nil {
		return fmt.Errorf("remove what is merged: %w", err)
	}
	return nil
}

// keepDamaged keeps a run in which something could not be read, for a person.
func (s *Store) keepDamaged(r *run) {
	if !r.damaged() {
		return
	}
	kept := r.path + ".damaged"
	if err := os.Link(r.path, kept); err == nil {
		_, _ = s.o.Aside(kept) // without it only what nobody can read is gone
	}
}

// copyLive writes what is left of a window.
func copyLive(w *writer, v *View, window []*run, t sums, oldest bool) error {
	var sources []Source
	for _, x := range window {
		c := v.cursor(x)
		c.seek("")
		sources = append(sources, c)
	}
	j := Join(sources...)
	var e Entry
	w.foot.hides, w.foot.hidden = t.hides, t.hidden
	j.skipped = func(x Source) { // one entry hides one fewer
		if c := x.(*cursor); !c.Dead() {
			w.foot.hides -= min(w.foot.hides, 1)
			w.foot.hidden -= min(w.foot.hidden, uint64(len(c.key)+c.length()))
		}
	}
	for ; j.Valid(); j.Next() {
		select {
		case <-v.s.o.Stop:
			return ErrStopped
		default:
		}
		e = Entry{Key: j.Key(), Dead: j.Dead()}
		if e.Dead && oldest {
			continue
		}
		if !e.Dead {
			value, ok := j.Value()
			if !ok {
				continue
			}
			e.Value = value
		}
		if err := w.add(&e); err != nil {
			return err
		}
	}
	if oldest {
		w.foot.hides, w.foot.hidden = 0, 0
	}
	return nil
}
