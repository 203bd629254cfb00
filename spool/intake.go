package spool

import (
	"errors"
	"sync"
	"time"

	"github.com/ebbgate/ebbgate/bridge"
)

// maxPending bounds what may wait for the committer: more is back-pressure.
const (
	maxPendingBatches = 64 << 10
	maxPendingBytes   = 32 << 20
	maxBatch          = 2 * MaxRecord // of records
	lingerFull        = 1 << 20       // a commit delay ends early when this much waits
	maxQueueName      = 255
)

// intake is where batches wait for the committer.
type intake struct {
	mu     sync.Mutex
	wake   chan struct{} // capacity 1
	list   []pending
	bytes  int
	closed bool
	full   error  // set while nothing is taken: the disk or the bound is reached
	rotate bool   // begin a new generation before the next commit
	forget bool   // commit what is forgotten, though nothing else waits
	given  uint64 // batches pushed since the start
	last   int    // batches of the commit before
	want   int    // batches that end a gathering
}

type pending struct {
	*bridge.Batch
	size    int
	shelved int    // bytes of it that go to the shelf
	relief  bool   // it releases as many records as it appends
	ticket  uint64 // its number
	done    func(bridge.Seq, error)
}

// check refuses what the log could never hold.
func check(b *bridge.Batch) (size, shelved int, err error) {
	for _, r := range b.Appends {
		n := recordSize(r)
		if n > MaxRecord {
			return 0, 0, bridge.Errorf("append", bridge.TooLarge, "record of %d bytes, the spool takes %d", n, MaxRecord)
		}
		if len(r.Receivers) == 0 || len(r.Receivers) > bridge.MaxReceivers {
			return 0, 0, bridge.Errorf("append", bridge.Internal, "%d receivers, 1 to %d are possible", len(r.Receivers), bridge.MaxReceivers)
		}
		for i := range r.Receivers {
			if q := r.Receivers[i].Queue; q == "" || len(q) > maxQueueName {
				return 0, 0, bridge.Errorf("append", bridge.Internal, "queue name %q", q)
			}
		}
		size += n
	}
	changes := (&change{Batch: b}).size()
	for _, p := range b.Puts {
		if bridge.OnShelf(p.Namespace) {
			shelved += putOverhead + len(p.Namespace) + len(p.Key) + len(p.Value)
		}
	}
	if size > maxBatch || changes > maxStateBatch || shelved > maxShelfBatch {
		return 0, 0, bridge.Errorf("append", bridge.TooLarge, "batch of %d bytes of records, %d bytes of changes and %d bytes for the shelf: at most %d, %d and %d are taken",
			size, changes, shelved, maxBatch, maxStateBatch, maxShelfBatch)
	}
	return size + changes + shelved, shelved, nil
}

// A batch's puts on the shelf: a body, and an entry for each of the sessions that
// get it.
const (
	maxShelfBatch = 2 << 20
	putOverhead   = 8 // of a put in a frame, its lengths
)

// recordSize estimates the encoded size of a record from above.
func recordSize(r *bridge.Record) int {
	n := 128 + len(r.Topic) + len(r.Payload) + len(r.Device) + len(r.Thing) + len(r.ContentType) + len(r.ResponseTopic) + len(r.CorrelationData)
	for _, u := range r.User {
		n += 8 + len(u.Key) + len(u.Value)
	}
	for i := range r.Receivers {
		n += 24 + len(r.Receivers[i].Topic)
	}
	return n
}

func (in *intake) put(b *bridge.Batch, done func(bridge.Seq, error)) error {
	size, shelved, err := check(b)
	if err != nil {
		return err
	}
	return in.push(pending{Batch: b, size: size, shelved: shelved, relief: relieves(b), done: done})
}

func (in *intake) push(p pending) error {
	in.mu.Lock()
	defer in.mu.Unlock()
	switch {
	case in.closed:
		return bridge.Errorf("append", bridge.Unavailable, "the spool is closing")
	case in.full != nil && !p.relief:
		return in.full
	case len(in.list) >= maxPendingBatches || in.bytes+p.size > maxPendingBytes:
		return bridge.Errorf("append", bridge.Full, "%d messages wait for the disk", len(in.list))
	}
	in.given++
	p.ticket = in.given
	in.list = append(in.list, p)
	in.bytes += p.size
	if len(in.list) == 1 || in.bytes > lingerFull || len(in.list) == in.want {
		in.signal()
	}
	return nil
}

