package spool

import (
	"crypto/rand"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"hash/crc32"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/dgraph-io/badger/v4"

	"github.com/ebbgate/ebbgate/bridge"
)

// Open opens the spool of a folder, making it when it is not there, and
// recovers what a kill, a power cut or damage has left. Damage never makes it
// fail: what cannot be read is kept aside in the folder "damaged", reported in
// deps.Health and by [Spool.Found], and the rest goes on; what a command finds the
// next gateway tells as well. It fails when another process holds the
// folder (Kind Unavailable; a gateway waits ten seconds for a command to end) or when the folder cannot be written.
func Open(o Options, deps Deps) (*Spool, error) {
	return open(o, deps, defaultSizes(), time.Now)
}

func open(o Options, deps Deps, z sizes, now func() time.Time) (_ *Spool, err error) {
	s := &Spool{
		opts: o, sizes: z, deps: deps,
		queues: map[string]*queue{}, unnoted: map[*generation]bool{},
		intake:  intake{wake: make(chan struct{}, 1)},
		writer:  writer{index: map[string]int{}},
		changes: make(chan *change, 1024), claimed: map[recordPlace]claim{}, counters: counters{},
		settled: newProgress(),
		shelf:   newShelf(z),
		found:   recovery{gaveUp: map[string]bool{}, missing: map[uint64]*generationMeta{}},
		gone:    make(chan struct{}),
	}
	if err := os.MkdirAll(o.Dir, 0o700); err != nil {
		return nil, s.diskFull(fmt.Errorf("open spool: %w: correct spool.dir, or let the user of the gateway make it", err))
	}
	if s.lock, err = lockDir(o.Dir, deps.Command, z.lockWait, deps.Log); err != nil {
		return nil, s.diskFull(err)
	}
	defer func() {
		if err != nil {
			s.returnBallast()
			err = errors.Join(s.diskFull(err), release(s.lock))
		}
	}()
	if err := s.roomToStart(); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(s.logDir(), 0o700); err != nil {
		return nil, fmt.Errorf("open spool: %w", err)
	}
	if s.id, err = s.loadID(); err != nil {
		return nil, fmt.Errorf("open spool: %w", err)
	}
	if err := s.openState(now); err != nil {
		return nil, fmt.Errorf("open spool: %w", err)
	}
	if err := s.openShelf(); err != nil {
		return nil, errors.Join(fmt.Errorf("open spool: %w", err), s.closeState())
	}
	if err := s.recover(); err != nil {
		return nil, errors.Join(fmt.Errorf("open spool: %w", err), s.shelf.store.Close(), s.closeState())
	}
	s.tellFound()
	s.start()
	return s, nil
}

func (s *Spool) start() {
	s.visible.Store(uint64(s.writer.seq))
	completed := make(chan completion, 64)
	s.committers.Go(func() { s.commit(completed) })
	s.committers.Go(func() { s.complete(completed) })
	s.keeper.Go(s.keep)
	s.shelvers.Go(s.shelve)
	s.shelvers.Go(s.mergeShelf)
	s.fillBallast()
	s.collect()
	if err := s.fits(0); err != nil {
		s.refuseForRoom(err)
		s.committers.Go(s.awaitRoom)
	}
}

// loadID reads the spool's id, or makes one.
func (s *Spool) loadID() (uint64, error) {
	if id, ok := readIDFile(s.opts.Dir); ok {
		return id, nil
	}
	path := filepath.Join(s.opts.Dir, idFile)
	var id [8]byte
	_, _ = rand.Read(id[:])
	dirs, err := s.logDirs()
	if err != nil {
		return 0, err
	}
	for _, n := range dirs {
		if old, ok := spoolIDIn(s.generationDir(n)); ok { // the file is lost, the log is not
			binary.BigEndian.PutUint64(id[:], old)
			s.damage("the file SPOOL was unreadable and has been rewritten from the log")
			break
		}
	}
	return binary.BigEndian.Uint64(id[:]), writeDurably(path, []byte(hex.EncodeToString(binary.BigEndian.AppendUint32(id[:], crc32.Checksum(id[:], castagnoli)))+"\n"))
}

const idFile = "SPOOL"

func readIDFile(dir string) (uint64, bool) {
	b, err := os.ReadFile(filepath.Join(dir, idFile))
	if err != nil {
		return 0, false
	}
	id, err := hex.DecodeString(strings.TrimSpace(string(b)))
	if err != nil || len(id) != 12 || crc32.Checksum(id[:8], castagnoli) != binary.BigEndian.Uint32(id[8:]) {
		return 0, false
	}
	return binary.BigEndian.Uint64(id), true
}

