package bridge

import (
	"errors"
	"strings"
	"time"
)

// ShelfPrefix begins the namespaces of the shelf: what the local broker keeps
// for its devices (sessions, their queues, retained messages, wills). There may
// be millions of keys, most of which live for seconds. A batch that puts
// something on the shelf is committed through the log, with the group commit of
// the messages and in their order, also when it appends nothing.
const ShelfPrefix = "shelf/"

// OnShelf reports whether a namespace is on the shelf.
func OnShelf(namespace string) bool { return strings.HasPrefix(namespace, ShelfPrefix) }

// Spool is the durable queue. All methods may be called concurrently.
type Spool interface {
	// Commit makes the batch durable, all of it or nothing, and then calls
	// done exactly once: with the sequence of the first appended record, or
	// with an *Error and nothing changed. Kind Full means back-pressure: try
	// again later. Batches that append are completed in the order of their
	// commits, from one goroutine that must not be blocked; done may be nil.
	//
	// Commit itself does not block on the disk. It takes ownership of the
	// batch. After Close it completes with Kind Unavailable.
	Commit(b *Batch, done func(first Seq, err error))

	// Cursor opens a reader over the live records of one queue, from its
	// durable head. Cursors of one queue are independent of each other.
	Cursor(queue string) Cursor

	// Committed is the sequence after the last record that cursors see: one of a
	// lower sequence that a cursor does not return after this call is not there. Who
	// reads several queues as one gives nothing of that sequence or later without
	// having asked anew.
	Committed() Seq

	// Watch sends to wake, without blocking, whenever records are appended for
	// one of the queues: give it a channel of capacity 1, drain the cursors,
	// then wait. stop ends it.
	Watch(wake chan<- struct{}, queues ...string) (stop func())

	// Get reads a value written by Batch.Put, nil when there is none. What was
	// there and cannot be read is an *Error of Kind Corrupt.
	Get(namespace, key string) ([]byte, error)

	// Scan calls fn for each key of namespace with the prefix, in byte order,
	// counters of Batch.Add included, until fn returns false. The slices are
	// fn's only until it returns. Adds and Puts committed before are seen. A
	// counter's value is 8 bytes, big-endian; putting nil deletes it.
	Scan(namespace, prefix string, fn func(key string, value []byte) bool) error

	// Keys is Scan without the values, which it does not read.
	Keys(namespace, prefix string, fn func(key string) bool) error

	// Forget removes keys of a namespace of the shelf at leisure: they read as
	// gone at once, and are gone for good within a second or so; a crash before
	// that may bring them back. It neither blocks on the disk nor fails.
	Forget(namespace string, keys ...string)

	// Count reads a counter of Batch.Add, 0 when there is none.
	Count(namespace, key string) (int64, error)

	// Depth tells what a queue holds, from counters kept at commit.
	Depth(queue string) Depth

	// Released reports whether a record that a cursor has returned is released
	// by now.
	Released(queue string, place Place) bool

	// Ledger tells what became of everything that a queue was ever given.
	Ledger(queue string) Ledger

	// Queues lists the queues that hold records or have been appended to
	// since the start, sorted.
	Queues() []string

	// Age is the spool's clock, see [Instant].
	Age() time.Duration
}

// Depth is what a queue holds.
type Depth struct {
	Records int64
	Bytes   int64         // payload and topic bytes, not disk
	Oldest  time.Duration // how long the first live record has waited, on the age clock; 0 when empty
}

// Cursor reads one queue in order. It is for one goroutine.
type Cursor interface {
	// Next returns the next record that is not released, or nil at the end of
	// what is committed. It skips what is damaged (the spool has reported the
	// missing range). The result stays valid.
	Next() (*Stored, error)

	// Seek moves the cursor so that Next returns the first live record at or
	// after place.
	Seek(place Place)

	// Close frees what the cursor holds open.
	Close()
}

// Batch is a set of changes that become durable together. The zero Batch is
// ready to use.
type Batch struct {
	Appends  []*Record
	Releases []Release
	Puts     []Put
	Adds     []Add

	// IfLive makes it a batch for records that somebody else may release: it
	// changes nothing, and ends with ErrReleased, when one of its Releases is of a
	// record that is released already. When it appends it moves the record: whoever
	// releases it meanwhile does nothing. Such a batch does not change the shelf.
	IfLive bool

	notes *notes // what it notes in the drop log: a part of Puts and Adds
}

// ErrReleased is the end of a batch that was [Batch.IfLive].
var ErrReleased = errors.New("the record is released already")

// Release says that one queue is done with one record, and why. The spool
// counts the fate of a record that was live, so that a record which is released
// twice has one fate, the first, and no crash can part the two.
type Release struct {
	Queue string
	Place Place
	Bytes int // what the record counted in [Depth].Bytes
	Fate  Fate
}

// Put sets a key of a namespace; a nil Value deletes it.
type Put struct {
	Namespace, Key string
	Value          []byte
}

// Add adds Delta to a counter.
type Add struct {
	Namespace, Key string
	Delta          int64
}

// Append adds a record to the batch.
func (b *Batch) Append(r *Record) { b.Appends = append(b.Appends, r) }

// Release adds a release to the batch: the queue that s was read for is done
// with it, because the receiver has it. Releasing twice is harmless.
func (b *Batch) Release(s *Stored) { b.ReleaseAs(s, Delivered) }

// ReleaseAs is Release for a record that meets another fate.
func (b *Batch) ReleaseAs(s *Stored, fate Fate) {
	b.Releases = append(b.Releases, Release{s.Receiver.Queue, s.Place, s.Size(), fate})
}

// Put adds a write to the batch; nil deletes.
func (b *Batch) Put(namespace, key string, value []byte) {
	b.Puts = append(b.Puts, Put{namespace, key, value})
}

// Add adds a counter change to the batch.
func (b *Batch) Add(namespace, key string, delta int64) {
	b.Adds = append(b.Adds, Add{namespace, key, delta})
}

// Empty reports whether the batch changes nothing.
func (b *Batch) Empty() bool {
	return len(b.Appends)+len(b.Releases)+len(b.Puts)+len(b.Adds) == 0
}
