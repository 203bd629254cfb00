package spool

import (
	"encoding/binary"
	"log/slog"
	"path/filepath"
	"testing"

	"github.com/dgraph-io/badger/v4"
)

// rewind sets a state's mark of what is applied back to nothing, as if the kill
// had come before, and returns how many closed generations carry changes.
func rewind(t *testing.T, dir string) (n int) {
	t.Helper()
	db, err := openBadger(stateOptions(filepath.Join(dir, "state"), slog.New(slog.DiscardHandler)))
	if err != nil {
		t.Fatal(err)
	}
	err = scanPrefix(db, keyGeneration, func(_, v []byte) bool {
		if m, err := decodeMeta(v); err == nil && m.ops > 0 {
			n++
		}
		return true
	})
	if err != nil {
		t.Fatal(err)
	}
	err = db.Update(func(txn *badger.Txn) error {
		return txn.Set([]byte(keyApplied), binary.BigEndian.AppendUint64(nil, 0))
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	return n
}