// writeDurably replaces a small file.
func writeDurably(path string, b []byte) error {
	f, err := os.CreateTemp(filepath.Dir(path), ".new-*")
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	err = errors.Join(err, f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		_ = os.Remove(f.Name())
		return err
	}
	return syncDir(filepath.Dir(path))
}

// openState opens the state; one that cannot be opened is kept aside, and what
// is in the log counts as not sent yet.
func (s *Spool) openState(now func() time.Time) error {
	dir := filepath.Join(s.opts.Dir, "state")
	_, statErr := os.Stat(dir)
	told, err := mendState(dir, serialOf(s.opts.Dir))
	if err != nil { // Badger would delete what its list does not name
		return fmt.Errorf("state: %w", err)
	}
	if told != "" {
		s.damage("the state " + told)
	}
	db, err := openBadger(stateOptions(dir, s.deps.Log))
	if err != nil && statErr == nil && bridge.KindOf(err) != bridge.Full && !errors.Is(err, errFault) {
		aside, moveErr := s.setAside(dir, "state")
		if moveErr != nil {
			return errors.Join(err, moveErr)
		}
		s.found.stateTold = true
		s.damage(fmt.Sprintf("the state could not be read (%v) and is kept as %s: messages that the cloud has may be sent again, the meters start anew", firstLine(err), aside))
		db, err = openBadger(stateOptions(dir, s.deps.Log))
	}
	if err != nil {
		return fmt.Errorf("state: %w", err)
	}
	s.state = db
	if err := reserveMemtable(dir); err != nil {
		return errors.Join(fmt.Errorf("state: %w", err), closeBadger(db))
	}
	var age, applied, number []byte
	err = db.View(func(txn *badger.Txn) error {
		var errs [3]error
		age, errs[0] = getValue(txn, []byte(keyAge))
		applied, errs[1] = getValue(txn, []byte(keyApplied))
		number, errs[2] = getValue(txn, []byte(keySerial))
		return errors.Join(errs[:]...)
	})
	if err != nil {
		return err
	}
	s.applied.Store(uint64(counter(applied)))
	s.age = newAgeClock(age, now)
	if lost := s.openSerial(numberIn(number)); age != nil && !lost {
		return nil
	}
	return s.updateState(func(txn *stateTxn) error { // a kill before the keeper's first save must not set the clock back
		return txn.Set([]byte(keyAge), s.age.encode())
	})
}

// loadQueues reads the releases of all queues.
func (s *Spool) loadQueues() error {
	return scanPrefix(s.state, keyQueue, func(k, v []byte) bool {
		r, err := decodeReleases(v)
		if err != nil {
			s.damage(fmt.Sprintf("what was released of queue %s is lost: it may be sent again", k))
			return true
		}
		q := s.queueLocked(string(k))
		q.done = r
		q.next, q.appended = r.end(), r.bytes
		return true
	})
}

// setAside moves something damaged out of the way and returns its new path.
func (s *Spool) setAside(path, name string) (string, error) {
	dir := filepath.Join(s.opts.Dir, "damaged")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", err
	}
	for i := 1; ; i++ {
		to := filepath.Join(dir, fmt.Sprintf("%s-%d", name, i))
		if _, err := os.Lstat(to); err == nil {
			continue
		}
		return to, os.Rename(path, to)
	}
}

// damage reports damage that has been dealt with.
func (s *Spool) damage(text string) {
	s.deps.Log.Warn("spool: damage", "what", text)
	s.note(text)
	if n := s.damages.Add(1); n > 1 {
		text += fmt.Sprintf(" (and %d more findings like this; the log has them)", n-1)
	}
	s.deps.Health.Raise(bridge.Warning{Code: "spool-damage", Severity: bridge.Degraded, Text: text})
}

func firstLine(err error) string {
	text, _, _ := strings.Cut(err.Error(), "\n")
	return text
}

// closeAll closes what Open opened, once the committer has ended.
func (s *Spool) closeAll() error {
	s.mu.Lock()
	g := s.writer.gen
	if g != nil {
		g.active = false
	}
	s.mu.Unlock()
	if g != nil {
		s.writer.tail.close()
		s.writer.log.close()
		s.leave(g)
	}
	s.closer.Wait()
	return errors.Join(s.shelf.store.Close(), s.closeState())
}
