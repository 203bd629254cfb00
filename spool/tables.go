package spool

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"

	"github.com/dgraph-io/badger/v4"
	"github.com/dgraph-io/badger/v4/options"
	"github.com/dgraph-io/badger/v4/table"
	"github.com/dgraph-io/badger/v4/y"
	"github.com/dgraph-io/ristretto/v2/z"
)

// stateFiles is what the files of the state are and hold, before Badger opens them: it
// believes its list of tables, the file MANIFEST, deletes the tables that it does not
// name, and replays of each memtable's log what it can read of it. So a list that has
// lost its end sets the state back by whole tables, and what came after them, which is
// in the logs, fits the number of the last commit. The numbers of all commits show it.
type stateFiles struct {
	dir     string
	list    error               // why MANIFEST cannot be read
	levels  map[uint64]uint8    // of the tables that it names
	numbers map[uint64]uint64   // of the tables that are there and whole, the last commit in each, 0 for none
	commits map[uint64]uint64   // in the memtables' logs: number, and number of the one before
	broken  map[uint64]struct{} // tables that cannot be read
}

// mendState looks at the state's files and makes the list of its tables anew when that
// has lost some. It returns what there is to tell, or nothing. What it cannot mend,
// opening the state finds.
func mendState(dir string, serial uint64) (told string, err error) {
	if err := removeEmpty(dir); err != nil {
		return "", err
	}
	f, err := readStateFiles(dir)
	if err != nil {
		return "", err
	}
	registry, err := f.mendRegistry()
	if err != nil {
		return "", err
	}
	var texts []string
	if registry {
		texts = append(texts, "had a damaged file KEYREGISTRY, which has been made anew: there was nothing in it")
	}
	if f.lacksTables(serial) {
		text, err := f.makeList()
		if err != nil {
			return "", err
		}
		texts = append(texts, text)
	}
	if n := f.lost(); n > 0 {
		texts = append(texts, fmt.Sprintf("has lost %d commits from before its last ones, for a file of it is damaged or missing: messages that the cloud has may be sent again, the meters lack what was counted in them", n))
	}
	for i, text := range texts {
		if i > 0 {
			told += "; it "
		}
		told += text
	}
	return told, nil
}

// removeEmpty removes the logs that a kill has left without a byte: Badger empties one
// before it removes it, and one that it makes has no size at first. It would not open the
// state for a file in which there is nothing. When damage has emptied one, the numbers of
// the commits tell what was in it.
func removeEmpty(dir string) error {
	for _, kind := range []string{"*.mem", "*.vlog"} {
		names, err := filepath.Glob(filepath.Join(dir, kind))
		if err != nil {
			return err
		}
		for _, name := range names {
			if fi, err := os.Lstat(name); err != nil || !fi.Mode().IsRegular() || fi.Size() > 0 {
				continue // Badger says what is wrong with it
			}
			if err := os.Remove(name); err != nil {
				return fmt.Errorf("an empty file of the state: %w", err)
			}
		}
	}
	return nil
}

func readStateFiles(dir string) (*stateFiles, error) {
	f := &stateFiles{dir: dir, levels: map[uint64]uint8{}, numbers: map[uint64]uint64{}, commits: map[uint64]uint64{}, broken: map[uint64]struct{}{}}
	if _, err := os.Stat(dir); errors.Is(err, fs.ErrNotExist) {
		return f, nil
	}
	o := stateOptions(dir, nil)
	manifest, err := os.Open(filepath.Join(dir, badger.ManifestFilename))
	if err == nil {
		var m badger.Manifest
		m, _, err = badger.ReplayManifestFile(manifest, o.ExternalMagicVersion, o)
		_ = manifest.Close()
		for id, t := range m.Tables {
			f.levels[id] = t.Level
		}
	}
	f.list = err
	names, err := filepath.Glob(filepath.Join(dir, "*.sst"))
	if err != nil {
		return nil, err
	}
	for _, name := range names {
		id, ok := table.ParseFileID(name)
		if !ok {
			continue
		}
		_, named := f.levels[id]
		if n, err := lastCommitIn(name, named); err == nil {
			f.numbers[id] = n
		} else {
			f.broken[id] = struct{}{}
		}
	}
	if names, err = filepath.Glob(filepath.Join(dir, "*.mem")); err != nil {
		return nil, err
	}
	for _, name := range names {
		if b, err := os.ReadFile(name); err == nil { // otherwise Badger says what is wrong with it
			commitsIn(b, f.commits)
		}
	}
	return f, nil
}

// lastCommitIn reads the number of the last commit in a table. Opening the state reads
// all of those that MANIFEST names; of others it is done here.
func lastCommitIn(name string, named bool) (n uint64, err error) {
	file, err := z.OpenMmapFile(name, os.O_RDONLY, 0)
	if err != nil {
		return 0, err
	}
	defer func() {
		if r := recover(); r != nil {
			err = errors.Join(fmt.Errorf("%v", r), file.Close(-1))
		}
	}()
	check := options.OnTableAndBlockRead
	if named {
		check = options.NoVerification
	}
	t, err := table.OpenTable(file, table.Options{ReadOnly: true, ChkMode: check})
	if err != nil {
		return 0, errors.Join(err, file.Close(-1))
	}
	it := t.NewIterator(0)
	key := y.KeyWithTs([]byte(keySerial), math.MaxUint64)
	it.Seek(key)
	if it.Valid() && y.SameKey(it.Key(), key) {
		n = numberIn(it.Value().Value)
	}
	return n, errors.Join(it.Close(), t.Close(-1))
}

