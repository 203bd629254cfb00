package spool

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"

	"github.com/dgraph-io/badger/v4"
)

// What a commit of the state has left that fails is unknown. Badger puts it into its
// memtable and the memtable's log before it syncs that; so one that was refused is
// seen by whoever reads, and a kill may find it. Had a retry added to what it reads
// there, it would add twice. So the state is first put back to what it was before, in
// one commit, and nothing else is written until that has succeeded: each change, a
// retry too, begins with what is known to be there. A kill between finds the commit
// whole, with its m/applied, or not at all, and both fit the log.

// stateTxn is one commit of the state in the making. It notes what it changes.
type stateTxn struct {
	*badger.Txn
	keys []string
}

// Set is Badger's.
func (t *stateTxn) Set(key, value []byte) error {
	t.keys = append(t.keys, string(key))
	return t.Txn.Set(key, value)
}

// Delete is Badger's.
func (t *stateTxn) Delete(key []byte) error {
	t.keys = append(t.keys, string(key))
	return t.Txn.Delete(key)
}

// put sets a key, or deletes it when there is no value.
func (t *stateTxn) put(key, value []byte) error {
	if value == nil {
		return t.Delete(key)
	}
	return t.Set(key, value)
}

// doubt is a commit of which nobody knows whether it is in the state.
type doubt struct {
	before *badger.Txn // sees the state as it was
	keys   []string    // what the commit changes
}

// updateState makes one commit of the state. Whoever calls it holds no lock of the
// queues.
func (s *Spool) updateState(change func(*stateTxn) error) error {
	c := &s.serial
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := s.takeBack(); err != nil {
		return err
	}
	err := s.commitState(change)
	if err != nil {
		_ = s.takeBack() // so that readers see what it was; whether that is durable matters to the next commit
	}
	return err
}

// commitState makes one commit; serial.mu is held.
func (s *Spool) commitState(change func(*stateTxn) error) error {
	c := &s.serial
	before := s.state.NewTransaction(false)
	txn := &stateTxn{Txn: s.state.NewTransaction(true)}
	defer txn.Discard()
	err := change(txn)
	if err == nil && c.file != nil {
		c.n++ // one that fails may be in the state all the same: its number is used up
		err = txn.Txn.Set([]byte(keySerial), appendNumber(nil, c.n, c.last))
	}
	if err != nil {
		before.Discard()
		return err
	}
	commit := c.commit
	if commit == nil {
		commit = (*badger.Txn).Commit
	}
	if err := commit(txn.Txn); err != nil {
		if c.doubt == nil {
			c.doubt = &doubt{before, txn.keys}
		} else {
			before.Discard()
		}
		return err
	}
	before.Discard()
	if c.doubt != nil {
		c.doubt.before.Discard()
		c.doubt = nil
	}
	if c.file != nil {
		c.last = c.n
		s.writeSerial()
	}
	return nil
}

// takeBack puts the state back to what it was before the commit that failed; serial.mu
// is held.
func (s *Spool) takeBack() error {
	d := s.serial.doubt
	if d == nil {
		return nil
	}
	err := redirty(s.state.Opts().Dir)
	if err == nil {
		err = s.commitState(func(txn *stateTxn) error {
			for _, k := range d.keys {
				v, err := getValue(d.before, []byte(k))
				if err == nil {
					err = txn.put([]byte(k), v)
				}
				if err != nil {
					return err
				}
			}
			return nil
		})
	}
	if err != nil {
		return fmt.Errorf("put the state back to what it was before a write that failed: %w", err)
	}
	return nil
}

// redirty writes the newest memtable's log once more, as it is, and syncs it: pages
// that the kernel could not write it takes for written, and would not try again.
func redirty(dir string) error {
	if dir == "" { // in memory
		return nil
	}
	names, err := filepath.Glob(filepath.Join(dir, "*.mem"))
	if err != nil || len(names) == 0 {
		return err
	}
	f, err := os.OpenFile(slices.Max(names), os.O_RDWR, 0)
	if err != nil {
		return err
	}
	b := make([]byte, 64<<10)
	for at, n := int64(0), len(b); err == nil && n == len(b); at += int64(n) {
		if n, err = f.ReadAt(b, at); errors.Is(err, io.EOF) {
			err = nil
		}
		if used := len(bytes.TrimRight(b[:n], "\x00")); err == nil && used > 0 { // holes stay
			_, err = f.WriteAt(b[:used], at)
		}
	}
	return errors.Join(err, f.Sync(), f.Close())
}
