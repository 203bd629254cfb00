package runs

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
)

// Options configure a store.
type Options struct {
	Dir    string
	Damage func(text string)                      // is told of damage that has been dealt with
	Aside  func(path string) (to string, _ error) // moves a damaged file out of the way
	Room   func(size int64) bool                  // whether a merge may write so much
	Stop   <-chan struct{}                        // ends a merge that is under way
}

// Store is a folder of runs. Reading may be concurrent with everything; writing
// is for one goroutine, and so is merging.
type Store struct {
	o Options

	mu  sync.Mutex
	now *version

	merging sync.Mutex // held by Merge and Repair
}

// version is a set of runs that is there at one moment, the newest first.
type version struct {
	runs  []*run
	users int // guarded by Store.mu; the store itself is one while it is current
}

// Open opens a folder, making it when it is not there. A run that cannot be
// opened is set aside and reported; the others are used.
func Open(o Options) (*Store, error) {
	if _, err := os.Stat(o.Dir); err != nil {
		if err := errors.Join(os.MkdirAll(o.Dir, 0o700), syncDir(filepath.Dir(o.Dir))); err != nil {
			return nil, fmt.Errorf("shelf: %w", err)
		}
	}
	s := &Store{o: o, now: &version{users: 1}}
	names, err := s.list()
	if err != nil {
		return nil, fmt.Errorf("shelf: %w", err)
	}
	var end uint64 // of the writes that are there
	var found []*run
	for _, n := range names {
		if n.hi <= end { // a merge that was interrupted before it removed what it had merged
			if err := os.Remove(n.path); err != nil {
				return nil, fmt.Errorf("shelf: %w", err)
			}
			continue
		}
		r, err := openRun(n.path)
		if err == nil && (r.lo != n.lo || r.hi != n.hi || n.lo <= end) {
			err = errors.Join(errors.New("it is not what its name says"), r.f.Close())
		}
		if err != nil {
			if err := s.setAside(n.path, err); err != nil {
				return nil, fmt.Errorf("shelf: %w", err)
			}
			continue
		}
		s.lookAtFilter(r)
		if r.lo > end+1 {
			o.Damage(fmt.Sprintf("a file of the shelf is missing (%d to %d): what it held of sessions, their messages, retained messages and files on their way is lost", end+1, r.lo-1))
			if fill := s.fill(end+1, r.lo-1, found); fill != nil {
				found = append(found, fill)
			}
		}
		end = r.hi
		found = append(found, r)
	}
	slices.Reverse(found)
	s.install(found)
	return s, nil
}

// lookAtFilter reports a filter that cannot be read; the run does without.
func (s *Store) lookAtFilter(r *run) {
	if len(r.filter) == 0 && r.firstReport(int64(r.footer.filter)) {
		s.o.Damage(fmt.Sprintf("the filter of %s of the shelf cannot be read: nothing is lost, reading is slower until it is written anew", filepath.Base(r.path)))
	}
}

// fill writes an empty run in the place of a missing one, so that it is reported
// once. Without room for it, it is reported again.
func (s *Store) fill(lo, hi uint64, before []*run) *run {
	mark := uint64(0)
	if len(before) > 0 {
		mark = before[len(before)-1].mark
	}
	w, err := create(s.o.Dir, lo, hi, mark, 0)
	if err != nil {
		return nil
	}
	r, err := w.finish()
	if err != nil {
		return nil
	}
	return r
}

func (s *Store) setAside(path string, cause error) error {
	to, err := s.o.Aside(path)
	if err == nil {
		s.o.Damage(fmt.Sprintf("a file of the shelf could not be read (%v) and is kept as %s", cause, to))
	}
	return err
}

type runName struct {
	path   string
	lo, hi uint64
}

// list lists the runs by where they begin, the longer first, and removes what is
// unfinished.
func (s *Store) list() ([]runName, error) {
	entries, err := os.ReadDir(s.o.Dir)
	if err != nil {
		return nil, err
	}
	var out []runName
	for _, e := range entries {
		path := filepath.Join(s.o.Dir, e.Name())
		if strings.HasSuffix(e.Name(), unfinished) {
			if err := os.Remove(path); err != nil {
				return nil, err
			}
			continue
		}
		if n, ok := parseName(path); ok {
			out = append(out, n)
		}
	}
	sortNames(out)
	return out, nil
}

func sortNames(out []runName) {
	slices.SortFunc(out, func(a, b runName) int {
		if a.lo != b.lo {
			return int(min(max(int64(a.lo)-int64(b.lo), -1), 1))
		}
		return int(min(max(int64(b.hi)-int64(a.hi), -1), 1))
	})
}

