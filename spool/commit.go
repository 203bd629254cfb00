package spool

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"

	"github.com/ebbgate/ebbgate/bridge"
)

// A commit is one value of the log: a header that describes itself, a table of
// the queues it touches, and frames with a checksum each. FORMAT.md draws it.
const (
	commitMagic   = "EbbC"
	commitVersion = 1
	headerSize    = 4 + 1 + 3 + 8 + 8 + 8 + 4 + 4 + 4 + 4
	headerSum     = headerSize - 4 // where its checksum stands
	frameHeader   = 4 + 4 + 1
	maxCommit     = 16 << 20 // a larger length is damage
)

// The kinds of frame.
const (
	frameRecord = 1
	frameOps    = 2
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// queueSpan says which places of a queue a commit holds.
type queueSpan struct {
	name  string
	first bridge.Place
	count uint64
	bytes uint64 // cumulative payload and topic bytes of the queue before this commit
}

// commitHeader is what a commit says about itself.
type commitHeader struct {
	spool      uint64 // random id of the spool: a device that smuggles a commit into a payload cannot know it
	generation uint64
	first      bridge.Seq // sequence of the first record, and the commit's key
	records    uint32
	table      []queueSpan
	size       int // of the whole commit in bytes
	frames     int // where its frames begin
}

// next is the sequence after the commit. A commit without records still takes
// one, so that every commit has a key of its own.
func (h *commitHeader) next() bridge.Seq { return h.first + bridge.Seq(max(h.records, 1)) }

// span finds a queue in the table.
func (h *commitHeader) span(queue string) (queueSpan, bool) {
	for _, s := range h.table {
		if s.name == queue {
			return s, true
		}
	}
	return queueSpan{}, false
}

// appendCommit finishes a commit: h describes it, frames is what appendFrame
// made.
func appendCommit(b []byte, h *commitHeader, frames []byte) []byte {
	start := len(b)
	var table []byte
	table = binary.AppendUvarint(table, uint64(len(h.table)))
	for _, s := range h.table {
		table = appendString(table, s.name)
		table = binary.AppendUvarint(table, uint64(s.first))
		table = binary.AppendUvarint(table, s.count)
		table = binary.AppendUvarint(table, s.bytes)
	}
	b = append(b, commitMagic...)
	b = append(b, commitVersion, 0, 0, 0)
	b = binary.BigEndian.AppendUint64(b, h.spool)
	b = binary.BigEndian.AppendUint64(b, h.generation)
	b = binary.BigEndian.AppendUint64(b, uint64(h.first))
	b = binary.BigEndian.AppendUint32(b, h.records)
	b = binary.BigEndian.AppendUint32(b, uint32(len(table)))
	b = binary.BigEndian.AppendUint32(b, uint32(len(frames)))
	b = binary.BigEndian.AppendUint32(b, crc32.Update(crc32.Checksum(b[start:], castagnoli), castagnoli, table))
	b = append(b, table...)
	return append(b, frames...)
}

// appendFrame wraps the payload that fill appends.
func appendFrame(b []byte, kind byte, fill func([]byte) []byte) []byte {
	at := len(b)
	b = append(b, 0, 0, 0, 0, 0, 0, 0, 0, kind)
	b = fill(b)
	binary.BigEndian.PutUint32(b[at:], uint32(len(b)-at-frameHeader))
	binary.BigEndian.PutUint32(b[at+4:], crc32.Checksum(b[at+8:], castagnoli))
	return b
}

// parseHeader reads the header and table of the commit at the start of b.
func parseHeader(b []byte) (*commitHeader, error) {
	if len(b) < headerSize || !bytes.HasPrefix(b, []byte(commitMagic)) {
		return nil, bridge.Errorf("commit", bridge.Corrupt, "no commit header")
	}
	if b[4] != commitVersion {
		return nil, bridge.Errorf("commit", bridge.Corrupt, "format version %d: this program reads version %d", b[4], commitVersion)
	}
	h := &commitHeader{
		spool:      binary.BigEndian.Uint64(b[8:]),
		generation: binary.BigEndian.Uint64(b[16:]),
		first:      bridge.Seq(binary.BigEndian.Uint64(b[24:])),
		records:    binary.BigEndian.Uint32(b[32:]),
	}
	table, frames := uint64(binary.BigEndian.Uint32(b[36:])), uint64(binary.BigEndian.Uint32(b[40:]))
	size := headerSize + table + frames
	if size > maxCommit || headerSize+table > uint64(len(b)) {
		return nil, bridge.Errorf("commit", bridge.Corrupt, "lengths do not fit")
	}
	h.size, h.frames = int(size), headerSize+int(table)
	body := b[headerSize : headerSize+table]
	if crc32.Update(crc32.Checksum(b[:headerSum], castagnoli), castagnoli, body) != binary.BigEndian.Uint32(b[headerSum:]) {
		return nil, bridge.Errorf("commit", bridge.Corrupt, "header checksum")
	}
	d := decoder{b: body}
	for range d.count(4) {
		h.table = append(h.table, queueSpan{d.string(), bridge.Place(d.uvarint()), d.uvarint(), d.uvarint()})
	}
	return h, d.err
}

// framesOf returns the frames of the commit whose header is h; they may be cut
// short by damage.
func (h *commitHeader) framesOf(b []byte) []byte {
	return b[h.frames:min(h.size, len(b))]
}

// eachFrame calls fn for the frames in order until it returns false; body is
// nil for a frame whose checksum is wrong. It reports whether all frames could
// be walked.
func eachFrame(frames []byte, fn func(kind byte, body []byte) bool) bool {
	more := true
	for more && len(frames) > 0 {
		var whole bool
		frames, whole = nextFrame(frames, func(kind byte, body []byte) { more = fn(kind, body) })
		if !whole {
			return false
		}
	}
	return true
}

// nextFrame calls fn with the first of the frames and returns the others; body
// is nil for a damaged one. whole is false, and fn is not called, when it is cut
// short.
func nextFrame(frames []byte, fn func(kind byte, body []byte)) (rest []byte, whole bool) {
	if len(frames) < frameHeader {
		return nil, false
	}
	n := uint64(binary.BigEndian.Uint32(frames))
	if n > uint64(len(frames)-frameHeader) {
		return nil, false
	}
	end := frameHeader + int(n)
	body := frames[frameHeader:end]
	if crc32.Checksum(frames[8:end], castagnoli) != binary.BigEndian.Uint32(frames[4:]) {
		body = nil
	}
	fn(frames[8], body)
	return frames[end:], true
}
