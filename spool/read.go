package spool

import (
	"github.com/dgraph-io/badger/v4"

	"github.com/ebbgate/ebbgate/bridge"
	"github.com/ebbgate/ebbgate/spool/runs"
)

// Get implements [bridge.Spool].
func (s *Spool) Get(namespace, key string) (v []byte, err error) {
	if bridge.OnShelf(namespace) {
		return s.shelf.get(shelfKey(namespace, key))
	}
	s.settle()
	err = s.state.View(func(txn *badger.Txn) error {
		v, err = getValue(txn, userKey(namespace, key))
		return err
	})
	return v, err
}

// Count implements [bridge.Spool].
func (s *Spool) Count(namespace, key string) (int64, error) {
	v, err := s.Get(namespace, key)
	return counter(v), err
}

// Scan implements [bridge.Spool].
func (s *Spool) Scan(namespace, prefix string, fn func(key string, value []byte) bool) error {
	if bridge.OnShelf(namespace) {
		s.shelf.scan(shelfKey(namespace, prefix), func(k []byte, e runs.Source) bool {
			v, ok := e.Value()
			return !ok || fn(string(k[len(namespace)+1:]), v)
		})
		return nil
	}
	s.settle()
	return scanPrefix(s.state, string(userKey(namespace, prefix)), func(k, v []byte) bool {
		return fn(prefix+string(k), v)
	})
}

// Keys implements [bridge.Spool].
func (s *Spool) Keys(namespace, prefix string, fn func(key string) bool) error {
	if bridge.OnShelf(namespace) {
		s.shelf.scan(shelfKey(namespace, prefix), func(k []byte, _ runs.Source) bool {
			return fn(string(k[len(namespace)+1:]))
		})
		return nil
	}
	s.settle()
	from := userKey(namespace, prefix)
	return s.state.View(func(txn *badger.Txn) error {
		o := badger.DefaultIteratorOptions
		o.Prefix, o.PrefetchValues = from, false
		it := txn.NewIterator(o)
		defer it.Close()
		for it.Rewind(); it.Valid(); it.Next() {
			if !fn(prefix + string(it.Item().Key()[len(from):])) {
				return nil
			}
		}
		return nil
	})
}

// CounterValue decodes a counter that Scan returned.
func CounterValue(v []byte) int64 { return counter(v) }