// What Badger's log of a memtable is made of.
const (
	memHeader   = 20
	memTxn      = 1 << 6 // an entry of a transaction,
	memTxnEnd   = 1 << 7 // and its end
	memChecksum = 4
)

// commitsIn adds the numbers of the commits in a memtable's log that Badger will replay.
func commitsIn(b []byte, commits map[uint64]uint64) {
	b = b[min(memHeader, len(b)):]
	var under uint64 // the transaction that has begun
	var n, before uint64
	for len(b) > 2 {
		d := decoder{b: b[2:]}
		key, value := d.uvarint(), d.uvarint()
		_ = d.uvarint() // when it expires
		rest := uint64(len(d.b))
		if d.err != nil || key <= 8 || key > rest || value > rest-key || rest-key-value < memChecksum {
			return
		}
		head := uint64(len(b)) - rest
		end := head + key + value
		if crc32.Checksum(b[:end], castagnoli) != binary.BigEndian.Uint32(b[end:]) {
			return
		}
		k, v := b[head:head+key], b[head+key:end]
		ts := y.ParseTs(k)
		switch meta := b[0]; {
		case meta&memTxn != 0:
			if under != 0 && under != ts {
				return
			}
			under = ts
			if string(y.ParseKey(k)) == keySerial {
				n, before = decodeNumber(v)
			}
		case meta&memTxnEnd != 0:
			if under != ts {
				return
			}
			if n > 0 {
				commits[n] = before
			}
			under, n = 0, 0
		default:
			return
		}
		b = b[end+memChecksum:]
	}
}

// reaches is the last commit that the tables hold: those that MANIFEST names, or all.
func (f *stateFiles) reaches(all bool) (n uint64) {
	for id, last := range f.numbers {
		if _, named := f.levels[id]; all || named {
			n = max(n, last)
		}
	}
	return n
}

// lost counts the commits that are in no table, and came before others that are in a
// memtable's log.
func (f *stateFiles) lost() (n uint64) {
	upTo := f.reaches(false)
	for _, number := range slices.Sorted(maps.Keys(f.commits)) {
		if before := f.commits[number]; before > upTo {
			n += before - upTo
		}
		upTo = max(upTo, number)
	}
	return n
}

// lacksTables reports whether tables are there that MANIFEST should name and does not.
// A kill leaves such as it should not: one that was being written, of which everything
// is in a log, and those that were put together, of which everything is in another.
func (f *stateFiles) lacksTables(serial uint64) bool {
	upTo, unnamed := f.reaches(false), false
	for id := range f.numbers {
		_, named := f.levels[id]
		unnamed = unnamed || !named
	}
	for n := range f.commits {
		upTo = max(upTo, n)
	}
	switch {
	case errors.Is(f.list, fs.ErrNotExist):
		return unnamed
	case f.list != nil:
		return true
	case !unnamed:
		return false
	}
	for id := range f.levels {
		_, there := f.numbers[id]
		if _, broken := f.broken[id]; !there && !broken {
			return true
		}
	}
	return f.lost() > 0 || upTo < serial || upTo < f.reaches(true)
}

// makeList writes MANIFEST anew: the tables that it named and that are there, and those
// that it did not name, as the newest. Where two have a key, the newer one counts
// wherever it is.
func (f *stateFiles) makeList() (told string, err error) {
	missing := 0
	for id := range f.levels {
		_, there := f.numbers[id]
		if _, broken := f.broken[id]; !there && !broken {
			missing++
			delete(f.levels, id)
		}
	}
	added := 0
	for id := range f.numbers {
		if _, named := f.levels[id]; !named {
			f.levels[id] = 0
			added++
		}
	}
	var set []byte
	for _, id := range slices.Sorted(maps.Keys(f.levels)) {
		change := binary.AppendUvarint([]byte{1 << 3}, id)
		if l := f.levels[id]; l > 0 {
			change = append(change, 3<<3, l)
		}
		set = binary.AppendUvarint(append(set, 1<<3|2), uint64(len(change)))
		set = append(set, change...)
	}
	b := append([]byte("Bdgr"), 0, 0, 0, manifestVersion)
	b = binary.BigEndian.AppendUint32(b, uint32(len(set)))
	b = binary.BigEndian.AppendUint32(b, crc32.Checksum(set, castagnoli))
	if err := writeDurably(filepath.Join(f.dir, badger.ManifestFilename), append(b, set...)); err != nil {
		return "", fmt.Errorf("list the tables of the state anew: %w", err)
	}
	told = fmt.Sprintf("had a damaged list of its tables, the file MANIFEST, which has been made anew from the %d tables that are there (%d of them it did not name)", len(f.levels), added)
	if missing > 0 {
		told += fmt.Sprintf("; %d that it named are not there: unless others have taken their place, what was in them is lost, messages that the cloud has may be sent again", missing)
	}
	if n := len(f.broken); n > 0 {
		told += fmt.Sprintf("; %d cannot be read", n)
	}
	return told, nil
}

// manifestVersion is that of Badger 4.
const manifestVersion = 8

// mendRegistry removes a list of keys that cannot be read: the state is not encrypted,
// and Badger makes an empty one.
func (f *stateFiles) mendRegistry() (bool, error) {
	path := filepath.Join(f.dir, badger.KeyRegistryFileName)
	if _, err := os.Stat(path); err != nil {
		return false, nil // opening the state says what else is wrong
	}
	r, err := badger.OpenKeyRegistry(badger.KeyRegistryOptions{Dir: f.dir, ReadOnly: true})
	if err == nil {
		return false, r.Close()
	}
	if pathErr := new(fs.PathError); errors.As(err, &pathErr) {
		return false, nil
	}
	return true, os.Remove(path)
}
