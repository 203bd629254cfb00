package spool

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"path/filepath"
	"time"

	"github.com/dgraph-io/badger/v4"

	"github.com/ebbgate/ebbgate/bridge"
	"github.com/ebbgate/ebbgate/spool/runs"
)

const (
	forgetAfter   = time.Second      // what is forgotten is in the log after this at the latest
	mostForgotten = 64 << 10         // keys: more are not kept in memory, but written
	slowTrays     = 2                // of memory, from where commits wait for the disk
	slowMost      = time.Second      // so long
	mostTrays     = 4                // of memory, while the disk takes nothing
	shelveAgain   = time.Second      // after an error
	mergeAgain    = 10 * time.Second // after an error
)

func (s *Spool) shelfDir() string { return filepath.Join(s.opts.Dir, "shelf") }

// openShelf opens the shelf; the log's replay then adds what it lacks. What
// cannot be opened is set aside.
func (s *Spool) openShelf() error {
	dir := s.shelfDir()
	o := runs.Options{
		Dir: dir, Damage: s.damage, Stop: s.gone,
		Aside: func(path string) (string, error) { return s.setAside(path, filepath.Base(path)) },
		Room: func(size int64) bool {
			free, err := freeBytes(s.opts.Dir)
			return err == nil && free-size > int64(s.opts.Headroom)/2
		},
	}
	store, err := runs.Open(o)
	if err != nil {
		aside, moveErr := s.setAside(dir, "shelf")
		if moveErr != nil {
			return errors.Join(err, moveErr)
		}
		s.damage(fmt.Sprintf("the shelf could not be read (%v) and is kept as %s: sessions, their messages, retained messages and files on their way are what the log still has of them", firstLine(err), aside))
		if store, err = runs.Open(o); err != nil {
			return err
		}
	}
	s.shelf.store = store
	if err := s.matchShelf(); err != nil {
		return errors.Join(err, store.Close())
	}
	return nil
}

// matchShelf compares the shelf with what the state says of it.
func (s *Spool) matchShelf() error {
	mark, writes := s.shelf.store.Mark()
	var said []byte
	err := s.state.View(func(txn *badger.Txn) (err error) {
		said, err = getValue(txn, []byte(keyShelf))
		return err
	})
	if err != nil {
		return err
	}
	if len(said) == 16 {
		if n := binary.BigEndian.Uint64(said); n > writes {
			s.damage(fmt.Sprintf("the newest of the shelf is missing (%d to %d): what the log does not have any more of sessions, their messages, retained messages and files on their way is lost", writes+1, n))
			if err := s.noteShelf(writes, mark); err != nil {
				return err
			}
		} else {
			mark = max(mark, binary.BigEndian.Uint64(said[8:]))
		}
	}
	s.shelf.mark.Store(mark)
	s.shelf.last = bridge.Seq(mark)
	return nil
}

// noteShelf writes to the state what is on the shelf: how many writes there have
// been, and up to which commit it has what the log has.
func (s *Spool) noteShelf(writes, mark uint64) error {
	v := binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(nil, writes), mark)
	return s.updateState(func(txn *stateTxn) error { return txn.Set([]byte(keyShelf), v) })
}

// takeOver puts on the shelf what a commit of the log carries for it, if it is
// not there yet, and returns what it carries for the state, nil for nothing.
func (s *Spool) takeOver(key bridge.Seq, c rawCommit) (state *bridge.Batch, shelved bool) {
	b := opsIn(c)
	if b == nil {
		return nil, false
	}
	sh := s.shelf
	sh.mu.Lock()
	for _, p := range b.Puts {
		if !bridge.OnShelf(p.Namespace) {
			continue
		}
		shelved = true
		if uint64(key) > sh.mark.Load() {
			sh.putLocked(p, 0)
		}
	}
	if shelved && uint64(key) > sh.mark.Load() {
		sh.changedLocked(key)
	}
	large := sh.active.size > sh.sizes.tray
	sh.mu.Unlock()
	if large && !sh.failing.Load() {
		if err := s.flushShelf(); err != nil { // then in memory: a start on a full disk only reads
			sh.failing.Store(true)
			s.deps.Log.Warn("spool: the shelf cannot be written at the start", "error", err)
		}
	}
	if b.Puts = statePuts(b.Puts); b.Empty() {
		return nil, shelved
	}
	return b, shelved
}

