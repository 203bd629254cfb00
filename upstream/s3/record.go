package s3

import (
	"context"
	"crypto/sha256"
	"encoding"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	gohash "hash"
	"strings"
	"time"

	"github.com/ebbgate/ebbgate/bridge"
)

// Shelf is where the state of uploads in parts is kept: the part of
// [bridge.Spool] that is used, with its promises.
type Shelf interface {
	Commit(b *bridge.Batch, done func(bridge.Seq, error))
	Get(namespace, key string) ([]byte, error)
	Scan(namespace, prefix string, fn func(key string, value []byte) bool) error
	Forget(namespace string, keys ...string)
}

// The namespaces of the shelf.
const (
	shelfUpload = bridge.ShelfPrefix + "s3upload" // keyOf a file: an upload
	shelfPart   = bridge.ShelfPrefix + "s3part"   // keyOf a file and the number, 4 bytes: a part
	shelfSpoilt = bridge.ShelfPrefix + "s3spoilt" // keyOf a file: a spoiltObject
)

// recordVersion begins every value.
const recordVersion = 1

// upload is one in parts, of which the store has none or some. It is on the shelf
// before the store is asked for an id, so that no id is lost by a crash.
type upload struct {
	ClientID string    `json:"clientid"`
	FileID   string    `json:"fileid"`
	Endpoint string    `json:"endpoint,omitempty"`
	Bucket   string    `json:"bucket"`
	Key      string    `json:"key"`
	ID       string    `json:"id,omitempty"`    // empty: asked for
	Asked    time.Time `json:"asked"`           // for an id; zero: it is not known when
	There    bool      `json:"there,omitempty"` // by the store's clock; an earlier version took ours
	Size     int64     `json:"size"`
	Sum      []byte    `json:"sha256"`
	PartSize int64     `json:"part_size"`
	Whole    bool      `json:"whole,omitempty"` // all parts are there, and it has been asked to make an object of them
}

// part is one that the store has.
type part struct {
	Number int32  `json:"number"`
	ETag   string `json:"etag"`
	Sum    []byte `json:"sha256"`
	State  []byte `json:"state"` // of the hash of the file, behind this part
}

// keyOf is a file's key on the shelf: a length and both ids.
func keyOf(clientID, fileID string) string {
	return string(binary.AppendUvarint(nil, uint64(len(clientID)))) + clientID + fileID
}

func (u *upload) shelfKey() string { return keyOf(u.ClientID, u.FileID) }

// partKey sorts parts by their numbers, and those of no two files together.
func (u *upload) partKey(number int32) string {
	return u.partPrefix() + string(binary.BigEndian.AppendUint32(nil, uint32(number))) //nolint:gosec // 1 to 10000
}

func (u *upload) partPrefix() string {
	key := u.shelfKey()
	return string(binary.AppendUvarint(nil, uint64(len(key)))) + key
}

// parts is how many parts the file has.
func (u *upload) parts() int32 {
	return int32((u.Size + u.PartSize - 1) / u.PartSize) //nolint:gosec // at most 10000: see partSize
}

// span is where a part is in its file.
func (u *upload) span(number int32) (offset, length int64) {
	offset = int64(number-1) * u.PartSize
	return offset, min(u.PartSize, u.Size-offset)
}

// keep puts a record on the shelf and waits for it.
func (t *Target) keep(ctx context.Context, namespace, key string, record any) error {
	value, err := json.Marshal(record)
	if err != nil { // structs of texts and numbers
		panic("s3: encode a record: " + err.Error())
	}
	var b bridge.Batch
	b.Put(namespace, key, append([]byte{recordVersion}, value...))
	return t.commit(ctx, &b)
}

func (t *Target) commit(ctx context.Context, b *bridge.Batch) error {
	done := make(chan error, 1)
	t.shelf.Commit(b, func(_ bridge.Seq, err error) { done <- err })
	select {
	case err := <-done:
		if err != nil {
			return fmt.Errorf("export: the state of an upload cannot be kept: %w", err)
		}
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func decode(value []byte, into any) error {
	if len(value) == 0 || value[0] != recordVersion {
		return fmt.Errorf("not a record of version %d", recordVersion)
	}
	return json.Unmarshal(value[1:], into)
}

// kept finds the upload of a file, nil when none has been begun. One whose record
// is damaged is forgotten: its id is lost.
func (t *Target) kept(clientID, fileID string) (*upload, error) {
	value, err := t.shelf.Get(shelfUpload, keyOf(clientID, fileID))
	if err != nil || value == nil {
		return nil, err
	}
	var u upload
	if err := decode(value, &u); err != nil || u.PartSize <= 0 || u.ClientID != clientID || u.FileID != fileID {
		t.log.Warn("an upload to S3 is begun anew: its record is damaged", "client", clientID, "file", fileID, "error", err)
		return nil, nil
	}
	return &u, nil
}

// keptParts are the first parts of an upload that the store has, without a gap.
func (t *Target) keptParts(u *upload) ([]part, error) {
	var out []part
	err := t.shelf.Scan(shelfPart, u.partPrefix(), func(_ string, value []byte) bool {
		var p part
		if decode(value, &p) != nil || int(p.Number) != len(out)+1 || len(p.Sum) != sha256.Size {
			return false
		}
		out = append(out, p)
		return true
	})
	return out, err
}

// forget drops what is on the shelf of an upload.
func (t *Target) forget(ctx context.Context, u *upload) error {
	var b bridge.Batch
	b.Put(shelfUpload, u.shelfKey(), nil)
	if err := t.commit(ctx, &b); err != nil {
		return err
	}
	return t.forgetParts(u)
}

func (t *Target) forgetParts(u *upload) error {
	var keys []string
	err := t.shelf.Scan(shelfPart, u.partPrefix(), func(key string, _ []byte) bool {
		keys = append(keys, strings.Clone(key))
		return true
	})
	if len(keys) > 0 {
		t.shelf.Forget(shelfPart, keys...)
	}
	return err
}

// stateOf and restored keep a hash that has been begun.
func stateOf(h gohash.Hash) []byte {
	state, err := h.(encoding.BinaryMarshaler).MarshalBinary()
	if err != nil { // the standard library's SHA-256 always can
		panic("s3: the state of a hash: " + err.Error())
	}
	return state
}

func restored(state []byte) (gohash.Hash, error) {
	h := sha256.New()
	u, ok := h.(encoding.BinaryUnmarshaler)
	if !ok {
		return nil, errors.New("this SHA-256 cannot be taken up again")
	}
	return h, u.UnmarshalBinary(state)
}
