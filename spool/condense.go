package spool

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/ebbgate/ebbgate/bridge"
)

// A paused route keeps its messages, and with them every generation that holds
// one, however much else in it has long been delivered. Such a generation is
// condensed: written anew with its live records only, under the same sequences
// and places, so that nothing else notices.

// sparse is the part of a generation's places, one in so many, below which it
// is condensed; minCondensed the size from which it is worth the writing.
const (
	sparse       = 4
	minCondensed = 1 << 20
)

// condense condenses the oldest generation for which it is time and in which no
// cursor is, one at a time.
func (s *Spool) condense() {
	list := s.sparse()
	if len(list) == 0 {
		return
	}
	s.closer.Add(1)
	go func() {
		defer s.closer.Done()
		for _, c := range list {
			done, err := s.condenseOne(c)
			if err != nil {
				s.deps.Log.Warn("a generation of the spool could not be condensed", "generation", c.n, "error", err)
			}
			if done || err != nil {
				break
			}
		}
		s.mu.Lock()
		s.condensing = false
		s.mu.Unlock()
	}()
}

// candidate is a generation to condense, and how many places are live in it.
type candidate struct {
	*generation
	live uint64
}

// sparse lists the closed generations, oldest first, that are mostly released and
// that the senders have passed: a later one is gone or sparse as well. A backlog
// that is being drained in order has only its first generation half empty, and that
// one goes by itself in a moment.
func (s *Spool) sparse() (found []candidate) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.condensing {
		return nil
	}
	passed := s.squeezed
	for i := len(s.gens) - 2; i >= 0; i-- {
		g := s.gens[i]
		if g.active {
			continue
		}
		live, all := s.liveInLocked(i)
		thin := g.gone || live*sparse < all
		if thin && passed && !g.gone && g.ops <= bridge.Seq(s.applied.Load()) && g.bytes >= min(minCondensed, s.sizes.generation/4) && g.thinner(live, s.squeezed) {
			if g.shelf > bridge.Seq(s.shelf.mark.Load()) {
				s.shelf.force()
			} else {
				found = append(found, candidate{g, live})
			}
		}
		passed = passed || thin
	}
	slices.Reverse(found)
	s.condensing = len(found) > 0
	return found
}

// thinner reports whether condensing a generation leaves out much: it has not been
// done, or as much of what it left is released now. A start does not know how much
// that was, and tries once when room is wanted. Spool.mu is held.
func (g *generation) thinner(live uint64, squeezed bool) bool {
	switch {
	case !g.condensed:
		return true
	case g.left == 0:
		return squeezed
	}
	return live*sparse < g.left
}

// liveInLocked counts the places of generation i, and the live ones.
func (s *Spool) liveInLocked(i int) (live, all uint64) {
	for name, q := range s.queues {
		from, to := max(s.gens[i].start[name].first, 1), s.gens[i+1].start[name].first
		if to <= from {
			continue
		}
		all += uint64(to - from)
		for _, m := range q.done.missing(from, to) {
			live += uint64(m.To - m.From)
		}
	}
	return live, all
}

