package spool

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/ebbgate/ebbgate/bridge"
)

// tailName is the file that says where the log ends. Nothing in the log can say
// that: when its newest file is gone after a kill, what is left looks like a log
// that was never longer. The mark stands in a file of its own, outside the
// generations, and is written after a commit is synced and before anybody is
// told of it. It is never synced for a commit: after a kill it is exact, and
// after a power cut it is at most older than the log, so that it never speaks
// of what was not synced.
const tailName = "TAIL"

const (
	tailMagic   = "EbbT"
	tailVersion = 1
	tailHeader  = 4 + 1 + 3 + 8 + 8 + 8 + 8 + 4 + 4
	tailSum     = tailHeader - 4
	tailSlot    = 4 << 10  // at first, a page
	maxTail     = 64 << 20 // a larger file is none of ours
)

// tailMark is what the file says: every sequence before end was synced, and every
// place before the next of its queue.
type tailMark struct {
	generation uint64
	first, end bridge.Seq // the generation's first, and the one after its last commit
	queues     []tailQueue
}

// tailQueue is one queue of a mark.
type tailQueue struct {
	name        string
	first, next bridge.Place // when the generation began, and now
}

// tailEntry is the most that a queue takes in the file besides its name.
const tailEntry = 3 * binary.MaxVarintLen64

func (m *tailMark) append(b []byte, spool uint64) []byte {
	start := len(b)
	b = append(b, tailMagic...)
	b = append(b, tailVersion, 0, 0, 0)
	b = binary.BigEndian.AppendUint64(b, spool)
	b = binary.BigEndian.AppendUint64(b, m.generation)
	b = binary.BigEndian.AppendUint64(b, uint64(m.first))
	b = binary.BigEndian.AppendUint64(b, uint64(m.end))
	b = append(b, 0, 0, 0, 0, 0, 0, 0, 0)
	b = binary.AppendUvarint(b, uint64(len(m.queues)))
	for i := range m.queues {
		q := &m.queues[i]
		b = appendString(b, q.name)
		b = binary.AppendUvarint(b, uint64(q.first))
		b = binary.AppendUvarint(b, uint64(q.next))
	}
	head, body := b[start:start+tailHeader], b[start+tailHeader:]
	binary.BigEndian.PutUint32(head[tailSum-4:], uint32(len(body)))
	binary.BigEndian.PutUint32(head[tailSum:], crc32.Update(crc32.Checksum(head[:tailSum], castagnoli), castagnoli, body))
	return b
}

// decodeTail decodes one slot.
func decodeTail(b []byte, spool uint64) (*tailMark, error) {
	if len(b) < tailHeader || string(b[:4]) != tailMagic || b[4] != tailVersion {
		return nil, bridge.Errorf("mark of the log's end", bridge.Corrupt, "no mark")
	}
	n := uint64(binary.BigEndian.Uint32(b[tailSum-4:]))
	if n > uint64(len(b)-tailHeader) || binary.BigEndian.Uint64(b[8:]) != spool {
		return nil, bridge.Errorf("mark of the log's end", bridge.Corrupt, "cut short, or another spool's")
	}
	body := b[tailHeader : tailHeader+n]
	if crc32.Update(crc32.Checksum(b[:tailSum], castagnoli), castagnoli, body) != binary.BigEndian.Uint32(b[tailSum:]) {
		return nil, bridge.Errorf("mark of the log's end", bridge.Corrupt, "checksum")
	}
	m := &tailMark{
		generation: binary.BigEndian.Uint64(b[16:]),
		first:      bridge.Seq(binary.BigEndian.Uint64(b[24:])),
		end:        bridge.Seq(binary.BigEndian.Uint64(b[32:])),
	}
	d := decoder{b: body}
	for range d.count(3) {
		m.queues = append(m.queues, tailQueue{d.string(), bridge.Place(d.uvarint()), bridge.Place(d.uvarint())})
	}
	return m, d.err
}

