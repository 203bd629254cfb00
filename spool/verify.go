package spool

import (
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math"
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
	ID          string   // what is wrong with the file SPOOL, or empty
	State       string   // what is wrong with the state, or empty
	Shelf       []string // what is wrong with the shelf
	Tail        string   // what is wrong with the mark of the log's end, or empty
	Serial      string   // what is wrong with the file that counts the state's commits, or empty
	Aside       []string // folders that were set aside as damaged

	serial  uint64     // commits of the state that it has
	shelved uint64     // writes of the shelf that the state knows of
	next    bridge.Seq // after all that has been seen of the log
	tail    *tailMark
	marked  bool // the state knows that there is one
}

// GenerationReport is what Verify finds in one generation.
type GenerationReport struct {
	Number    uint64
	Commits   int
	Records   int
	Damaged   int    // commits with damaged frames
	Cut       bool   // its last commit was under way when the power went: nobody was told of it, and it is no damage
	Unindexed int    // commits that the index has lost: opening or repair finds them again
	Index     string // why the index cannot be read, or empty
	Clean     bool   // it was closed in order
}

// SeqGap is a range of sequences [From, To) for which there is no commit.
type SeqGap struct{ From, To bridge.Seq }

// Sound reports whether nothing is damaged. What only a kill explains (an
// index that lags behind) is no damage.
func (r *Report) Sound() bool {
	if r.ID != "" || r.State != "" || r.Tail != "" || r.Serial != "" || len(r.Shelf) > 0 || len(r.Gaps) > 0 || len(r.Aside) > 0 {
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
	lock, running, err := lockToRead(dir)
	if err != nil {
		return nil, err
	}
	defer func() { _ = lock.Close() }() // of nil it does nothing
	r.Running = running
	s := &Spool{opts: Options{Dir: dir}, sizes: defaultSizes(), deps: Deps{Log: slog.New(slog.DiscardHandler), Health: new(bridge.Health)}}
	r.Aside, _ = filepath.Glob(filepath.Join(dir, "damaged", "*"))
	dirs, err := s.logDirs()
	if err != nil {
		return nil, fmt.Errorf("verify: %w", err)
	}
	known := r.verifyState(s, len(dirs) > 0)
	if err := r.verifyShelf(s); err != nil {
		return nil, err
	}
	if !s.readID(dirs) {
		r.ID = "it cannot be read; the log has what it said"
	}
	if r.tail, err = readTail(dir, s.id); err != nil {
		r.Tail = firstLine(err)
	} else if r.tail == nil && r.marked {
		r.Tail = "it is not there"
	}
	all := slices.Compact(slices.Sorted(slices.Values(slices.AppendSeq(slices.Clone(dirs), maps.Keys(known)))))
	for i, n := range all {
		if progress != nil {
			progress(i, len(all))
		}
		m := known[n]
		if m != nil && (m.gone || !slices.Contains(dirs, n)) {
			if !m.gone {
				r.miss(m.first, m.end)
			}
			if !m.gone || r.next > 0 { // otherwise nothing is before it, and others may be forgotten that were behind it
				r.next = max(r.next, m.end)
			}
			continue
		}
		if err := r.verifyGeneration(s, n, m, r.Running && i == len(all)-1); err != nil {
			return nil, err
		}
	}
	if t := r.tail; t != nil && !r.Running {
		if r.next == 0 {
			r.next = t.first
		}
		r.miss(r.next, t.end)
	}
	return r, nil
}

// miss notes that there are no commits for a range of sequences.
func (r *Report) miss(from, to bridge.Seq) {
	if from < to {
		r.Gaps = append(r.Gaps, SeqGap{from, to})
	}
}

// verifyState reads the state without changing it. log says that there are
// generations: then every start has written to it.
func (r *Report) verifyState(s *Spool, log bool) map[uint64]*generationMeta {
	known := map[uint64]*generationMeta{}
	if r.Running {
		return known
	}
	// Badger cannot read what a kill has left without writing: read a copy.
	tmp, err := os.MkdirTemp("", "ebbgate-verify-*")
	if err == nil {
		defer func() { _ = os.RemoveAll(tmp) }()
		err = os.CopyFS(filepath.Join(tmp, "state"), os.DirFS(filepath.Join(s.opts.Dir, "state")))
	}
	if err != nil {
		r.State = err.Error()
		return known
	}
	db, err := openBadger(stateOptions(filepath.Join(tmp, "state"), s.deps.Log))
	if err != nil {
		r.State = firstLine(err)
		return known
	}
	begun := false
	err = scanPrefix(db, "", func(k, v []byte) bool {
		var n uint64
		begun = begun || string(k) == keyNewest
		r.marked = r.marked || string(k) == keyMarked
		if _, err := fmt.Sscanf(string(k), keyGeneration+"%016x", &n); err == nil {
			m, err := decodeMeta(v)
			if err != nil {
				r.State = fmt.Sprintf("entry of generation %x: %v", n, err)
				return true
			}
			known[n] = m
		}
		if string(k) == keySerial {
			r.serial = uint64(counter(v))
		}
		if string(k) == keyShelf && len(v) == 16 {
			r.shelved = binary.BigEndian.Uint64(v)
		}
		return true
	})
	if err = errors.Join(err, closeBadger(db)); err == nil && !begun && log {
		err = errors.New("what it held is not there")
	}
	if err != nil && r.State == "" {
		r.State = firstLine(err)
	}
	r.verifySerial(s.opts.Dir)
	return known
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

// readID finds the spool's id without writing anything. It reports whether it is
// in its file, or nowhere.
func (s *Spool) readID(dirs []uint64) bool {
	id, ok := readIDFile(s.opts.Dir)
	if ok {
		s.id = id
		return true
	}
	for _, n := range dirs {
		if id, ok = spoolIDIn(s.generationDir(n)); ok {
			s.id = id
			break
		}
	}
	return !ok
}

// verifyGeneration reads a generation. meta is what the state says of it, nil
// when it was not closed; one that is active is still being written.
func (r *Report) verifyGeneration(s *Spool, n uint64, meta *generationMeta, active bool) error {
	raw, err := scanRaw(s.generationDir(n), s.id)
	if err != nil {
		return err
	}
	end := bridge.Seq(math.MaxUint64)
	switch {
	case meta != nil:
		end = meta.end
		if r.next > 0 {
			r.miss(r.next, meta.first)
		}
		r.next = max(r.next, meta.first)
	case r.next == 0 && r.tail != nil && r.tail.generation == n:
		r.next = r.tail.first
	}
	for key, c := range raw {
		if c.header.generation != n || key >= end { // refused: its sequence is another's
			delete(raw, key)
		}
	}
	g := GenerationReport{Number: n, Clean: meta != nil}
	keys := slices.Sorted(maps.Keys(raw))
	condensed := meta != nil && meta.condensed
	for i, key := range keys {
		c := raw[key]
		g.Commits++
		g.Records += int(c.header.records)
		switch {
		case c.whole:
		case meta == nil && i == len(keys)-1 && r.tail != nil && key >= r.tail.end:
			g.Cut = true
		default:
			g.Damaged++
		}
		if r.next > 0 && !condensed {
			r.miss(r.next, key)
		}
		r.next = max(r.next, c.header.next())
	}
	if meta != nil {
		if !condensed {
			r.miss(r.next, meta.end)
		}
		r.next = max(r.next, meta.end)
	}
	if !active && meta != nil { // otherwise its index is not written through yet
		r.verifyIndex(s, &g, condensed, raw)
	}
	r.Generations = append(r.Generations, g)
	return nil
}

// verifyIndex compares the index of a closed generation with its raw files. Of a
// condensed one only the index says what should be there.
func (r *Report) verifyIndex(s *Spool, g *GenerationReport, condensed bool, raw map[bridge.Seq]rawCommit) {
	db, err := openBadger(genOptions(s.generationDir(g.Number), s.sizes, true, s.deps.Log))
	if err != nil {
		g.Index = firstLine(err)
		return
	}
	keys, err := listKeys(db)
	for _, key := range keys {
		if _, ok := raw[key]; !ok && condensed {
			r.miss(key, key+1)
		}
	}
	for key, c := range raw {
		if !s.readable(db, key, c) {
			g.Unindexed++
		}
	}
	if err = errors.Join(err, closeBadger(db)); err != nil {
		g.Index = firstLine(err)
	}
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
		for k, c := range raw {
			lacking = lacking || !s.readable(g.db, k, c)
		}
		err = closeBadger(g.db)
		g.db, g.keys = nil, nil
	}
	if err != nil || !lacking {
		return false, err
	}
	g.extra, g.salvaged = nil, false
	if err := s.reindex(g.dir, raw); err != nil {
		return true, s.rebuildDir(g.n, raw, true)
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