// tickets is how many batches have been taken.
func (in *intake) tickets() uint64 {
	in.mu.Lock()
	defer in.mu.Unlock()
	return in.given
}

func (in *intake) signal() {
	select {
	case in.wake <- struct{}{}:
	default:
	}
}

// take waits for batches and returns as many as one commit takes. It returns
// false when the intake is closed and empty; an empty list with true asks the
// committer to look after itself (rotate, forget).
func (in *intake) take(limit int, delay time.Duration) ([]pending, bool) {
	in.mu.Lock()
	for len(in.list) == 0 && !in.closed && !in.rotate && !in.forget {
		in.mu.Unlock()
		<-in.wake
		in.mu.Lock()
	}
	if delay > 0 && len(in.list) > 0 && !in.closed && in.bytes < limit {
		in.mu.Unlock()
		in.linger(limit, delay)
		in.mu.Lock()
	}
	if want := in.last * 9 / 10; delay == 0 && want > gatherFrom && len(in.list) > 0 && len(in.list) < want && !in.closed {
		in.want = want
		in.mu.Unlock()
		in.gather(want)
		in.mu.Lock()
		in.want = 0
	}
	defer in.mu.Unlock()
	n, size := 0, 0
	for n < len(in.list) && (n == 0 || size+in.list[n].size <= limit) {
		size += in.list[n].size
		n++
	}
	out := in.list[:n:n]
	in.list = in.list[n:]
	if len(in.list) == 0 {
		in.list = nil
	}
	in.bytes -= size
	in.last = n
	return out, n > 0 || !in.closed
}

// Givers with a full window send their next messages when they see the last
// commit's acknowledgements. A commit that begins before they have come takes
// half of them, and so does the next: it pays to wait for as many as the last
// commit had, for less than a sync takes.
const (
	gatherFrom = 8 // smaller commits gain nothing
	gatherTime = 200 * time.Microsecond
)

func (in *intake) gather(want int) {
	t := time.NewTimer(gatherTime)
	defer t.Stop()
	for {
		select {
		case <-t.C:
			return
		case <-in.wake:
			in.mu.Lock()
			enough := in.closed || in.rotate || len(in.list) >= want
			in.mu.Unlock()
			if enough {
				return
			}
		}
	}
}

// linger waits for the commit delay, or until a commit is full.
func (in *intake) linger(limit int, delay time.Duration) {
	t := time.NewTimer(delay)
	defer t.Stop()
	for {
		select {
		case <-t.C:
			return
		case <-in.wake:
			in.mu.Lock()
			enough := in.closed || in.bytes >= limit
			in.mu.Unlock()
			if enough {
				return
			}
		}
	}
}

// refuse takes nothing more until resume, and returns what waits.
func (in *intake) refuse(err error) []pending {
	in.mu.Lock()
	defer in.mu.Unlock()
	out := in.list
	in.list, in.bytes, in.full = nil, 0, err
	return out
}

func (in *intake) resume() {
	in.mu.Lock()
	in.full = nil
	in.mu.Unlock()
}

// resumeAfter is resume, unless the intake was stopped for another reason since.
func (in *intake) resumeAfter(err error) {
	in.mu.Lock()
	defer in.mu.Unlock()
	if errors.Is(in.full, err) {
		in.full = nil
	}
}

func (in *intake) close() {
	in.mu.Lock()
	in.closed = true
	in.mu.Unlock()
	in.signal()
}

// wantRotate asks for a new generation.
func (in *intake) wantRotate() {
	in.mu.Lock()
	in.rotate = true
	in.mu.Unlock()
	in.signal()
}

// wantForget asks for a commit of what is forgotten.
func (in *intake) wantForget() {
	in.mu.Lock()
	in.forget = true
	in.mu.Unlock()
	in.signal()
}

// asked returns and takes back what has been asked for.
func (in *intake) asked() (rotate, forget bool) {
	in.mu.Lock()
	defer in.mu.Unlock()
	rotate, forget = in.rotate, in.forget
	in.rotate, in.forget = false, false
	return rotate, forget
}
