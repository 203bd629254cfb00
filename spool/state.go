package spool

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"runtime/debug"

	"github.com/dgraph-io/badger/v4"
	"github.com/dgraph-io/badger/v4/options"
	"github.com/dgraph-io/badger/v4/table"
	"github.com/dgraph-io/ristretto/v2/z"
	"golang.org/x/sys/unix"

	"github.com/ebbgate/ebbgate/bridge"
)

// The state's keys: one letter, then what it is about.
//
//	q/<queue>        releases of the queue
//	g/<generation>   what is known of a closed generation
//	k/<namespace>\0<key>  what Batch.Put and Batch.Add keep
//	m/applied        the last commit of the log whose changes are in the state
//	m/newest         the highest generation number and sequence ever used
//	m/age            the spool's clock
//	m/tail           that there is a mark of the log's end
//	m/told           up to which sequence a start has reported what is missing at the log's end
//	m/serial         the number of the state's last commit
//	m/shelf          the shelf's last write, and the last commit of the log that is on it
const (
	keyQueue      = "q/"
	keyGeneration = "g/"
	keyUser       = "k/"
	keyApplied    = "m/applied"
	keyAge        = "m/age"
	keySerial     = "m/serial"
	keyShelf      = "m/shelf"
	keyMarked     = "m/tail"
	keyTold       = "m/told"
	keyNewest     = "m/newest" // newest generation and its first sequence when a generation was forgotten
)

// stateMemtable is small: what a start must write through on a full disk is at
// most one.
const stateMemtable = 2 << 20

// maxStateBatch bounds the bytes of one transaction of the state; Badger takes
// 15 % of a memtable.
const maxStateBatch = 192 << 10

func stateOptions(dir string, log *slog.Logger) badger.Options {
	o := badger.DefaultOptions(dir)
	o.Logger = badgerLog{log}
	o.SyncWrites = true
	o.DetectConflicts = false
	o.MetricsEnabled = false
	o.Compression = options.None
	o.BlockCacheSize, o.IndexCacheSize = 0, 0
	o.ChecksumVerificationMode = options.OnTableAndBlockRead
	o.ValueThreshold = stateMemtable / 8 // values stay in the LSM tree: the value log takes none
	o.ValueLogFileSize = 1 << 20
	o.MemTableSize = stateMemtable
	o.BaseTableSize = stateMemtable
	o.BaseLevelSize = 4 * stateMemtable
	o.NumMemtables = 2
	o.NumCompactors = 2
	o.BypassLockGuard = true
	return o
}

// errFault is no damage of what is in the files.
var errFault = errors.New("the disk gave no block for a file: it was full for a moment, or has a fault; start again, and look into the kernel's log if it stays")

// openBadger opens a Badger and turns its panics, which damaged files cause,
// into errors. So it does with what would be a signal: a map of a file with holes
// is touched, and the disk is full.
func openBadger(o badger.Options) (db *badger.DB, err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		r := recover()
		if r != nil {
			db, err = nil, bridge.Errorf("open "+o.Dir, bridge.Corrupt, "%v", r)
		}
		if _, fault := r.(interface{ Addr() uintptr }); fault {
			err = fmt.Errorf("open %s: %w", o.Dir, errFault)
			if free, freeErr := freeBytes(o.Dir); freeErr == nil && free < 4*o.MemTableSize {
				err = unix.ENOSPC
			}
		}
		if errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT) {
			err = bridge.Errorf("open "+o.Dir, bridge.Full, "the disk has no room, free %d MB there: %w", 4*o.MemTableSize/1_000_000, err)
		}
	}()
	if err := checkTables(o); err != nil {
		return nil, bridge.Errorf("open "+o.Dir, bridge.Corrupt, "%w", err)
	}
	return badger.Open(o)
}

// checkTables reads every table that belongs to a folder, checksums included.
// Badger would read a damaged one in a goroutine of its own and end the process.
// A table that the manifest does not name yet is no damage, however it looks: a
// kill came while it was written, what it was to hold is still where it came
// from, and Badger deletes it. Without a manifest it would delete them all.
func checkTables(o badger.Options) error {
	manifest, err := os.Open(filepath.Join(o.Dir, badger.ManifestFilename))
	if errors.Is(err, fs.ErrNotExist) {
		names, err := filepath.Glob(filepath.Join(o.Dir, "*.sst"))
		if err == nil && len(names) > 0 {
			err = fmt.Errorf("%s is missing, and there are %d tables", badger.ManifestFilename, len(names))
		}
		return err
	}
	if err != nil {
		return err
	}
	m, _, err := badger.ReplayManifestFile(manifest, o.ExternalMagicVersion, o)
	if err := errors.Join(err, manifest.Close()); err != nil {
		return err
	}
	for id := range m.Tables {
		name := table.NewFilename(id, o.Dir)
		file, err := z.OpenMmapFile(name, os.O_RDONLY, 0)
		if err != nil {
			return fmt.Errorf("table %s: %w", filepath.Base(name), err)
		}
		if err := checkTable(file); err != nil {
			return fmt.Errorf("table %s: %w", filepath.Base(name), err)
		}
	}
	return nil
}

