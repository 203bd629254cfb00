package spool

import (
	"bytes"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ebbgate/ebbgate/bridge"
	"github.com/ebbgate/ebbgate/spool/runs"
)

// shelf is what the gateway keeps for its devices, see the package comment.
type shelf struct {
	store *runs.Store
	sizes sizes
	wake  chan struct{} // the shelver's, capacity 1
	merge chan struct{} // the merger's, capacity 1
	fresh chan struct{} // the committer's, capacity 1: something has been written

	flushing sync.Mutex // held by who writes to the store

	mu     sync.RWMutex
	active *tray      // takes what is published
	frozen *tray      // is being written to the store, or waits for room; nil otherwise
	since  time.Time  // when active was first changed; zero while it is as it was
	last   bridge.Seq // the last published commit that changes the shelf
	upTo   bridge.Seq // what last was when frozen was taken off
	looks  time.Time  // when the shelver looks by itself; zero for never

	// What is forgotten and not in the log yet, each with the number of batches
	// that had been committed when it was: it does not concern what is put later.
	forgotten      map[string]uint64
	forgottenSince time.Time
	covered        map[string]uint64 // what was forgotten when frozen was taken off
	published      uint64            // batches that have been completed

	waiting atomic.Int64  // forgotten keys
	bytes   atomic.Int64  // in memory
	forced  atomic.Bool   // generations wait for it
	failing atomic.Bool   // the last flush was refused by the disk
	mark    atomic.Uint64 // the log is not needed up to this commit
}

func newShelf(z sizes) *shelf {
	return &shelf{
		sizes: z,
		wake:  make(chan struct{}, 1), merge: make(chan struct{}, 1), fresh: make(chan struct{}, 1),
		active: new(tray), forgotten: map[string]uint64{},
	}
}

func shelfKey(namespace, key string) string { return namespace + "\x00" + key }

// olderLocked reports whether something below the active tray may say that the
// key is there.
func (sh *shelf) olderLocked(key string) bool {
	if n := sh.frozen.find(key); n != nil {
		return !n.dead
	}
	return sh.store.MayHold(key)
}

// dropLocked removes a key and reports whether it may have been there.
func (sh *shelf) dropLocked(key string) bool {
	was, dead := sh.active.remove(key)
	older := sh.olderLocked(key)
	if older {
		sh.active.set(key, nil, true)
	}
	return was && !dead || !was && older
}

// putLocked does what a put of a published commit says.
func (sh *shelf) putLocked(p bridge.Put, ticket uint64) {
	key := shelfKey(p.Namespace, p.Key)
	if at, ok := sh.forgotten[key]; ok {
		if at >= ticket {
			return // forgotten after it was given to us, and before it was written
		}
		delete(sh.forgotten, key)
	}
	if p.Value == nil {
		sh.dropLocked(key)
		return
	}
	// A copy: the giver's may be a piece of something large that it would keep.
	sh.active.set(key, append([]byte{}, p.Value...), false)
}

// pass says that batches have been completed, if only with an error.
func (sh *shelf) pass(ticket uint64) {
	sh.mu.Lock()
	sh.published = ticket
	sh.mu.Unlock()
}

// publish shows the shelf's part of a commit; forgets are those that it
// carries. It reports whether there was any.
func (sh *shelf) publish(seq bridge.Seq, list []pending, forgets []forget, ticket uint64) bool {
	touches := len(forgets) > 0
	for _, p := range list {
		touches = touches || p.shelved > 0
	}
	sh.mu.Lock()
	defer sh.mu.Unlock()
	sh.published = ticket
	if !touches {
		return false
	}
	for _, p := range list {
		if p.shelved == 0 {
			continue
		}
		for _, put := range p.Puts {
			if bridge.OnShelf(put.Namespace) {
				sh.putLocked(put, p.ticket)
			}
		}
	}
	for _, f := range forgets {
		if sh.forgotten[f.key] == f.at {
			delete(sh.forgotten, f.key)
		}
	}
	sh.changedLocked(seq)
	return true
}

// changedLocked notes that a commit has changed the shelf.
func (sh *shelf) changedLocked(seq bridge.Seq) {
	sh.last = seq
	if sh.since.IsZero() {
		sh.since = time.Now()
	}
	sh.countLocked()
	if sh.active.size > sh.sizes.tray || sh.looks.IsZero() {
		sh.signal()
	}
}

func (sh *shelf) countLocked() {
	n := sh.active.size
	if sh.frozen != nil {
		n += sh.frozen.size
	}
	if sh.active.n > 0 && sh.since.IsZero() {
		sh.since = time.Now()
	}
	sh.bytes.Store(int64(n))
	sh.waiting.Store(int64(len(sh.forgotten)))
}

func (sh *shelf) signal() {
	select {
	case sh.wake <- struct{}{}:
	default:
	}
}

// force asks for a flush, because generations of the log wait for it.
func (sh *shelf) force() {
	if !sh.forced.Swap(true) {
		sh.signal()
	}
}

// forget is a forgotten key and when it was forgotten.
type forget struct {
	key string
	at  uint64
}

// forgets bounds what one commit carries of them.
const (
	maxForgets     = 4096
	maxForgetBytes = 256 << 10
)

