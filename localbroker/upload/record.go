package upload

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"time"

	"github.com/ebbgate/ebbgate/bridge"
)

// The namespaces of the shelf.
const (
	shelfTransfer = bridge.ShelfPrefix + "transfer"  // 8 bytes, its number: a transferRecord
	shelfSegment  = bridge.ShelfPrefix + "segment"   // number, offset, length, 8 bytes each: a segment
	shelfFile     = bridge.ShelfPrefix + "file"      // pair.key: an exported file
	shelfStore    = bridge.ShelfPrefix + "filestore" // tagKey: see path
)

// recordVersion begins every value.
const recordVersion = 1

// transferRecord is the durable state of one transfer. What it is made of is in
// its segments.
type transferRecord struct {
	ClientID string        `json:"clientid"`
	FileID   string        `json:"fileid"`
	Begun    time.Duration `json:"begun"` // on the shelf's clock
	Meta     *meta         `json:"meta,omitempty"`
	MetaAge  uint32        `json:"meta_age,omitempty"` // when it came, seconds of that clock

	// Verified is set when the file is whole and waits for its export.
	Verified *verdict `json:"verified,omitempty"`

	// Moving is set before its file may be renamed to where it is exported: then
	// it may be gone from here, and taken away from there, before there is a record
	// of the export.
	Moving bool `json:"moving,omitempty"`
}

// verdict is what fin has found.
type verdict struct {
	Size  int64         `json:"size"`
	Sum   []byte        `json:"sha256"`
	Since time.Duration `json:"since"` // the order of the queue
}

// exported is what is remembered of a file that has left: a device that has lost
// the answer asks again, and an id that is used for another file is refused.
type exported struct {
	ClientID string        `json:"clientid"`
	FileID   string        `json:"fileid"`
	Size     int64         `json:"size"`
	Sum      []byte        `json:"sha256"`
	Place    string        `json:"place"`
	At       time.Duration `json:"at"` // on the shelf's clock
	Meta     *meta         `json:"meta"`
	Cost     *Cost         `json:"cost,omitempty"` // nil: exported by an earlier version
}

func encodeJSON(v any) []byte {
	b := bytes.NewBuffer([]byte{recordVersion})
	e := json.NewEncoder(b)
	e.SetEscapeHTML(false)              // which makes six bytes of one that a device sends
	if err := e.Encode(v); err != nil { // structs of texts and numbers, and JSON that was parsed
		panic("upload: encode a record: " + err.Error())
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n"))
}

func decodeJSON(value []byte, into any) error {
	if len(value) == 0 || value[0] != recordVersion {
		return fmt.Errorf("not a record of version %d", recordVersion)
	}
	return json.Unmarshal(value[1:], into)
}

func transferKey(number uint64) string {
	return string(binary.BigEndian.AppendUint64(nil, number))
}

func segmentKey(number uint64, s span) string {
	b := binary.BigEndian.AppendUint64(nil, number)
	b = binary.BigEndian.AppendUint64(b, uint64(s.offset))
	return string(binary.BigEndian.AppendUint64(b, uint64(s.length)))
}

func parseSegmentKey(key string) (number uint64, s span, ok bool) {
	if len(key) != 24 {
		return 0, s, false
	}
	b := []byte(key)
	s = span{int64(binary.BigEndian.Uint64(b[8:])), int64(binary.BigEndian.Uint64(b[16:]))}
	return binary.BigEndian.Uint64(b), s, s.offset >= 0 && s.offset <= maxNumber && s.length > 0 && s.length <= maxNumber
}

// A segment's value: version, place in the file (8), CRC-32C (4), age (4).
const segmentSize = 17

func (s stored) encode() []byte {
	b := binary.BigEndian.AppendUint64([]byte{recordVersion}, uint64(s.at))
	return binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint32(b, s.crc), s.age)
}

func decodeSegment(b []byte) (s stored, ok bool) {
	if len(b) != segmentSize || b[0] != recordVersion {
		return s, false
	}
	s.at, s.crc, s.age = int64(binary.BigEndian.Uint64(b[1:])), binary.BigEndian.Uint32(b[9:]), binary.BigEndian.Uint32(b[13:])
	s.durable = true
	return s, s.at >= 0 && s.at <= maxNumber
}