func checkTable(file *z.MmapFile) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = errors.Join(fmt.Errorf("%v", r), file.Close(-1))
		}
	}()
	t, err := table.OpenTable(file, table.Options{ReadOnly: true, ChkMode: options.OnTableAndBlockRead})
	if err != nil {
		return errors.Join(err, file.Close(-1))
	}
	return t.Close(-1)
}

func userKey(namespace, key string) []byte {
	return []byte(keyUser + namespace + "\x00" + key)
}

// getValue reads one key, nil when it is not there.
func getValue(txn *badger.Txn, key []byte) ([]byte, error) {
	item, err := txn.Get(key)
	if errors.Is(err, badger.ErrKeyNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read state %q: %w", key, err)
	}
	return item.ValueCopy(nil)
}

// scanPrefix calls fn for each key with the prefix until it returns false.
func scanPrefix(db *badger.DB, prefix string, fn func(key, value []byte) bool) error {
	return db.View(func(txn *badger.Txn) error {
		o := badger.DefaultIteratorOptions
		o.Prefix = []byte(prefix)
		it := txn.NewIterator(o)
		defer it.Close()
		for it.Rewind(); it.Valid(); it.Next() {
			more := false
			err := it.Item().Value(func(v []byte) error {
				more = fn(it.Item().Key()[len(prefix):], v)
				return nil
			})
			if err != nil {
				return fmt.Errorf("read state %q: %w", it.Item().Key(), err)
			}
			if !more {
				return nil
			}
		}
		return nil
	})
}

func counter(v []byte) int64 {
	if len(v) != 8 {
		return 0
	}
	return int64(binary.BigEndian.Uint64(v))
}

// generationMeta is what the state keeps of a closed generation.
type generationMeta struct {
	first, end bridge.Seq
	bytes      int64
	ops        bridge.Seq // its last commit that carries changes for the state
	shelf      bridge.Seq // and for the shelf
	gone       bool
	condensed  bool
	start      []queueSpan // next place and cumulative bytes of each queue when it began
	finish     []queueSpan // and when it ended
}

const (
	metaGone = 1 << iota
	metaCondensed
)

func (m *generationMeta) encode() []byte {
	b := binary.AppendUvarint(nil, uint64(m.first))
	b = binary.AppendUvarint(b, uint64(m.end))
	b = binary.AppendUvarint(b, uint64(m.bytes))
	b = binary.AppendUvarint(b, uint64(m.ops))
	var flags byte
	if m.gone {
		flags |= metaGone
	}
	if m.condensed {
		flags |= metaCondensed
	}
	return binary.AppendUvarint(appendSpans(appendSpans(append(b, flags), m.start), m.finish), uint64(m.shelf))
}

func appendSpans(b []byte, spans []queueSpan) []byte {
	b = binary.AppendUvarint(b, uint64(len(spans)))
	for _, s := range spans {
		b = appendString(b, s.name)
		b = binary.AppendUvarint(b, uint64(s.first))
		b = binary.AppendUvarint(b, s.bytes)
	}
	return b
}

func (d *decoder) spans() (out []queueSpan) {
	for range d.count(3) {
		out = append(out, queueSpan{name: d.string(), first: bridge.Place(d.uvarint()), bytes: d.uvarint()})
	}
	return out
}

func decodeMeta(b []byte) (*generationMeta, error) {
	d := decoder{b: b}
	m := &generationMeta{first: bridge.Seq(d.uvarint()), end: bridge.Seq(d.uvarint()), bytes: int64(d.uvarint()), ops: bridge.Seq(d.uvarint())}
	flags := d.byte()
	m.gone, m.condensed = flags&metaGone != 0, flags&metaCondensed != 0
	m.start, m.finish = d.spans(), d.spans()
	if len(d.b) > 0 { // written before there was a shelf, it ends here
		m.shelf = bridge.Seq(d.uvarint())
	}
	return m, d.err
}

func generationKey(n uint64) []byte { return fmt.Appendf(nil, keyGeneration+"%016x", n) }
