package spool

import (
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sort"
	"strings"
	"sync"

	"github.com/dgraph-io/badger/v4"
	"github.com/dgraph-io/badger/v4/options"

	"github.com/ebbgate/ebbgate/bridge"
)

// generation is one Badger directory of the log.
//
// It is active (written by the committer), or closed (its index is written
// through), or crashed (left by a kill: recovered at open). A closed generation
// is opened read-only for as long as a cursor is in it.
type generation struct {
	n     uint64
	dir   string
	first bridge.Seq           // of its first commit
	start map[string]queueSpan // of every queue known when it began: next place, cumulative bytes

	// Guarded by Spool.mu.
	end    bridge.Seq // after its last published commit
	ops    bridge.Seq // its last commit that carries changes for the state
	shelf  bridge.Seq // its last commit that carries changes for the shelf
	bytes  int64
	active bool
	gone   bool // nothing in it is live: its folder goes, or has gone

	condensed bool   // commits without live records have been left out
	left      uint64 // live places when that was done in this run, 0 when it was not

	mu    sync.RWMutex
	db    *badger.DB   // nil while nobody uses it
	keys  []bridge.Seq // its commits, ascending; valid while db is open
	users int

	wants   int64  // bytes that condensing it takes, when the disk had no room for that
	wanting uint64 // live places then

	salvaged bool                  // the raw files have been looked through
	extra    map[bridge.Seq][]byte // commits that the index has lost
}

// genOptions are the options of a generation's Badger.
func genOptions(dir string, z sizes, readOnly bool, log *slog.Logger) badger.Options {
	o := badger.DefaultOptions(dir)
	o.Logger = badgerLog{log}
	o.ReadOnly = readOnly
	o.SyncWrites = false // see the package comment
	o.DetectConflicts = false
	o.MetricsEnabled = false
	o.Compression = options.None
	o.BlockCacheSize, o.IndexCacheSize = 0, 0
	o.ChecksumVerificationMode = options.OnTableAndBlockRead
	// Without it Badger (value.go, Read) keeps the lock of a file for ever in which
	// an entry's lengths are damaged, and closing waits for it.
	o.VerifyValueChecksum = true
	o.ValueThreshold = 1 // every commit goes to the value log, where a scan finds it
	o.ValueLogFileSize = z.valueLog
	o.MemTableSize = z.memtable
	o.BaseTableSize = z.memtable
	o.NumMemtables = 1
	o.NumCompactors = 0 // nothing is ever overwritten or deleted
	o.NumLevelZeroTables, o.NumLevelZeroTablesStall = 1<<20, 1<<21
	o.CompactL0OnClose = false
	o.BypassLockGuard = true // the spool's own lock covers all of its folders
	return o
}

// badgerLog passes on what an operator should see.
type badgerLog struct{ log *slog.Logger }

func (l badgerLog) Errorf(f string, a ...any)   { l.log.Error(badgerText(f, a)) }
func (l badgerLog) Warningf(f string, a ...any) { l.log.Debug(badgerText(f, a)) }
func (l badgerLog) Infof(string, ...any)        {}
func (l badgerLog) Debugf(string, ...any)       {}

func badgerText(f string, a []any) string {
	return "badger: " + strings.TrimSpace(fmt.Sprintf(f, a...))
}

func commitKey(first bridge.Seq) []byte {
	return binary.BigEndian.AppendUint64(nil, uint64(first))
}

// listKeys reads the commit keys of an open Badger.
func listKeys(db *badger.DB) ([]bridge.Seq, error) {
	var keys []bridge.Seq
	err := db.View(func(txn *badger.Txn) error {
		o := badger.DefaultIteratorOptions
		o.PrefetchValues = false
		it := txn.NewIterator(o)
		defer it.Close()
		for it.Rewind(); it.Valid(); it.Next() {
			if k := it.Item().Key(); len(k) == 8 {
				keys = append(keys, bridge.Seq(binary.BigEndian.Uint64(k)))
			}
		}
		return nil
	})
	return keys, err
}

// view calls fn with the commit of key. The bytes are fn's until it returns.
func (g *generation) view(key bridge.Seq, fn func([]byte) error) error {
	g.mu.RLock()
	db, extra := g.db, g.extra[key]
	g.mu.RUnlock()
	if extra != nil {
		return fn(extra)
	}
	return viewCommit(db, key, fn)
}

func viewCommit(db *badger.DB, key bridge.Seq, fn func([]byte) error) error {
	return db.View(func(txn *badger.Txn) error {
		item, err := txn.Get(commitKey(key))
		if err != nil {
			return err
		}
		return item.Value(fn)
	})
}

// after finds the first commit at or after position i whose key is at least
// seq; it returns its position and key.
func (g *generation) after(seq bridge.Seq) (key bridge.Seq, ok bool) {
	g.mu.RLock()
	defer g.mu.RUnlock()
	i := sort.Search(len(g.keys), func(i int) bool { return g.keys[i] >= seq })
	if i == len(g.keys) {
		return 0, false
	}
	return g.keys[i], true
}

// publish adds a synced commit to the index of the active generation.
func (g *generation) publish(key bridge.Seq) {
	g.mu.Lock()
	g.keys = append(g.keys, key)
	g.mu.Unlock()
}

// putCommit writes one commit, unsynced.
func putCommit(db *badger.DB, first bridge.Seq, value []byte) error {
	return db.Update(func(txn *badger.Txn) error { return txn.Set(commitKey(first), value) })
}

// valueLog syncs the value log files of the active generation.
type valueLog struct {
	dir     string
	reserve int64
	id      int
	file    *os.File
}

func (v *valueLog) path(id int) string { return filepath.Join(v.dir, fmt.Sprintf("%06d.vlog", id)) }

// open finds the newest file, the one that Badger writes to.
func (v *valueLog) open() error {
	names, err := filepath.Glob(filepath.Join(v.dir, "*.vlog"))
	if err != nil || len(names) == 0 {
		return fmt.Errorf("no value log in %s", v.dir)
	}
	sort.Strings(names)
	if _, err := fmt.Sscanf(filepath.Base(names[len(names)-1]), "%06d.vlog", &v.id); err != nil {
		return fmt.Errorf("value log %s: %w", names[len(names)-1], err)
	}
	return v.take()
}

func (v *valueLog) take() error {
	f, err := os.OpenFile(v.path(v.id), os.O_RDWR, 0)
	if err != nil {
		return err
	}
	v.file = f
	return reserve(f, v.reserve)
}

// sync makes everything durable that Badger has written. An error means that
// nothing since the last success can be believed.
func (v *valueLog) sync() error {
	for {
		if err := fdatasync(v.file); err != nil {
			return err
		}
		if _, err := os.Lstat(v.path(v.id + 1)); err != nil {
			return nil
		}
		_ = v.file.Close()
		v.id++
		if err := errors.Join(v.take(), syncDir(v.dir)); err != nil {
			return err
		}
	}
}

func (v *valueLog) close() {
	if v.file != nil {
		_ = v.file.Close()
	}
}
