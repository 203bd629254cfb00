package bridge

import (
	"bytes"
	"maps"
	"strconv"
	"sync"
	"time"
)

// Succession is the [Gate] of a forwarder to whose queues the messages of some
// devices have moved from others: they may go when those that were accepted before
// the first of them, and are still in the others, have gone. So a device's messages
// keep their order when it gets a connection of its own.
//
// It waits once for each queue, and remembers in the spool that it has: what comes
// into the other queues later is not that device's. It is safe for concurrent use.
type Succession struct {
	spool Spool
	inner Gate // what says more about when messages may go; nil: nothing

	mu    sync.Mutex
	lanes map[int]*successors // by priority
}

// Successor is a queue to which messages come that came to others before.
type Successor struct {
	Queue     string
	Priority  int
	Inherited Place // see [Inherited]
}

// Predecessor is a queue that the messages came to before.
type Predecessor struct {
	Queue    string
	Raw      bool // what is in it comes to another queue when its steps are done
	Priority int
}

// successors are the queues of one priority that wait for others.
type successors struct {
	queues []string // that have waited for nothing yet
	began  map[string][]byte
	old    map[string]Place // by queue of these: up to where it is from an earlier time
	raw    []string
	before []string
	limits map[string]Place // by queue: the last place that is awaited; nil: nothing waits yet
	shaped bool             // what was in raw is in before
	asked  time.Time
}

// Each time that a thing has a connection of its own begins at a place of its queue:
// nsOld holds it, see Inherited. nsOwn holds that of the time in which the queue need
// not wait for others any more. What ends while another time begins may write its own
// a moment late: it says nothing of the later one, whose place is further on.
const (
	nsOwn = "own"
	nsOld = "own-old"
)

// Inherited tells of queues to which messages of single devices come now up to which
// place each is from an earlier time when they did: those that have something of it.
// What the device has sent since, to the queues of all, came after that and before
// what comes now: so that part is sent with those queues, and the rest waits for
// both. The first who asks decides, before messages come, and when all that went by
// earlier routes is committed (see [Ingest.Settle]).
func Inherited(spool Spool, queues []string) (map[string]Place, error) {
	out := map[string]Place{}
	var b Batch
	for _, q := range queues {
		began, over, err := timeOf(spool, q)
		if err != nil {
			return nil, err
		}
		if began == nil {
			began = strconv.AppendUint(nil, uint64(spool.Ledger(q).Accepted), 10)
			b.Put(nsOld, q, began)
		}
		if last, err := strconv.ParseUint(string(began), 10, 64); err == nil && last > 0 && !over {
			out[q] = Place(last)
		}
		if len(b.Puts) >= putsAtOnce {
			if err := written(spool, &b); err != nil {
				return nil, err
			}
		}
	}
	return out, written(spool, &b)
}

// timeOf is where in its queue a thing's present time with a connection of its own
// began, nil when that is not said, and whether it waits for no other any more.
func timeOf(spool Spool, queue string) (began []byte, over bool, err error) {
	if began, err = spool.Get(nsOld, queue); err != nil {
		return nil, false, err
	}
	own, err := spool.Get(nsOwn, queue)
	return began, began != nil && bytes.Equal(own, began), err
}

// putsAtOnce are far fewer than a commit takes.
const putsAtOnce = 256

// written commits a batch, empties it, and returns when it is durable.
func written(spool Spool, b *Batch) error {
	if b.Empty() {
		return nil
	}
	done := make(chan error, 1)
	full := *b
	spool.Commit(&full, func(_ Seq, err error) { done <- err })
	*b = Batch{}
	return <-done
}

// succeedEvery is how often it is looked whether the others have gone.
const succeedEvery = 100 * time.Millisecond

// NewSuccession makes the gate of a forwarder.
func NewSuccession(spool Spool, moved []Successor, before []Predecessor, inner Gate) *Succession {
	s := &Succession{spool: spool, inner: inner, lanes: map[int]*successors{}}
	for _, m := range moved {
		began, over, err := timeOf(spool, m.Queue)
		if err == nil && over {
			continue
		}
		l := s.lanes[m.Priority]
		if l == nil {
			l = &successors{began: map[string][]byte{}, old: map[string]Place{}}
			s.lanes[m.Priority] = l
		}
		l.queues = append(l.queues, m.Queue)
		l.began[m.Queue] = began
		l.old[m.Queue] = m.Inherited
	}
	for _, b := range before {
		switch l := s.lanes[b.Priority]; {
		case l == nil:
		case b.Raw:
			l.raw = append(l.raw, b.Queue)
		default:
			l.before = append(l.before, b.Queue)
		}
	}
	return s
}

// Open implements [Gate].
func (s *Succession) Open(priority int) bool {
	return s.succeeded(priority) && (s.inner == nil || s.inner.Open(priority))
}

// Account implements [Gate].
func (s *Succession) Account(b *Batch) {
	if s.inner != nil {
		s.inner.Account(b)
	}
}

func (s *Succession) succeeded(priority int) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	l := s.lanes[priority]
	if l == nil {
		return true
	}
	if now := time.Now(); now.Sub(l.asked) < succeedEvery {
		return false
	} else {
		l.asked = now
	}
	if !l.over(s.spool) {
		return false
	}
	var b Batch
	for _, q := range l.queues {
		b.Put(nsOwn, q, l.began[q])
	}
	s.spool.Commit(&b, nil) // lost, it is waited for once more
	delete(s.lanes, priority)
	return true
}

// over reports whether the others have gone. They are looked at when the first
// message is there: a device's earlier ones were committed before it.
func (l *successors) over(spool Spool) bool {
	if l.limits == nil {
		some := false
		for _, q := range l.queues {
			some = some || Place(spool.Ledger(q).Accepted) > l.old[q] && spool.Depth(q).Records > 0
		}
		if !some {
			return false
		}
		l.limits = ends(spool, l.raw)
	}
	if !l.shaped {
		if !gone(spool, l.limits) {
			return false
		}
		l.shaped, l.limits = true, ends(spool, l.before)
		maps.Copy(l.limits, l.old)
	}
	return gone(spool, l.limits)
}

// ends are the last places that queues have given out.
func ends(spool Spool, queues []string) map[string]Place {
	out := make(map[string]Place, len(queues))
	for _, q := range queues {
		out[q] = Place(spool.Ledger(q).Accepted)
	}
	return out
}

// gone reports whether nothing is left of queues up to places.
func gone(spool Spool, limits map[string]Place) bool {
	for q, last := range limits {
		if spool.Depth(q).Records > 0 {
			c := spool.Cursor(q)
			r, err := c.Next()
			c.Close()
			if err != nil || r != nil && r.Place <= last {
				return false
			}
		}
		delete(limits, q)
	}
	return true
}

// ForgetSuccessions forgets of all queues but those that they are waited with: who moves
// back, and then again, has to wait again. It returns when that is durable.
func ForgetSuccessions(spool Spool, kept func(queue string) bool) error {
	var b Batch
	for _, space := range [...]string{nsOwn, nsOld} {
		err := spool.Keys(space, "", func(key string) bool {
			if !kept(key) {
				b.Put(space, key, nil)
			}
			return true
		})
		if err != nil {
			return err
		}
	}
	return written(spool, &b)
}