func parseName(path string) (runName, bool) {
	n := runName{path: path}
	base := filepath.Base(path)
	if len(base) != 33+len(suffix) || !strings.HasSuffix(base, suffix) {
		return n, false
	}
	_, err := fmt.Sscanf(base, "%016x-%016x"+suffix, &n.lo, &n.hi)
	return n, err == nil && n.lo > 0 && n.lo <= n.hi
}

// install makes a set of runs the current one.
func (s *Store) install(list []*run) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.installLocked(list)
}

func (s *Store) installLocked(list []*run) {
	for _, r := range list {
		r.users++
	}
	old := s.now
	s.now = &version{runs: list, users: 1}
	s.leaveLocked(old)
}

func (s *Store) leaveLocked(v *version) {
	if v.users--; v.users > 0 {
		return
	}
	for _, r := range v.runs {
		if r.users--; r.users == 0 {
			_ = r.f.Close()
		}
	}
}

// View is the content of a store at one moment. It must be closed.
type View struct {
	s *Store
	v *version
}

// View takes what is there now.
func (s *Store) View() *View {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.now.users++
	return &View{s, s.now}
}

// Close gives the view back.
func (v *View) Close() {
	v.s.mu.Lock()
	defer v.s.mu.Unlock()
	v.s.leaveLocked(v.v)
}

// MayHold reports whether a key may be there; most keys that are not, it knows,
// without reading.
func (s *Store) MayHold(key string) bool {
	s.mu.Lock()
	list := s.now.runs
	s.mu.Unlock()
	if len(list) == 0 {
		return false
	}
	h := hash(key)
	for _, r := range list { // they are immutable, and what is in memory stays
		if r.filter.may(h) {
			return true
		}
	}
	return false
}

// ErrDamaged says that a value cannot be read, or the place where its key would
// be: it may have been there.
var ErrDamaged = errors.New("damaged on the disk")

// Get finds a key. The value is the caller's; without one it is nil.
func (v *View) Get(key string) ([]byte, error) {
	if len(v.v.runs) == 0 {
		return nil, nil
	}
	c, ok := v.find(key, nil)
	if !ok {
		return nil, v.unreadable(key)
	}
	if c.Dead() {
		return nil, nil
	}
	value, ok := c.Value()
	if !ok {
		return nil, ErrDamaged
	}
	return append([]byte{}, value...), nil
}

// unreadable is [ErrDamaged] when a block cannot be read that would have the key.
func (v *View) unreadable(key string) error {
	h := hash(key)
	for _, r := range v.v.runs {
		if i := r.find(key); i < len(r.index) && r.filter.may(h) {
			x := r.index[i]
			if _, err := r.block(x.off, make([]byte, blockHeader+x.size)); err != nil {
				return ErrDamaged
			}
		}
	}
	return nil
}

// find finds the newest entry of a key. cursors, one for each run or none, are
// used again: keys that are asked for in order are often in one block.
func (v *View) find(key string, cursors []*cursor) (*cursor, bool) {
	h := hash(key)
	for i, r := range v.v.runs {
		if !r.filter.may(h) {
			continue
		}
		var c *cursor
		if cursors == nil {
			c = v.cursor(r)
		} else {
			if cursors[i] == nil {
				cursors[i] = v.cursor(r)
			}
			c = cursors[i]
		}
		c.seek(key)
		if c.ok && string(c.key) == key {
			return c, true
		}
	}
	return nil, false
}

func (v *View) cursor(r *run) *cursor { return &cursor{r: r, report: v.s.report} }

func (s *Store) report(r *run, off int64, text string) {
	if r.firstReport(off) {
		s.o.Damage(fmt.Sprintf("in %s of the shelf, %s cannot be read: what it held of sessions, their messages, retained messages and files on their way is lost", filepath.Base(r.path), text))
	}
}

// Seek returns the entries from a key on, deletions included: one source for
// each run, the newest first, to be given to [Join].
func (v *View) Seek(key string) []Source {
	out := make([]Source, 0, len(v.v.runs)+2)
	for _, r := range v.v.runs {
		c := v.cursor(r)
		c.seek(key)
		out = append(out, c)
	}
	return out
}

// Mark is the log's position that the newest run was written with, and how many
// writes there have been.
func (s *Store) Mark() (mark, writes uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.now.runs) == 0 {
		return 0, 0
	}
	return s.now.runs[0].mark, s.now.runs[0].hi
}

// Stats is what a store holds.
type Stats struct {
	Runs    int
	Entries uint64 // live ones
	Bytes   int64  // on the disk
}

// Stats adds up what the runs say.
func (s *Store) Stats() (t Stats) {
	s.mu.Lock()
	defer s.mu.Unlock()
	sum := sumOf(s.now.runs)
	for _, r := range s.now.runs {
		t.Runs++
		t.Bytes += r.size
	}
	t.Entries = sum.live()
	return t
}

// Close closes the store. Views are closed by their owners.
func (s *Store) Close() error {
	s.install(nil)
	return nil
}
