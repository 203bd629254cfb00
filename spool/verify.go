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
	"strings"

	"github.com/ebbgate/ebbgate/bridge"
	"github.com/ebbgate/ebbgate/spool/runs"
)

// Report is what [Verify] finds.
type Report struct {
	Running     bool // a gateway holds the folder: its state and newest generation were left alone
	Generations []GenerationReport
	Gaps        []SeqGap  // sequences missing between and inside generations: what they changed of the state and the shelf may be lost
	Missing     []Missing // records of the queues that are neither there nor released; unknown beside a gateway
	ID          string    // what is wrong with the file SPOOL, or empty
	State       string    // what is wrong with the state, or empty
	Shelf       []string  // what is wrong with the shelf
	Tail        string    // what is wrong with the mark of the log's end, or empty
	Serial      string    // what is wrong with the file that counts the state's commits, or empty
	Aside       []string  // folders and files that were set aside as damaged; nothing needs them
	Found       []string  // what commands have found and dealt with, which the next start of a gateway tells

	serial  uint64     // commits of the state that it has
	shelved uint64     // writes of the shelf that the state knows of
	next    bridge.Seq // after all that has been seen of the log
	tail    *tailMark
	marked  bool // the state knows that there is one
	account account
}

// GenerationReport is what Verify finds in one generation.
type GenerationReport struct {
	Number    uint64
	Commits   int
	Records   int    // that can be read
	Damaged   int    // commits with damaged frames
	Settled   bool   // nothing else is in them that is still needed: what is missing of the queues is told apart
	Cut       bool   // its last commit was under way when the power went: nobody was told of it, and it is no damage
	Unindexed int    // commits that the index has lost: opening or repair finds them again
	Index     string // why the index cannot be read, or empty
	Clean     bool   // it was closed in order
}

// SeqGap is a range of sequences [From, To) for which there is no commit.
type SeqGap struct{ From, To bridge.Seq }

// Sound reports whether nothing is damaged. What only a kill explains (an
// index that lags behind) is no damage, nor is what was dealt with earlier.
func (r *Report) Sound() bool {
	if r.ID != "" || r.State != "" || r.Tail != "" || r.Serial != "" || len(r.Shelf) > 0 || len(r.Gaps) > 0 || len(r.Missing) > 0 {
		return false
	}
	for _, g := range r.Generations {
		if g.Damaged > 0 && !g.Settled || g.Clean && (g.Unindexed > 0 || g.Index != "") {
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
	defer func() { _ = release(lock) }()
	r.Running = running
	s := &Spool{opts: Options{Dir: dir}, sizes: defaultSizes(), deps: Deps{Log: slog.New(slog.DiscardHandler), Health: new(bridge.Health)}}
	r.Found = readFound(dir)
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
			r.account.ended(m.finish)
			if !m.gone || r.next > 0 { // otherwise nothing is before it, and others may be forgotten that were behind it
				r.next = max(r.next, m.end)
			}
			continue
		}
		bound := bridge.Seq(math.MaxUint64)
		if first := s.firstAfter(all[i+1:], known); m == nil && first > 0 {
			bound = first
		}
		if err := r.verifyGeneration(s, n, m, bound, r.Running && i == len(all)-1); err != nil {
			return nil, err
		}
	}
	if t := r.tail; t != nil && !r.Running {
		if r.next == 0 {
			r.next = t.first
		}
		r.miss(r.next, t.end)
		r.account.marked(t)
	}
	if !r.Running {
		r.Missing = r.account.missing()
	}
	return r, nil
}

// miss notes that there are no commits for a range of sequences, unless a start has
// told it.
func (r *Report) miss(from, to bridge.Seq) {
	if from = max(from, r.account.told); from < to {
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
	r.account.unguided = log
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
	told, err := mendState(filepath.Join(tmp, "state"), serialOf(s.opts.Dir))
	if err == nil && told != "" {
		r.State = "it " + told
	} else if err != nil {
		r.State = firstLine(err)
	}
	db, err := openBadger(stateOptions(filepath.Join(tmp, "state"), s.deps.Log))
	if err != nil {
		r.State = firstLine(err)
		return known
	}
	begun := false
	err = scanPrefix(db, "", func(k, v []byte) bool {
		begun = begun || string(k) == keyNewest
		r.learn(known, string(k), v)
		return true
	})
	r.account.unguided = log && !begun
	if err = errors.Join(err, closeBadger(db)); err == nil && !begun && log {
		err = errors.New("what it held is not there")
	}
	if err != nil && r.State == "" {
		r.State = firstLine(err)
	}
	r.verifySerial(s.opts.Dir)
	return known
}

// learn takes over one entry of the state.
func (r *Report) learn(known map[uint64]*generationMeta, key string, v []byte) {
	var n uint64
	if _, err := fmt.Sscanf(key, keyGeneration+"%016x", &n); err == nil {
		m, err := decodeMeta(v)
		if err != nil {
			r.State = fmt.Sprintf("entry of generation %x: %v", n, err)
			return
		}
		known[n] = m
	}
	if queue, ok := strings.CutPrefix(key, keyQueue); ok {
		done, err := decodeReleases(v)
		if err != nil {
			r.State = fmt.Sprintf("entry of queue %s: %v", queue, err)
			return
		}
		r.account.released(queue, done)
	}
	switch key {
	case keyMarked:
		r.marked = true
	case keySerial:
		r.serial = numberIn(v)
	case keyApplied:
		r.account.applied = uint64(counter(v))
	case keyTold:
		r.account.told = bridge.Seq(counter(v))
	case keyShelf:
		if len(v) == 16 {
			r.shelved, r.account.shelved = binary.BigEndian.Uint64(v), binary.BigEndian.Uint64(v[8:])
		}
	}
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
// when it was not closed: then it ends before bound. One that is active is still
// being written.
func (r *Report) verifyGeneration(s *Spool, n uint64, meta *generationMeta, bound bridge.Seq, active bool) error {
	raw, err := scanRaw(s.generationDir(n), s.id)
	if err != nil {
		return err
	}
	if meta == nil { // a recovery may have been interrupted
		kept, err := scanRaw(s.generationDir(n)+keptSuffix, s.id)
		if err != nil {
			return err
		}
		for _, c := range kept {
			found(raw, c)
		}
	}
	end := bound
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
	g := GenerationReport{Number: n, Clean: meta != nil, Settled: r.account.settled(meta)}
	keys := slices.Sorted(maps.Keys(raw))
	condensed := meta != nil && meta.condensed
	var cut bridge.Seq
	for i, key := range keys {
		c := raw[key]
		g.Commits++
		switch {
		case c.whole:
		case meta == nil && i == len(keys)-1 && r.tail != nil && key >= r.tail.end:
			g.Cut, cut = true, key
		default:
			g.Damaged++
		}
		if r.next > 0 && !condensed && !g.Settled {
			r.miss(r.next, key)
		}
		r.next = max(r.next, c.header.next())
	}
	if meta != nil {
		if !condensed && !g.Settled {
			r.miss(r.next, meta.end)
		}
		r.account.ended(meta.finish)
		r.next = max(r.next, meta.end)
	}
	g.Records = r.account.read(keys, raw, cut)
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
