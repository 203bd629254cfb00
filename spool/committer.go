package spool

import (
	"errors"
	"fmt"

	"github.com/dgraph-io/badger/v4"

	"github.com/ebbgate/ebbgate/bridge"
)

// writer is the committer's own: the active generation and what it is about to
// write. No other goroutine touches it.
type writer struct {
	gen     *generation
	db      *badger.DB
	log     valueLog
	tail    tailFile
	seq     bridge.Seq // of the next commit
	broken  bool       // a commit of this generation failed: nothing more is written to it
	failing bool       // the last commit was refused by the disk
	fresh   bool       // the generation has no commit yet: the first names every queue
	frames  []byte
	value   []byte
	spans   []queueSpan
	index   map[string]int
	places  []place
	ticket  uint64 // of the last batch taken
}

// completion is a commit's answer to its givers.
type completion struct {
	list  []pending
	first bridge.Seq
	err   error

	// The intake goes on when the givers know.
	failed bool // by the disk: at once
	full   bool // when there is room
}

// commit is the committer: it writes what waits, syncs, publishes, completes.
func (s *Spool) commit(completed chan<- completion) {
	defer close(completed)
	for {
		list, more := s.intake.take(s.sizes.commit, s.opts.CommitDelay)
		if !more {
			return
		}
		rotate, forget := s.intake.asked()
		if rotate {
			s.rotateIdle()
		}
		if len(list) == 0 {
			if forget && s.fits(0) == nil {
				_ = s.write(nil) // it has been reported; what is forgotten stays so until the next
			}
			continue
		}
		first := s.writer.seq
		list, full, err := s.room(list)
		s.writer.ticket = list[len(list)-1].ticket
		failed := false
		if err == nil {
			s.shelf.slowDown(list, s.gone)
			if err = s.write(list); err != nil {
				// What waits behind it is refused as well, and so is what comes before
				// its giver knows: it would pass what came first.
				failed = true
				list = append(list, s.intake.refuse(err)...)
				s.writer.ticket = list[len(list)-1].ticket
			}
		}
		if err != nil {
			s.shelf.pass(s.writer.ticket)
		}
		completed <- completion{list, first, err, failed, full}
	}
}

// complete answers the givers, in order, while the next commit is written.
func (s *Spool) complete(completed <-chan completion) {
	for c := range completed {
		seq := c.first
		for _, p := range c.list {
			if c.err != nil {
				p.done(0, c.err)
				continue
			}
			p.done(seq, nil)
			seq += bridge.Seq(len(p.Appends))
		}
		if c.full {
			s.committers.Go(s.awaitRoom)
		}
		if c.failed {
			s.intake.resumeAfter(c.err)
		}
	}
}

// write makes one commit of the batches.
func (s *Spool) write(list []pending) error {
	w := &s.writer
	if w.gen == nil || w.broken || w.gen.bytes >= s.sizes.generation {
		if err := s.rotate(); err != nil {
			return s.failed(err)
		}
	}
	err := s.writeOnce(list)
	if err != nil {
		w.broken = true
		// What the kernel would not sync cannot be believed, nor written again
		// in place: the generation is left as it is, and a new one tried.
		if again := s.rotate(); again != nil {
			return s.failed(errors.Join(err, again))
		}
		if err = s.writeOnce(list); err != nil {
			w.broken = true
			return s.failed(err)
		}
	}
	if w.failing {
		w.failing = false
		s.deps.Health.Clear("spool-write")
	}
	return nil
}

func (s *Spool) failed(err error) error {
	s.writer.failing = true
	s.deps.Health.Raise(bridge.Warning{Code: "spool-write", Severity: bridge.Critical,
		Text: fmt.Sprintf("the disk refuses writes: %v; devices are not acknowledged until it takes them", err)})
	return &bridge.Error{Op: "append", Kind: bridge.Unavailable, Err: err}
}

func (s *Spool) writeOnce(list []pending) error {
	w := &s.writer
	forgets := s.shelf.toCarry(list, w.ticket)
	if len(list) == 0 && len(forgets) == 0 {
		return nil
	}
	h := s.encode(list, forgets)
	if err := w.tail.take(h.table); err != nil {
		return err
	}
	w.value = appendCommit(w.value[:0], h, w.frames)
	if err := putCommit(w.db, h.first, w.value); err != nil {
		return fmt.Errorf("write commit: %w", err)
	}
	if s.opts.Durability == Disk {
		if err := w.log.sync(); err != nil {
			return fmt.Errorf("sync commit: %w", err)
		}
	}
	w.tail.note(h)
	s.publish(h, list, forgets)
	return nil
}

