package filetransfer

import (
	"context"
	"encoding/json"
	"strings"

	"github.com/ebbgate/ebbgate/bridge"
)

// Shelf is where it is kept how far files have come: the part of [bridge.Spool]
// that is used, with its promises.
type Shelf interface {
	Commit(b *bridge.Batch, done func(bridge.Seq, error))
	Get(namespace, key string) ([]byte, error)
	Scan(namespace, prefix string, fn func(key string, value []byte) bool) error
	Forget(namespace string, keys ...string)
}

// shelf holds the progress of files, by upstream/ and the first of their file ids.
const shelf = bridge.ShelfPrefix + "file-upstream"

// keepEvery is how many bytes may be taken between two notes of it.
const keepEvery = 1 << 20

// progress is how far a file has come.
type progress struct {
	ClientID string `json:"clientid"`
	FileID   string `json:"fileid"`
	Round    int    `json:"round"` // of its file id there
	Taken    int64  `json:"taken"` // up to here the other side has acknowledged all
	Whole    bool   `json:"whole"` // fin was answered with success

	key  string
	kept int64
}

// progressOf finds how far a file has come, nowhere when nothing is known. What
// cannot be read is as good as unknown: it is sent anew, and the other side puts it
// where it was.
func (t *Target) progressOf(f *bridge.File) *progress {
	p := &progress{}
	key := t.name + "/" + remoteID(f, 0)
	if value, err := t.shelf.Get(shelf, key); err == nil && json.Unmarshal(value, p) == nil &&
		p.ClientID == f.ClientID && p.FileID == f.FileID && p.Taken >= 0 && p.Taken <= f.Size && p.Round >= 0 {
		p.key, p.kept = key, p.Taken
		return p
	}
	return &progress{ClientID: f.ClientID, FileID: f.FileID, key: key}
}

// keep writes it. That it was not written costs some bytes that go twice.
func (t *Target) keep(p *progress) {
	value, _ := json.Marshal(p) // texts and numbers
	b := new(bridge.Batch)
	b.Put(shelf, p.key, value)
	p.kept = p.Taken
	t.shelf.Commit(b, nil)
}

// anew forgets that something was taken; with another, under a new file id, which
// the other side has nothing of.
func (t *Target) anew(p *progress, another bool) {
	p.Taken, p.Whole = 0, false
	if another {
		p.Round++
	}
	t.keep(p)
}

// Abandon implements bridge.FileTarget. The other side is told when it is there;
// else it forgets what it has by its own clock.
func (t *Target) Abandon(ctx context.Context, stays func(clientID, fileID string) bool) error {
	gone := map[string]*progress{}
	err := t.shelf.Scan(shelf, t.name+"/", func(key string, value []byte) bool {
		p := &progress{}
		if json.Unmarshal(value, p) != nil {
			p.Whole = true // nothing to tell
		}
		if p.ClientID == "" || !stays(p.ClientID, p.FileID) {
			gone[strings.Clone(key)] = p
		}
		return true
	})
	for key, p := range gone {
		if !p.Whole && p.Round == 0 {
			t.abort(ctx, strings.TrimPrefix(key, t.name+"/"))
		}
		t.shelf.Forget(shelf, key)
	}
	return err
}
