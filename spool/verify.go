package spool

import (
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"

	"github.com/ebbgate/ebbgate/bridge"
	"github.com/ebbgate/ebbgate/spool/runs"
)

// Report is what [Verify] finds.
type Report struct {
	Running     bool // a gateway holds the folder: its state and newest generation were left alone
	Generations []GenerationReport
	Gaps        []SeqGap // sequences missing between and inside generations
	State       string   // what is wrong with the state, or empty
	Shelf       []string // what is wrong with the shelf
	Aside       []string // folders that were set aside as damaged

	shelved uint64 // writes of the shelf that the state knows of
}

// GenerationReport is what Verify finds in one generation.
type GenerationReport struct {
	Number    uint64
	Commits   int
	Records   int
	Damaged   int    // commits with damaged frames
	Unindexed int    // commits that the index has lost: opening or repair finds them again
	Index     string // why the index cannot be read, or empty
	Clean     bool   // it was closed in order
}

// SeqGap is a range of sequences [From, To) for which there is no commit.
type SeqGap struct{ From, To bridge.Seq }

// Sound reports whether nothing is damaged. What only a kill explains (an
// index that lags behind) is no damage.
func (r *Report) Sound() bool {
	if r.State != "" || len(r.Shelf) > 0 || len(r.Gaps) > 0 || len(r.Aside) > 0 {
		return false
	}
	for _, g := range r.Generations {
		if g.Damaged > 0 || g.Clean && (g.Unindexed > 0 || g.Index != "") {
			return false
		}
	}
	return true
}

// Verify reads everything in a spool's folder and changes nothing. It may run
// beside a gateway. progress, when not nil, is told each generation as it is
// read.
func Verify(dir string, progress func(done, all int)) (*Report, error) {
	if _, err := os.Stat(filepath.Join(dir, "log")); err != nil {
		return nil, fmt.Errorf("no spool in %s: %w", dir, err)
	}
	r := new(Report)
	lock, err := lockDir(dir)
	switch {
	case err == nil:
		defer func() { _ = lock.Close() }()
	case bridge.KindOf(err) == bridge.Unavailable:
		r.Running = true
	default:
		return nil, err
	}
	s := &Spool{opts: Options{Dir: dir}, sizes: defaultSizes(), deps: Deps{Log: slog.New(slog.DiscardHandler), Health: new(bridge.Health)}}
	r.Aside, _ = filepath.Glob(filepath.Join(dir, "damaged", "*"))
	dirs, err := s.logDirs()
	if err != nil {
		return nil, fmt.Errorf("verify: %w", err)
	}
	known, gone := r.verifyState(s)
	if err := r.verifyShelf(s); err != nil {
		return nil, err
	}
	s.readID(dirs)
	next := bridge.Seq(0)
	for i, n := range dirs {
		if progress != nil {
			progress(i, len(dirs))
		}
		if gone[n] {
			continue
		}
		newest := i == len(dirs)-1
		condensed := known[n] != nil && known[n].condensed
		g, err := s.verifyGeneration(n, known[n], r.Running && newest, func(first, end bridge.Seq) {
			if next > 0 && first > next && !condensed {
				r.Gaps = append(r.Gaps, SeqGap{next, first})
			}
			next = max(next, end)
		})
		if err != nil {
			return nil, err
		}
		if m := known[n]; m != nil && m.end > next && m.end > m.first {
			if !condensed {
				r.Gaps = append(r.Gaps, SeqGap{max(next, m.first), m.end})
			}
			next = m.end
		}
		r.Generations = append(r.Generations, g)
	}
	for n, m := range known {
		if !m.gone && !slices.Contains(dirs, n) {
			r.Gaps = append(r.Gaps, SeqGap{m.first, m.end})
		}
	}
	return r, nil
}

// verifyState reads the state without changing it.
func (r *Report) verifyState(s *Spool) (known map[uint64]*generationMeta, gone map[uint64]bool) {
	known, gone = map[uint64]*generationMeta{}, map[uint64]bool{}
	if r.Running {
		return known, gone
	}
	// Badger cannot read what a kill has left without writing: read a copy.
	tmp, err := os.MkdirTemp("", "ebbgate-verify-*")
	if err == nil {
		defer func() { _ = os.RemoveAll(tmp) }()
		err = os.CopyFS(filepath.Join(tmp, "state"), os.DirFS(filepath.Join(s.opts.Dir, "state")))
	}
	if err != nil {
		r.State = err.Error()
		return known, gone
	}
	db, err := openBadger(stateOptions(filepath.Join(tmp, "state"), s.deps.Log))
	if err != nil {
		r.State = firstLine(err)
		return known, gone
	}
	err = scanPrefix(db, "", func(k, v []byte) bool {
		var n uint64
		if _, err := fmt.Sscanf(string(k), keyGeneration+"%016x", &n); err == nil {
			m, err := decodeMeta(v)
			if err != nil {
				r.State = fmt.Sprintf("entry of generation %x: %v", n, err)
				return true
			}
			known[n], gone[n] = m, m.gone
		}
		if string(k) == keyShelf && len(v) == 16 {
			r.shelved = binary.BigEndian.Uint64(v)
		}
		return true
	})
	if err = errors.Join(err, closeBadger(db)); err != nil && r.State == "" {
		r.State = firstLine(err)
	}
	return known, gone
}

