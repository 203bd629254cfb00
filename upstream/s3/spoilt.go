package s3

import (
	"context"
	"strings"

	"github.com/ebbgate/ebbgate/bridge"
)

// spoiltObject is one that the store has made of a file, and of which it has said the
// checksum of something else. With the file's metadata it looks like the file: the next
// attempt is not to take it for that, and replaces it.
type spoiltObject struct {
	ClientID string `json:"clientid"`
	FileID   string `json:"fileid"`
	Endpoint string `json:"endpoint,omitempty"`
	Bucket   string `json:"bucket"`
	Key      string `json:"key"`
}

func (t *Target) spoiltOf(f *bridge.File, o *object) *spoiltObject {
	return &spoiltObject{f.ClientID, f.FileID, t.o.Endpoint, t.o.Bucket, o.key}
}

// spoil notes that the object of a file is such a one.
func (t *Target) spoil(ctx context.Context, f *bridge.File, o *object) error {
	return t.keep(ctx, shelfSpoilt, keyOf(f.ClientID, f.FileID), t.spoiltOf(f, o))
}

// isSpoilt reports whether that was noted of a file's object.
func (t *Target) isSpoilt(f *bridge.File, o *object) (bool, error) {
	value, err := t.shelf.Get(shelfSpoilt, keyOf(f.ClientID, f.FileID))
	if err != nil || value == nil {
		return false, err
	}
	var s spoiltObject
	return decode(value, &s) == nil && s == *t.spoiltOf(f, o), nil
}

// replaced forgets it.
func (t *Target) replaced(ctx context.Context, f *bridge.File) error {
	var b bridge.Batch
	b.Put(shelfSpoilt, keyOf(f.ClientID, f.FileID), nil)
	return t.commit(ctx, &b)
}

// forgetSpoilt forgets those of files that nobody will put any more.
func (t *Target) forgetSpoilt(stays func(clientID, fileID string) bool) error {
	var keys []string
	err := t.shelf.Scan(shelfSpoilt, "", func(key string, value []byte) bool {
		var s spoiltObject
		if decode(value, &s) != nil || !stays(s.ClientID, s.FileID) {
			keys = append(keys, strings.Clone(key))
		}
		return true
	})
	if len(keys) > 0 {
		t.shelf.Forget(shelfSpoilt, keys...)
	}
	return err
}