// condenseOne writes a generation anew beside the old one and swaps them. When a
// cursor is in it, or the disk has no room for it, it returns false: it waits for
// another time. What there was no room for is not read again for nothing, before
// half of what was live is released.
func (s *Spool) condenseOne(g candidate) (done bool, err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.users > 0 || g.db != nil {
		return false, nil
	}
	if g.live > g.wanting/2 && !s.spares(g.wants) {
		return false, nil
	}
	raw, err := s.rawOf(g.generation)
	if err != nil {
		return false, err
	}
	kept := map[bridge.Seq]rawCommit{}
	for _, key := range slices.Sorted(maps.Keys(raw)) {
		if value := s.liveOf(raw[key]); value != nil {
			kept[key] = rawCommit{header: raw[key].header, value: value}
		}
	}
	size, log, needs := sizesOf(kept)
	if !s.spares(needs) {
		g.wants, g.wanting = needs, g.live
		return false, nil
	}
	g.wants, g.wanting = 0, 0
	fresh := g.dir + condensedSuffix
	if err := errors.Join(os.RemoveAll(fresh), s.writeAnew(fresh, kept, log)); err != nil {
		return false, errors.Join(err, os.RemoveAll(fresh))
	}
	// The note comes first: whatever ends this between, commits may be missing in a
	// generation that is noted as condensed, and need not.
	s.mu.Lock()
	bytes, condensed, left := g.bytes, g.condensed, g.left
	g.bytes, g.condensed, g.left = size, true, max(g.live, 1)
	meta := s.metaLocked(g.generation)
	s.mu.Unlock()
	err = errors.Join(syncDir(fresh), syncDir(s.logDir()))
	if err == nil {
		err = s.updateState(func(txn *stateTxn) error { return txn.Set(generationKey(g.n), meta) })
	}
	if err == nil {
		err = swapDirs(g.dir, fresh)
	}
	if err != nil {
		s.mu.Lock()
		g.bytes, g.condensed, g.left = bytes, condensed, left
		s.mu.Unlock()
	}
	return err == nil, errors.Join(err, os.RemoveAll(fresh))
}

// spares reports whether the disk has room for a generation that is written anew
// with so many bytes in its value log: in a full spool that is some of the headroom.
func (s *Spool) spares(size int64) bool {
	free, err := freeBytes(s.opts.Dir)
	return err == nil && free >= size+4*s.sizes.memtable+int64(s.opts.Headroom)/8
}

// liveOf encodes a commit with its live records only, nil when there are none.
// The changes that it carried are in the state and on the shelf by now.
func (s *Spool) liveOf(c rawCommit) []byte {
	var frames []byte
	eachFrame(c.header.framesOf(c.value), func(kind byte, body []byte) bool {
		if kind != frameRecord || body == nil {
			return true
		}
		r, err := decodeRecord(body, c.header, "")
		if err != nil {
			return true
		}
		for i := range r.Receivers {
			if !s.isReleased(r.Receivers[i].Queue, r.places[i]) {
				frames = appendFrame(frames, frameRecord, func(b []byte) []byte { return append(b, body...) })
				break
			}
		}
		return true
	})
	if frames == nil {
		return nil
	}
	return appendCommit(nil, c.header, frames)
}

func (s *Spool) isReleased(queue string, p bridge.Place) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.queueLocked(queue).done.has(p)
}

// Names of folders that a swap leaves behind when it is interrupted.
const (
	condensedSuffix = ".condensed"
	replacedSuffix  = ".replaced"
)

// swapDirs puts fresh in the place of dir and the old dir in the place of
// fresh. An interruption between its two steps is put right at open.
func swapDirs(dir, fresh string) error {
	old := dir + replacedSuffix
	if err := os.Rename(dir, old); err != nil {
		return err
	}
	if err := os.Rename(fresh, dir); err != nil {
		return errors.Join(err, os.Rename(old, dir))
	}
	return errors.Join(syncDir(filepath.Dir(dir)), os.Rename(old, fresh))
}

// finishSwaps puts interrupted swaps right: the old folder comes back when the
// new one is not in its place, and everything else that was left goes.
func (s *Spool) finishSwaps() error {
	entries, err := os.ReadDir(s.logDir())
	if err != nil {
		return err
	}
	for _, e := range entries {
		path := filepath.Join(s.logDir(), e.Name())
		if dir, ok := strings.CutSuffix(path, replacedSuffix); ok {
			if _, err := os.Lstat(dir); errors.Is(err, os.ErrNotExist) {
				if err := os.Rename(path, dir); err != nil {
					return fmt.Errorf("finish a swap: %w", err)
				}
				continue
			}
		} else if !strings.HasSuffix(path, condensedSuffix) {
			continue
		}
		if err := os.RemoveAll(path); err != nil {
			return fmt.Errorf("finish a swap: %w", err)
		}
	}
	return nil
}
