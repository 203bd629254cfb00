package localbroker

import (
	"log/slog"
	"slices"
)

// What is read ahead of a device, for each session. The bytes of all sessions
// together are bounded by broker.memory_queue_size.
const (
	aheadMessages = 128
	aheadBytes    = 512 << 10
	readers       = 4 // of the shelf at once
)

// reading is one look at the shelf for one session.
type reading struct {
	epoch    int
	again    []sent // these, or
	old      bool   // of the old lane, else of the live one
	from, to uint64 // this range
	skip     []uint64
}

// readAheadLocked starts a reading when one is due. Nobody waits for it.
func (s *session) readAheadLocked() {
	k := s.keep
	if k == nil || k.reading || s.client == nil || s.ended || !k.behind() {
		return
	}
	job, due := s.jobLocked()
	if !due {
		return
	}
	k.reading = true
	go s.broker.guard(func() { s.read(job) })
}

// jobLocked is what is to be read next: what was in flight, then the lanes, as
// far as their queues have run low.
func (s *session) jobLocked() (reading, bool) {
	k := s.keep
	job := reading{epoch: k.epoch, skip: slices.Clone(k.skip)}
	if len(k.again) > 0 {
		job.again = k.again
		return job, true
	}
	held := s.out.bytes.Load()
	low := func(waits int) bool {
		return waits <= aheadMessages/2 && held < aheadBytes && s.out.all.reads(held, aheadBytes)
	}
	if end := k.readable(k.old); k.old.left > 0 && k.old.from < end && low(s.out.replay.len()) {
		job.old, job.from, job.to = true, k.old.from, end
		return job, true
	}
	if end := k.readable(k.live); k.live.left > 0 && k.live.from < end && low(s.out.waits()) {
		job.from, job.to = k.live.from, end
		return job, true
	}
	return job, false
}

// read carries out readings until none is due.
func (s *session) read(job reading) {
	b := s.broker
	b.reading <- struct{}{}
	defer func() { <-b.reading }()
	for {
		found, upTo, err := s.keep.fetch(job)
		s.mu.Lock()
		k := s.keep
		if err != nil {
			b.quiet.warn("shelf", "a session's queue cannot be read, it is tried again", slog.String("client", s.id), slog.String("error", err.Error()))
			k.reading = false // the sweep begins the next one
			s.mu.Unlock()
			return
		}
		if k.epoch == job.epoch && s.client != nil && !s.ended {
			s.integrateLocked(job, found, upTo)
			s.pumpLocked()
		}
		more := false
		if s.client != nil && !s.ended {
			job, more = s.jobLocked()
		}
		k.reading = more
		s.mu.Unlock()
		if !more {
			return
		}
	}
}

// integrateLocked takes what was read into memory.
func (s *session) integrateLocked(job reading, found []*delivery, upTo uint64) {
	k := s.keep
	if job.again != nil {
		k.again = nil
		for _, d := range found {
			i := slices.IndexFunc(job.again, func(x sent) bool { return x.ordinal == d.kept.ordinal })
			d.id = job.again[i].id
			s.out.push(&s.out.again, d)
		}
		k.heal(len(job.again) - len(found))
		return
	}
	lane, queue := &k.live, &s.out.waiting
	if job.old {
		lane, queue = &k.old, &s.out.replay
	}
	for i, d := range found {
		if !s.out.all.reads(s.out.bytes.Load(), d.size) { // others were quicker
			found, upTo = found[:i], d.kept.ordinal
			break
		}
		s.out.push(queue, d)
	}
	lane.from = upTo
	lane.left -= len(found)
	k.passed(lane)
}

// passed corrects the count of a lane that has been read to its end.
func (k *backlog) passed(l *lane) {
	end := k.next + 1
	if l.to > 0 {
		end = l.to
	}
	if l.from >= end || l.left < 0 {
		k.heal(l.left)
		l.left = 0
	}
}

// heal corrects the count by entries that should have been there and are not.
func (k *backlog) heal(missing int) {
	for range missing {
		k.store.damaged("a message of a queue", errDamaged)
	}
	k.count = max(k.count-missing, 0)
	if k.count == 0 {
		k.store.bytes.Add(-k.bytes)
		k.bytes = 0
	}
}

// fetch reads from the shelf, in order, and tells up to which ordinal it has
// read. It is called without the owner's lock.
func (k *backlog) fetch(job reading) (found []*delivery, upTo uint64, err error) {
	k.store.flush() // what was acknowledged must not be read again
	size := 0
	take := func(key string, value []byte) bool {
		e, ok := parseEntry(key)
		if !ok || job.again == nil && (e.ordinal < job.from || e.ordinal >= job.to || holds(job.skip, e.ordinal)) {
			return true
		}
		d, bad := decodeKept(e, value, k.store.body)
		switch {
		case bad != nil || d == nil: // heal tells
			k.store.drop(e)
		default:
			found = append(found, d)
			size += d.size
		}
		upTo = e.ordinal + 1
		return len(found) < aheadMessages && size < aheadBytes
	}
	if job.again != nil {
		for _, x := range job.again {
			if err := k.store.Scan(shelfQueue, entryPrefix(k.owner, x.ordinal), func(key string, value []byte) bool {
				take(key, value)
				return true
			}); err != nil {
				return nil, 0, err
			}
		}
		return found, 0, nil
	}
	for at := job.from; at < job.to; at = (at/blockSize + 1) * blockSize {
		full := false
		err := k.store.Scan(shelfQueue, blockPrefix(k.owner, at), func(key string, value []byte) bool {
			more := take(key, value)
			full = full || !more
			return more
		})
		if err != nil {
			return nil, 0, err
		}
		if full {
			return found, upTo, nil
		}
	}
	return found, job.to, nil
}

func holds(sorted []uint64, n uint64) bool {
	_, found := slices.BinarySearch(sorted, n)
	return found
}
