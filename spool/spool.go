package spool

import (
	"errors"
	"os"
	"slices"
	"sort"
	"sync"
	"sync/atomic"
	"time"

	"github.com/dgraph-io/badger/v4"

	"github.com/ebbgate/ebbgate/bridge"
)

// Spool is the durable queue of one folder. It implements [bridge.Spool].
type Spool struct {
	opts  Options
	sizes sizes
	deps  Deps
	lock  *os.File
	id    uint64     // random, fixed for the life of the folder
	state *badger.DB // written by updateState only
	age   *ageClock

	serial serial

	mu      sync.Mutex // generations, queues; never held across I/O
	gens    []*generation
	unnoted map[*generation]bool // gone, and not so in the state yet; false when that has failed
	queues  map[string]*queue
	lost    []Missing // ranges reported missing since the start

	damages  atomic.Int64 // reported since the start
	findings findings     // and what they are

	ballastSpent bool // by this process; of who opens and closes, and the committer between

	newest uint64 // the highest generation number ever used; never used again

	squeezed   bool // the intake waits for room: what is mostly released is condensed at once
	condensing bool // one generation at a time is condensed

	intake   intake
	writer   writer // the committer's own
	changes  chan *change
	claimed  map[recordPlace]claim // by moves; the keeper's own
	counters counters              // likewise
	visible  atomic.Uint64         // the sequence after the last that cursors see
	halted   error                 // a change of the log that could not be written; the keeper's own
	handed   atomic.Int64
	settled  *progress
	applied  atomic.Uint64 // last commit whose carried changes are in the state
	shelf    *shelf
	found    recovery // by the start

	committers sync.WaitGroup // committer, completer, who waits for room
	keeper     sync.WaitGroup // state keeper
	shelvers   sync.WaitGroup // shelver, merger
	closer     sync.WaitGroup // generations being closed or removed
	gone       chan struct{}  // closed when Close begins
	once       sync.Once
	handing    sync.RWMutex // held for writing to set shutting
	shutting   bool         // the state keeper takes no more
}

var _ bridge.Spool = (*Spool)(nil)

// queueLocked finds or makes a queue; s.mu is held.
func (s *Spool) queueLocked(name string) *queue {
	q := s.queues[name]
	if q == nil {
		q = &queue{name: name, next: 1, done: releases{head: 1}}
		s.queues[name] = q
	}
	return q
}

// Committed implements [bridge.Spool].
func (s *Spool) Committed() bridge.Seq { return bridge.Seq(s.visible.Load()) }

// Watch implements [bridge.Spool].
func (s *Spool) Watch(wake chan<- struct{}, queues ...string) (stop func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, name := range queues {
		q := s.queueLocked(name)
		q.watchers = append(q.watchers, wake)
	}
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		for _, name := range queues {
			q := s.queueLocked(name)
			q.watchers = slices.DeleteFunc(q.watchers, func(w chan<- struct{}) bool { return w == wake })
		}
	}
}

// Queues implements [bridge.Spool].
func (s *Spool) Queues() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var names []string
	for name, q := range s.queues {
		if q.next > 1 {
			names = append(names, name)
		}
	}
	sort.Strings(names)
	return names
}

// Depth implements [bridge.Spool].
func (s *Spool) Depth(queue string) bridge.Depth {
	s.mu.Lock()
	q := s.queueLocked(queue)
	d := bridge.Depth{Records: q.depth(), Bytes: int64(q.appended - q.done.bytes)}
	m, ok := q.marks.before(q.done.head)
	s.mu.Unlock()
	switch {
	case d.Records == 0:
		return bridge.Depth{}
	case ok:
		d.Oldest = s.Age() - time.Duration(m.age)
	default:
		d.Oldest = s.oldest(queue)
	}
	return d
}

// Released implements [bridge.Spool].
func (s *Spool) Released(queue string, place bridge.Place) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.queueLocked(queue).done.has(place)
}

// Ledger implements [bridge.Spool].
func (s *Spool) Ledger(queue string) bridge.Ledger {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.queueLocked(queue).ledger()
}

// oldest reads the head of a queue, and marks it so that it is read once.
func (s *Spool) oldest(queue string) time.Duration {
	c := s.open(queue)
	defer c.Close()
	r, err := c.Next()
	if err != nil || r == nil {
		return 0
	}
	s.mu.Lock()
	q := s.queueLocked(queue)
	q.marks.list = append([]mark{{r.Place, c.key, int64(r.Age)}}, q.marks.list...)
	s.mu.Unlock()
	return s.Age() - r.Age
}

// Age implements [bridge.Spool].
func (s *Spool) Age() time.Duration { return s.age.age() }

// Commit implements [bridge.Spool].
func (s *Spool) Commit(b *bridge.Batch, done func(bridge.Seq, error)) {
	if done == nil {
		done = func(bridge.Seq, error) {}
	}
	shelved := shelves(b)
	if b.IfLive && shelved {
		done(0, bridge.Errorf("commit", bridge.Internal, "a batch for live records only must not change the shelf"))
		return
	}
	if b.IfLive && len(b.Appends) > 0 {
		s.commitMove(b, done)
		return
	}
	if shelved && s.shelf.overfull() {
		done(0, bridge.Errorf("commit", bridge.Full, "the disk does not take what is kept for devices"))
		return
	}
	if len(b.Appends) == 0 && !shelved {
		c := &change{Batch: b, done: done}
		if n := c.size(); n > maxStateBatch {
			done(0, bridge.Errorf("commit", bridge.TooLarge, "changes of %d bytes, the state takes %d at once", n, maxStateBatch))
			return
		}
		s.hand(c)
		return
	}
	committed := done
	if s.opts.Durability == Memory {
		committed = func(bridge.Seq, error) {} // the giver is answered before
	}
	err := s.intake.put(b, committed)
	if err != nil || s.opts.Durability == Memory {
		done(0, err)
	}
}

// shelves reports whether a batch changes the shelf.
func shelves(b *bridge.Batch) bool {
	return slices.ContainsFunc(b.Puts, func(p bridge.Put) bool { return bridge.OnShelf(p.Namespace) })
}

// statePuts are those that go to the state.
func statePuts(puts []bridge.Put) (out []bridge.Put) {
	for _, p := range puts {
		if !bridge.OnShelf(p.Namespace) {
			out = append(out, p)
		}
	}
	return out
}

// hand gives a change to the state keeper.
func (s *Spool) hand(c *change) {
	s.handing.RLock()
	defer s.handing.RUnlock()
	if s.shutting {
		if c.done != nil {
			c.done(0, bridge.Errorf("commit", bridge.Unavailable, "the spool is closing"))
		}
		return
	}
	s.handed.Add(1)
	s.changes <- c
}

// Close commits what waits, syncs and closes the spool. What comes later
// completes with Kind Unavailable.
func (s *Spool) Close() error {
	var err error
	s.once.Do(func() {
		close(s.gone)
		s.intake.close()
		s.committers.Wait()
		s.shelvers.Wait()
		s.shelveAll()
		s.handing.Lock()
		s.shutting = true
		close(s.changes)
		s.handing.Unlock()
		s.keeper.Wait()
		err = s.closeAll()
		s.returnBallast()
		err = errors.Join(err, release(s.lock))
	})
	return err
}