// toCarry collects the forgotten keys that the next commit shall carry: those
// that were forgotten before its last batch was given to us, but for what it
// puts anew.
func (sh *shelf) toCarry(list []pending, ticket uint64) (out []forget) {
	if sh.waiting.Load() == 0 {
		return nil
	}
	sh.mu.Lock()
	defer sh.mu.Unlock()
	var anew map[string]bool
	for _, p := range list {
		if p.shelved == 0 {
			continue
		}
		for _, put := range p.Puts {
			key := shelfKey(put.Namespace, put.Key)
			if at, ok := sh.forgotten[key]; ok && at < p.ticket {
				if anew == nil {
					anew = map[string]bool{}
				}
				anew[key] = true
			}
		}
	}
	size := 0
	for key, at := range sh.forgotten {
		if at > ticket || anew[key] {
			continue
		}
		out = append(out, forget{key, at})
		if size += len(key); len(out) == maxForgets || size > maxForgetBytes {
			break
		}
	}
	return out
}

// putsOf are the deletions that say in the log what was forgotten.
func putsOf(forgets []forget) []bridge.Put {
	out := make([]bridge.Put, len(forgets))
	for i, f := range forgets {
		out[i].Namespace, out[i].Key, _ = strings.Cut(f.key, "\x00")
	}
	return out
}

// Forget implements [bridge.Spool].
func (s *Spool) Forget(namespace string, keys ...string) {
	sh, at := s.shelf, s.intake.tickets()
	sh.mu.Lock()
	defer sh.mu.Unlock()
	before := len(sh.forgotten)
	for _, k := range keys {
		key := shelfKey(namespace, k)
		if sh.dropLocked(key) || at > sh.published { // what is on its way may hold it
			sh.forgotten[key] = at
		}
	}
	sh.countLocked()
	if before == 0 && len(sh.forgotten) > 0 {
		sh.forgottenSince = time.Now()
		if sh.looks.IsZero() || sh.looks.Sub(sh.forgottenSince) > forgetAfter {
			sh.signal()
		}
	}
	if len(sh.forgotten) > mostForgotten {
		sh.signal()
	}
}

// get reads a key of the shelf.
func (sh *shelf) get(key string) ([]byte, error) {
	sh.mu.RLock()
	for _, t := range []*tray{sh.active, sh.frozen} {
		if n := t.find(key); n != nil {
			v := n.value
			sh.mu.RUnlock()
			return bytes.Clone(v), nil
		}
	}
	v := sh.store.View()
	sh.mu.RUnlock()
	defer v.Close()
	value, err := v.Get(key)
	if err != nil {
		return nil, bridge.Errorf("get", bridge.Corrupt, "%w", err)
	}
	return value, nil
}

// scan calls fn for the keys with a prefix, in order, until it returns false.
func (sh *shelf) scan(prefix string, fn func(key []byte, e runs.Source) bool) {
	sh.mu.RLock()
	active, frozen, view := sh.active, sh.frozen, sh.store.View()
	sh.mu.RUnlock()
	defer view.Close()
	sources := []runs.Source{sh.source(active, prefix)}
	if frozen != nil {
		sources = append(sources, sh.source(frozen, prefix))
	}
	j := runs.Join(append(sources, view.Seek(prefix)...)...)
	for ; j.Valid(); j.Next() {
		key := j.Key()
		if len(key) < len(prefix) || string(key[:len(prefix)]) != prefix {
			return
		}
		if !j.Dead() && !fn(key, j) {
			return
		}
	}
}

// overfull reports whether the shelf takes nothing more, because what is in
// memory cannot be written.
func (sh *shelf) overfull() bool { return sh.bytes.Load() > mostTrays*int64(sh.sizes.tray) }

// slowDown holds a commit up while what is in memory is being written and has
// become much meanwhile, for as long as it may take at most.
func (sh *shelf) slowDown(list []pending, gone <-chan struct{}) {
	if sh.bytes.Load() <= slowTrays*int64(sh.sizes.tray) || !slices.ContainsFunc(list, func(p pending) bool { return p.shelved > 0 }) {
		return
	}
	t := time.NewTimer(slowMost)
	defer t.Stop()
	for sh.bytes.Load() > slowTrays*int64(sh.sizes.tray) && !sh.failing.Load() {
		select {
		case <-sh.fresh:
		case <-t.C:
			return
		case <-gone:
			return
		}
	}
}

// freeze takes the active tray off, unless one is off already, and returns what
// is off with the commit up to which it goes.
func (sh *shelf) freeze() (*tray, bridge.Seq) {
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if sh.frozen == nil {
		sh.frozen, sh.active = sh.active, new(tray)
		sh.upTo, sh.since = sh.last, time.Time{}
		sh.covered = maps.Clone(sh.forgotten)
		maps.DeleteFunc(sh.covered, func(_ string, at uint64) bool { return at > sh.published })
	}
	return sh.frozen, sh.upTo
}

// written says that what was frozen is durable.
func (sh *shelf) written() {
	sh.mu.Lock()
	defer sh.mu.Unlock()
	for key, at := range sh.covered {
		if sh.forgotten[key] == at {
			delete(sh.forgotten, key)
		}
	}
	sh.frozen, sh.covered = nil, nil
	sh.countLocked()
	sh.mark.Store(uint64(sh.upTo))
	select {
	case sh.fresh <- struct{}{}:
	default:
	}
}