// readTail reads the mark of a spool's folder: the later of the file's two
// slots, of which a kill can have cut short one. It returns nil when there is no
// file: there has been no commit yet, or none since the file was introduced.
func readTail(dir string, spool uint64) (*tailMark, error) {
	path := filepath.Join(dir, tailName)
	fi, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err == nil && fi.Size() > maxTail {
		err = bridge.Errorf("mark of the log's end", bridge.Corrupt, "%d bytes", fi.Size())
	}
	if err != nil {
		return nil, err
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	a, errA := decodeTail(b[:len(b)/2], spool)
	z, errZ := decodeTail(b[len(b)/2:], spool)
	switch {
	case errA != nil && errZ != nil:
		return nil, errA
	case errA != nil || errZ == nil && z.later(a):
		return z, nil
	}
	return a, nil
}

func (m *tailMark) later(than *tailMark) bool {
	return m.end > than.end || m.end == than.end && m.generation > than.generation
}

// tailFile is the committer's hand on the file. It is mapped: the mark of a
// commit is some hundred bytes that are copied in memory, and the kernel writes
// the page when it likes.
type tailFile struct {
	tailMark
	dir   string
	spool uint64
	index map[string]int // into queues
	size  int            // of the encoded mark, at most
	data  []byte         // the mapped file, two slots
	slot  int            // the one that is written next
	buf   []byte
	known bool // the state knows that there is a mark
}

// begin makes m the mark, in a file that is made when it has not been in this
// run. After an error the mark is what it was.
func (t *tailFile) begin(m tailMark) error {
	before := *t
	t.tailMark, t.index, t.size = m, make(map[string]int, len(m.queues)), tailHeader+binary.MaxVarintLen64
	for i := range m.queues {
		t.index[m.queues[i].name] = i
		t.size += tailEntry + len(m.queues[i].name)
	}
	if len(t.data)/2 >= t.size {
		t.write()
		return nil
	}
	err := t.remake()
	if err != nil {
		*t = before
	}
	return err
}

// take makes room for the queues of a commit before it is written, so that
// noting it cannot fail.
func (t *tailFile) take(spans []queueSpan) error {
	for _, s := range spans {
		if _, ok := t.index[s.name]; !ok {
			t.index[s.name] = len(t.queues)
			t.queues = append(t.queues, tailQueue{s.name, s.first, s.first})
			t.size += tailEntry + len(s.name)
		}
	}
	if len(t.data)/2 < t.size {
		return t.remake()
	}
	return nil
}

// note marks a commit that is synced.
func (t *tailFile) note(h *commitHeader) {
	for _, s := range h.table {
		t.queues[t.index[s.name]].next = s.first + bridge.Place(s.count)
	}
	t.end = h.next()
	t.write()
}

func (t *tailFile) write() {
	t.buf = t.append(t.buf[:0], t.spool)
	copy(t.data[t.slot*len(t.data)/2:], t.buf)
	t.slot = 1 - t.slot
}

// remake writes a file that has room, with the mark in it, and puts it in the
// place of the old one. It is synced, so that a power cut never leaves an empty
// one; all of it is written, so that the map never meets a full disk.
func (t *tailFile) remake() error {
	slot := tailSlot
	for slot < t.size {
		slot *= 2
	}
	b := t.append(make([]byte, 0, 2*slot), t.spool)
	path := filepath.Join(t.dir, tailName)
	if err := writeDurably(path, b[:2*slot]); err != nil {
		return fmt.Errorf("mark of the log's end: %w", err)
	}
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return fmt.Errorf("mark of the log's end: %w", err)
	}
	data, err := unix.Mmap(int(f.Fd()), 0, 2*slot, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err = errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("map the mark of the log's end: %w", err)
	}
	t.close()
	t.data, t.slot = data, 1
	return nil
}

func (t *tailFile) close() {
	if t.data != nil {
		_ = unix.Munmap(t.data)
		t.data = nil
	}
}