// verifyShelf reads the shelf.
func (r *Report) verifyShelf(s *Spool) error {
	dir := s.shelfDir()
	if fi, err := os.Stat(dir); err == nil && !fi.IsDir() {
		r.Shelf = append(r.Shelf, dir+" is no folder")
		return nil
	}
	c, err := runs.Verify(dir)
	if err != nil {
		return err
	}
	r.Shelf = c.Wrong
	if r.shelved > c.Writes {
		r.Shelf = append(r.Shelf, fmt.Sprintf("its newest file is missing (%d to %d)", c.Writes+1, r.shelved))
	}
	return nil
}

// readID finds the spool's id without writing anything.
func (s *Spool) readID(dirs []uint64) {
	if id, ok := readIDFile(s.opts.Dir); ok {
		s.id = id
		return
	}
	for _, n := range dirs {
		if id, ok := spoolIDIn(s.generationDir(n)); ok {
			s.id = id
			return
		}
	}
}

func (s *Spool) verifyGeneration(n uint64, meta *generationMeta, active bool, seen func(first, end bridge.Seq)) (GenerationReport, error) {
	g := GenerationReport{Number: n, Clean: meta != nil}
	raw, err := scanRaw(s.generationDir(n), s.id)
	if err != nil {
		return g, err
	}
	keys := slices.Sorted(maps.Keys(raw))
	for _, k := range keys {
		c := raw[k]
		if c.header.generation != n {
			continue
		}
		g.Commits++
		g.Records += int(c.header.records)
		if !c.whole {
			g.Damaged++
		}
		seen(k, c.header.next())
	}
	if active || meta == nil {
		return g, nil // its index is not written through yet
	}
	db, err := openBadger(genOptions(s.generationDir(n), s.sizes, true, s.deps.Log))
	if err != nil {
		g.Index = firstLine(err)
		return g, nil
	}
	for _, k := range keys {
		if !s.readable(db, k) {
			g.Unindexed++
		}
	}
	if err := closeBadger(db); err != nil {
		g.Index = firstLine(err)
	}
	return g, nil
}

// Repair makes the index of every closed generation whole again from its value
// log, and writes files of the shelf anew in which something cannot be read. The
// spool must be open; what cannot be read is set aside, as at open. It returns
// how many generations and files it rebuilt.
func (s *Spool) Repair(progress func(done, all int)) (rebuilt int, err error) {
	s.mu.Lock()
	gens := slices.Clone(s.gens)
	s.mu.Unlock()
	for i, g := range gens {
		if progress != nil {
			progress(i, len(gens))
		}
		s.mu.Lock()
		skip := g.active || g.gone
		s.mu.Unlock()
		if skip {
			continue
		}
		ok, err := s.repair(g)
		if err != nil {
			return rebuilt, err
		}
		if ok {
			rebuilt++
		}
	}
	n, err := s.shelf.store.Repair()
	if rebuilt += n; err != nil {
		return rebuilt, err
	}
	// Reading every queue to its end reports and gives up what is missing.
	for _, q := range s.Queues() {
		if err := s.readThrough(q); err != nil {
			return rebuilt, err
		}
	}
	return rebuilt, nil
}

// repair makes the index of one generation whole, unless a cursor is in it.
func (s *Spool) repair(g *generation) (bool, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.users > 0 || g.db != nil {
		return false, nil
	}
	raw, err := s.rawOf(g)
	if err != nil {
		return false, err
	}
	lacking := false
	if err = s.reopen(g); err == nil {
		for k := range raw {
			lacking = lacking || !s.readable(g.db, k)
		}
		err = closeBadger(g.db)
		g.db, g.keys = nil, nil
	}
	if err != nil || !lacking {
		return false, err
	}
	g.extra, g.salvaged = nil, false
	if err := s.reindex(g.dir, raw); err != nil {
		return true, s.rebuildDir(g.n, raw)
	}
	return true, nil
}

func (s *Spool) readThrough(queue string) error {
	c := s.Cursor(queue)
	defer c.Close()
	for {
		r, err := c.Next()
		if err != nil || r == nil {
			return err
		}
	}
}
