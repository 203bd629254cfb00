package runs

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"os"
	"path/filepath"
)

// A run, see FORMAT.md of the spool:
//
//	magic | values and key blocks, mixed | index block | filter block | footer
const (
	runMagic    = "EbbR"
	footerMagic = "EbbF"
	runVersion  = 1
	headerSize  = 8
	blockHeader = 4 + 4                // length, checksum
	footerSize  = 4 + 1 + 3 + 10*8 + 4 // see footer.encode
	blockSize   = 8 << 10              // of keys
	inlineValue = 64                   // larger values stand beside the keys, so that listing keys does not read them
	valueBuffer = 64 << 10             // values gathered for one write
	syncEvery   = 4 << 20              // so that a commit of the log never waits for more of our data
	maxBlock    = 8 << 20              // a larger length is damage
	suffix      = ".run"
	unfinished  = ".new"
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// The kinds of entry.
const (
	kindDead   = 0 // the key is deleted
	kindInline = 1 // the value follows
	kindBeside = 2 // offset, length and checksum of the value follow
)

// Entry is a key with its value, or the news that it is deleted.
type Entry struct {
	Key   []byte
	Value []byte
	Dead  bool
}

func (e *Entry) size() uint64 { return uint64(len(e.Key) + len(e.Value)) }

// footer is what a run says about itself.
type footer struct {
	lo, hi  uint64 // the writes that it holds, first and last
	mark    uint64 // the log's position after the last of them
	entries uint64
	dead    uint64 // entries that are deletions
	bytes   uint64 // of keys and values
	hides   uint64 // entries of older runs that entries of this one replace or delete
	hidden  uint64 // their bytes
	index   uint64 // offset of the index block
	filter  uint64 // offset of the filter block
}

func (f *footer) fields() []*uint64 {
	return []*uint64{&f.lo, &f.hi, &f.mark, &f.entries, &f.dead, &f.bytes, &f.hides, &f.hidden, &f.index, &f.filter}
}

func (f *footer) encode() []byte {
	b := append([]byte(footerMagic), runVersion, 0, 0, 0)
	for _, v := range f.fields() {
		b = binary.BigEndian.AppendUint64(b, *v)
	}
	return binary.BigEndian.AppendUint32(b, crc32.Checksum(b, castagnoli))
}

func (f *footer) decode(b []byte) error {
	end := footerSize - 4
	if len(b) != footerSize || !bytes.HasPrefix(b, []byte(footerMagic)) ||
		crc32.Checksum(b[:end], castagnoli) != binary.BigEndian.Uint32(b[end:]) {
		return errors.New("its end cannot be read")
	}
	if b[4] != runVersion {
		return fmt.Errorf("format version %d: this program reads version %d", b[4], runVersion)
	}
	b = b[8:]
	for _, v := range f.fields() {
		*v = binary.BigEndian.Uint64(b)
		b = b[8:]
	}
	return nil
}

// blockRef is an entry of a run's index.
type blockRef struct {
	first string // key
	off   int64
	size  int
}

// writer writes one run.
type writer struct {
	f      *os.File
	path   string // when it is finished
	off    int64  // of what is written next
	synced int64
	values []byte // beginning at off
	block  []byte
	first  []byte // key of the block
	last   []byte // key added last
	index  []blockRef
	filter filter
	foot   footer
}

func runPath(dir string, lo, hi uint64) string {
	return filepath.Join(dir, fmt.Sprintf("%016x-%016x%s", lo, hi, suffix))
}

// create begins a run of the writes lo to hi with at most keys entries.
func create(dir string, lo, hi, mark, keys uint64) (*writer, error) {
	path := runPath(dir, lo, hi)
	f, err := os.OpenFile(path+unfinished, os.O_CREATE|os.O_TRUNC|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	w := &writer{f: f, path: path, filter: newFilter(keys), foot: footer{lo: lo, hi: hi, mark: mark}}
	if err := w.write(append([]byte(runMagic), runVersion, 0, 0, 0)); err != nil {
		w.abandon()
		return nil, err
	}
	return w, nil
}

// abandon throws away what is written.
func (w *writer) abandon() {
	_ = w.f.Close()
	_ = os.Remove(w.path + unfinished) // at worst the next start removes it
}

func (w *writer) write(b []byte) error {
	n, err := w.f.Write(b)
	w.off += int64(n)
	if err == nil && w.off-w.synced >= syncEvery {
		w.synced = w.off
		err = w.f.Sync()
	}
	return err
}

// add adds an entry; keys must ascend.
func (w *writer) add(e *Entry) error {
	if w.foot.entries > 0 && bytes.Compare(e.Key, w.last) <= 0 {
		return fmt.Errorf("key %q after %q", e.Key, w.last)
	}
	shared := 0
	if len(w.block) == 0 {
		w.first = append(w.first[:0], e.Key...)
	} else {
		for shared < min(len(e.Key), len(w.last)) && e.Key[shared] == w.last[shared] {
			shared++
		}
	}
	b := binary.AppendUvarint(w.block, uint64(shared))
	b = binary.AppendUvarint(b, uint64(len(e.Key)-shared))
	b = append(b, e.Key[shared:]...)
	switch {
	case e.Dead:
		b = append(b, kindDead)
		w.foot.dead++
	case len(e.Value) <= inlineValue:
		b = append(b, kindInline)
		b = binary.AppendUvarint(b, uint64(len(e.Value)))
		b = append(b, e.Value...)
	default:
		b = append(b, kindBeside)
		b = binary.AppendUvarint(b, uint64(w.off)+uint64(len(w.values)))
		b = binary.AppendUvarint(b, uint64(len(e.Value)))
		b = binary.BigEndian.AppendUint32(b, crc32.Checksum(e.Value, castagnoli))
		w.values = append(w.values, e.Value...)
	}
	w.block = b
	w.last = append(w.last[:0], e.Key...)
	w.filter.add(hash(e.Key))
	w.foot.entries++
	w.foot.bytes += e.size()
	if len(w.block) >= blockSize {
		return w.endBlock()
	}
	if len(w.values) >= valueBuffer {
		return w.endValues()
	}
	return nil
}

func (w *writer) endValues() error {
	err := w.write(w.values)
	w.values = w.values[:0]
	return err
}

// endBlock writes the keys, after their values: so a value's offset is known
// when its key is added.
func (w *writer) endBlock() error {
	if err := w.endValues(); err != nil {
		return err
	}
	if len(w.block) == 0 {
		return nil
	}
	w.index = append(w.index, blockRef{string(w.first), w.off, len(w.block)})
	err := w.frame(w.block)
	w.block = w.block[:0]
	return err
}

func (w *writer) frame(b []byte) error {
	h := binary.BigEndian.AppendUint32(nil, uint32(len(b)))
	h = binary.BigEndian.AppendUint32(h, crc32.Checksum(b, castagnoli))
	if err := w.write(h); err != nil {
		return err
	}
	return w.write(b)
}

// finish makes the run durable under its name and opens it.
func (w *writer) finish() (*run, error) {
	err := w.endBlock()
	w.foot.index = uint64(w.off)
	var index []byte
	index = binary.AppendUvarint(index, uint64(len(w.index)))
	for _, x := range w.index {
		index = binary.AppendUvarint(index, uint64(len(x.first)))
		index = append(index, x.first...)
		index = binary.AppendUvarint(index, uint64(x.off))
		index = binary.AppendUvarint(index, uint64(x.size))
	}
	if err == nil {
		err = w.frame(index)
	}
	w.foot.filter = uint64(w.off)
	if err == nil {
		err = w.frame(w.filter)
	}
	if err == nil {
		err = w.write(w.foot.encode())
	}
	if err == nil {
		err = w.f.Sync()
	}
	if err == nil {
		err = os.Rename(w.path+unfinished, w.path)
	}
	if err == nil {
		if err = syncDir(filepath.Dir(w.path)); err != nil {
			_ = os.Remove(w.path) // whether it is there after a power cut nobody knows
		}
	}
	if err != nil {
		w.abandon()
		return nil, err
	}
	return &run{footer: w.foot, f: w.f, path: w.path, size: w.off, index: w.index, filter: w.filter}, nil
}

// syncDir makes the names in a folder durable.
func syncDir(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}