// lookForLostChanges reports a commit that the shelf has not taken over yet, and
// of which the changes that it carries cannot be read, or its end.
func (s *Spool) lookForLostChanges(key bridge.Seq, c rawCommit) {
	if c.whole || uint64(key) <= s.shelf.mark.Load() {
		return
	}
	lost := false
	walked := eachFrame(c.header.framesOf(c.value), func(kind byte, body []byte) bool {
		lost = lost || kind != frameRecord && body == nil
		return true
	})
	if lost || !walked {
		s.damage(fmt.Sprintf("commit %d of the log is damaged: what it changed of sessions, their messages, retained messages and files on their way may be lost", key))
	}
}

// flushShelf writes what is in memory to the shelf's folder.
func (s *Spool) flushShelf() error {
	sh := s.shelf
	sh.flushing.Lock()
	defer sh.flushing.Unlock()
	t, upTo := sh.freeze()
	if t.n > 0 {
		if err := sh.store.Write(uint64(upTo), uint64(t.n), t.entries()); err != nil {
			return err
		}
	}
	_, writes := sh.store.Mark()
	if err := s.noteShelf(writes, uint64(upTo)); err != nil && t.n == 0 {
		return fmt.Errorf("note what is on the shelf: %w", err) // otherwise the run says it
	}
	sh.written()
	select {
	case sh.merge <- struct{}{}:
	default:
	}
	return nil
}

// due tells the shelver what to do: write, have what is forgotten committed, or
// wait, and for how long; 0 is until it is woken.
func (sh *shelf) due() (flush, commit bool, wait time.Duration) {
	forced := sh.forced.Swap(false)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	now := time.Now()
	next := func(since time.Time, after time.Duration) (due bool) {
		if since.IsZero() {
			return false
		}
		left := after - now.Sub(since)
		if left > 0 && (wait == 0 || left < wait) {
			wait = left
		}
		return left <= 0
	}
	flush = sh.frozen != nil || sh.active.size > sh.sizes.tray || len(sh.forgotten) > mostForgotten ||
		forced && uint64(sh.last) > sh.mark.Load()
	flush = next(sh.since, sh.sizes.trayAge) || flush
	if len(sh.forgotten) == 0 {
		sh.forgottenSince = time.Time{}
	} else if commit = next(sh.forgottenSince, forgetAfter); commit {
		sh.forgottenSince = now
		next(now, forgetAfter)
	}
	sh.looks = time.Time{}
	if wait > 0 {
		sh.looks = now.Add(wait)
	}
	return flush, commit, wait
}

// unwritten reports whether memory has something that the folder has not.
func (sh *shelf) unwritten() bool {
	sh.mu.RLock()
	defer sh.mu.RUnlock()
	return sh.frozen != nil || sh.active.n > 0 || len(sh.forgotten) > 0 || uint64(sh.last) > sh.mark.Load()
}

// shelve is the shelver: it writes what is in memory when that is much or old,
// or when generations of the log wait for it.
func (s *Spool) shelve() {
	for {
		flush, commit, wait := s.shelf.due()
		if commit {
			s.intake.wantForget()
		}
		if flush {
			err := s.flushShelf()
			if s.shelf.failing.Store(err != nil); err != nil {
				s.deps.Health.Raise(bridge.Warning{Code: "spool-shelf", Severity: bridge.Critical,
					Text: fmt.Sprintf("what is kept for devices cannot be written: %v; it is in the log until it can", err)})
				if !s.pause(shelveAgain) {
					return
				}
				continue
			}
			s.deps.Health.Clear("spool-shelf")
			s.collect()
			continue
		}
		var timeout <-chan time.Time
		if wait > 0 {
			timeout = time.After(wait)
		}
		select {
		case <-s.gone:
			return
		case <-s.shelf.wake:
		case <-timeout:
		}
	}
}

// shelveAll writes the rest at the end; what it cannot write is in the log.
func (s *Spool) shelveAll() {
	s.shelf.mu.Lock()
	s.shelf.published = math.MaxUint64 // nothing is on its way any more
	s.shelf.mu.Unlock()
	for s.shelf.unwritten() { // what an error has left off, and what has come since
		if err := s.flushShelf(); err != nil {
			s.deps.Log.Warn("spool: the shelf cannot be written: the next start takes it from the log", "error", err)
			return
		}
	}
}

// mergeShelf is the merger: it merges the shelf's files.
func (s *Spool) mergeShelf() {
	for {
		again, err := s.shelf.store.Merge()
		if err != nil && !errors.Is(err, runs.ErrStopped) {
			s.deps.Log.Warn("spool: the shelf's files cannot be merged", "error", err)
			if !s.pause(mergeAgain) {
				return
			}
		}
		if again {
			continue
		}
		select {
		case <-s.gone:
			return
		case <-s.shelf.merge:
		}
	}
}
