package localbroker

import (
	"encoding/binary"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ebbgate/ebbgate/bridge"
)

// store is the broker's side of the shelf: numbers that are never given twice,
// the messages that several entries share, and what is to be forgotten.
type store struct {
	Shelf
	log   *quietLog
	drops *bridge.DropLog
	bytes atomic.Int64 // of all entries, in flight ones included

	mu      sync.Mutex
	next    uint64            // last number given
	ceiling uint64            // numbers up to here are reserved on the shelf
	refs    map[uint64]uint32 // entries of each shared body, and the retained message

	entries, bodies []string // to be forgotten
	armed           bool     // a timer will forget them
	flushing        sync.Mutex
}

// Numbers (of sessions, groups and bodies) are reserved by the million, so that
// a start never gives one that an earlier start has given: what a crash brings
// back must not fall to a stranger.
const numberBlock = 1 << 32

const numbersKey = "next"

func newStore(s Shelf, log *quietLog, drops *bridge.DropLog) *store {
	return &store{Shelf: s, log: log, drops: drops, refs: map[uint64]uint32{}}
}

// body reads a shared message.
func (s *store) body(n uint64) ([]byte, error) { return s.Get(shelfBody, bodyKey(n)) }

// damaged tells of something that cannot be read and is given up.
func (s *store) damaged(what string, err error) {
	s.drops.CountError(bridge.Errorf("read", bridge.Corrupt, "%s: %w", what, err), "", "")
	s.log.warn("shelf-damaged", "something kept for devices is damaged and was given up", slog.String("what", what), slog.String("error", err.Error()))
}

// number gives a new number. The batch that makes something durable under it
// also reserves it, when no earlier one has done so: then ceiling is for
// confirm, once the batch is durable.
func (s *store) number(b *bridge.Batch) (n, ceiling uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.next++
	if s.next+numberBlock/2 > s.ceiling {
		ceiling = s.next + numberBlock
		b.Put(shelfNumbers, numbersKey, binary.BigEndian.AppendUint64(nil, ceiling))
	}
	return s.next, ceiling
}

// confirm notes that numbers up to ceiling are reserved.
func (s *store) confirm(ceiling uint64) {
	if ceiling == 0 {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ceiling = max(s.ceiling, ceiling)
}

// share notes that a body has n that refer to it.
func (s *store) share(body uint64, n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.refs[body] += uint32(n)
}

// drop forgets an entry, and its body with the last that has it.
func (s *store) drop(e entry) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.entries = append(s.entries, e.key())
	s.releaseLocked(e.body)
	s.armLocked()
}

// release takes a reference to a durable body away, which goes with its last one.
func (s *store) release(body uint64) {
	if body == 0 {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.releaseLocked(body)
	s.armLocked()
}

func (s *store) releaseLocked(body uint64) {
	if body != 0 && s.unrefLocked(body) {
		s.bodies = append(s.bodies, bodyKey(body))
	}
}

func (s *store) armLocked() {
	if !s.armed {
		s.armed = true
		time.AfterFunc(forgetDelay, s.flush)
	}
}

// unref takes a reference away without forgetting: nothing was committed.
func (s *store) unref(body uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.unrefLocked(body)
}

func (s *store) unrefLocked(body uint64) (last bool) {
	if n := s.refs[body]; n > 1 {
		s.refs[body] = n - 1
		return false
	}
	delete(s.refs, body)
	return true
}

// forgetDelay gathers what devices acknowledge.
const forgetDelay = 5 * time.Millisecond

// flush forgets what waits, entries before their bodies: a body that is gone
// tells that all its entries were done with. When it returns nothing that was
// dropped before can be read.
func (s *store) flush() {
	s.flushing.Lock()
	defer s.flushing.Unlock()
	s.mu.Lock()
	entries, bodies := s.entries, s.bodies
	s.entries, s.bodies, s.armed = nil, nil, false
	s.mu.Unlock()
	if len(entries) > 0 {
		s.Forget(shelfQueue, entries...)
	}
	if len(bodies) > 0 {
		s.Forget(shelfBody, bodies...)
	}
}

func bodyKey(n uint64) string { return string(binary.BigEndian.AppendUint64(nil, n)) }