// encode makes the frames of a commit and the header that describes them.
func (s *Spool) encode(list []pending, forgets []forget) *commitHeader {
	w := &s.writer
	w.frames, w.spans = w.frames[:0], w.spans[:0]
	clear(w.index)
	if w.fresh {
		s.mu.Lock()
		for name := range s.queues {
			s.spanLocked(name)
		}
		s.mu.Unlock()
	}
	n := uint64(0)
	for _, p := range list {
		for _, r := range p.Appends {
			w.places = w.places[:0]
			for i := range r.Receivers {
				span := s.span(r.Receivers[i].Queue)
				w.places = append(w.places, place{span, w.spans[span].count})
				w.spans[span].count++
			}
			w.frames = appendFrame(w.frames, frameRecord, func(b []byte) []byte {
				return appendRecord(b, r, n, w.places)
			})
			n++
		}
		if len(p.Releases)+len(p.Puts)+len(p.Adds) > 0 {
			w.frames = appendFrame(w.frames, frameOps, func(b []byte) []byte {
				return appendOps(b, p.Releases, p.Puts, p.Adds)
			})
		}
	}
	if len(forgets) > 0 { // last: what the batches put and was forgotten meanwhile is gone
		w.frames = appendFrame(w.frames, frameOps, func(b []byte) []byte {
			return appendOps(b, nil, putsOf(forgets), nil)
		})
	}
	return &commitHeader{spool: s.id, generation: w.gen.n, first: w.seq, records: uint32(n), table: w.spans}
}

// span finds or makes the commit's table entry of a queue.
func (s *Spool) span(queue string) int {
	if i, ok := s.writer.index[queue]; ok {
		return i
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.spanLocked(queue)
}

func (s *Spool) spanLocked(queue string) int {
	w := &s.writer
	q := s.queueLocked(queue)
	w.index[queue] = len(w.spans)
	w.spans = append(w.spans, queueSpan{name: queue, first: q.next, bytes: q.appended})
	return len(w.spans) - 1
}

// publish shows a synced commit to the cursors and on the shelf, and hands its
// other changes to the state keeper.
func (s *Spool) publish(h *commitHeader, list []pending, forgets []forget) {
	w := &s.writer
	w.gen.publish(h.first)
	w.seq, w.fresh = h.next(), false
	var merged bridge.Batch
	var moves []bridge.Release
	bytes := make([]uint64, len(h.table))
	var age int64
	for _, p := range list {
		for _, r := range p.Appends {
			age = int64(r.Age)
			for i := range r.Receivers {
				bytes[w.index[r.Receivers[i].Queue]] += uint64(r.Size())
			}
		}
		merged.Releases = append(merged.Releases, p.Releases...)
		if p.IfLive {
			moves = append(moves, p.Releases...)
		}
		if p.shelved == 0 {
			merged.Puts = append(merged.Puts, p.Puts...)
		} else {
			merged.Puts = append(merged.Puts, statePuts(p.Puts)...)
		}
		merged.Adds = append(merged.Adds, p.Adds...)
	}
	s.mu.Lock()
	w.gen.end = h.next()
	w.gen.bytes += int64(len(w.value))
	for i, span := range h.table {
		if span.count == 0 {
			continue
		}
		q := s.queueLocked(span.name)
		q.next += bridge.Place(span.count)
		q.appended += bytes[i]
		q.marks.add(mark{span.first, h.first, age})
	}
	s.visible.Store(uint64(w.seq)) // before those who watch look
	for _, span := range h.table {
		if span.count == 0 {
			continue
		}
		for _, w := range s.queueLocked(span.name).watchers {
			select {
			case w <- struct{}{}:
			default:
			}
		}
	}
	s.mu.Unlock()
	if s.shelf.publish(h.first, list, forgets, w.ticket) {
		s.mu.Lock()
		w.gen.shelf = h.first
		s.mu.Unlock()
	}
	if !merged.Empty() {
		s.mu.Lock()
		w.gen.ops = h.first
		s.mu.Unlock()
		s.handed.Add(1)
		s.changes <- &change{Batch: &merged, logged: h.first, moves: moves}
	}
}
