package spool

import (
	"errors"
	"fmt"
	"slices"

	"github.com/dgraph-io/badger/v4"

	"github.com/ebbgate/ebbgate/bridge"
)

// recovery is what a start has found out so far: each step leaves here what the
// steps behind it need to know. The package comment has their order.
type recovery struct {
	// Of openState and openSerial.
	stateTold bool // that the state, or all that was in it, is lost has been reported

	// Of loadTail.
	*tailMark            // what the mark of the log's end says; nil when there is none
	told      bridge.Seq // what is missing before it has been reported, by an earlier start or by this one
	unguided  bool       // there is a log and no state: nothing tells what is released

	// Of whoever finds that something is missing, for keepGivenUp.
	gaveUp  map[string]bool            // queues of which places were given up
	missing map[uint64]*generationMeta // closed generations whose folders are not there
}

// reached reports whether a commit was synced, and its givers perhaps told so.
func (f *recovery) reached(key bridge.Seq) bool { return f.tailMark == nil || key < f.end }

// loadTail reads the mark of the log's end, and up to which sequence an earlier
// start has told what is missing. log says that there are generations. It returns
// whether there was a mark that is lost.
func (s *Spool) loadTail(log bool) (lost bool, err error) {
	t, err := readTail(s.opts.Dir, s.id)
	if lost = err != nil; lost {
		s.damage(fmt.Sprintf("the file %s cannot be read (%v): should the last of what was acknowledged be missing, nothing tells", tailName, firstLine(err)))
	}
	s.found.tailMark = t
	err = s.state.View(func(txn *badger.Txn) error {
		var told, marked, newest []byte
		var errs [3]error
		told, errs[0] = getValue(txn, []byte(keyTold))
		marked, errs[1] = getValue(txn, []byte(keyMarked))
		newest, errs[2] = getValue(txn, []byte(keyNewest)) // every start writes it
		if err := errors.Join(errs[:]...); err != nil {
			return err
		}
		s.found.told, s.writer.tail.known, s.found.unguided = bridge.Seq(counter(told)), marked != nil, newest == nil && log
		return nil
	})
	if t == nil && !lost && s.writer.tail.known {
		lost = true
		s.damage(fmt.Sprintf("the file %s is not there: should the last of what was acknowledged be missing, nothing tells", tailName))
	}
	if s.found.unguided && !s.found.stateTold {
		s.damage("the state is not there: messages that the cloud has may be sent again, the meters start anew")
	}
	return lost, err
}

// beginAt takes what was before the first generation that is there for released,
// when there is no state to say so.
func (s *Spool) beginAt(queue string, first bridge.Place) {
	if s.found.unguided && !s.anyThere() && first > 1 {
		s.giveUp(queue, placeRange{1, first})
	}
}

// matchTail reports and gives up what the mark of the log's end knows of and the
// log has not. Before it, next is the sequence after all that was recovered.
func (s *Spool) matchTail() {
	t := s.found.tailMark
	if t == nil {
		return
	}
	from := max(s.writer.seq, s.found.told)
	older := s.anyThere()
	if !older { // nothing tells what was before, and has gone in order
		from = max(from, t.first)
	}
	if from < t.end {
		s.damage(fmt.Sprintf("the end of the log is missing: sequences %d to %d were acknowledged and are not there, nor is what they changed of sessions, their messages, retained messages and files on their way", from, t.end-1))
	}
	s.found.told = max(s.found.told, t.end)
	for _, q := range t.queues {
		next := s.queueLocked(q.name).next
		if !older {
			s.beginAt(q.name, q.first)
			next = max(next, q.first)
		}
		if next < q.next {
			s.lose(q.name, next, q.next)
		}
	}
	s.writer.seq = max(s.writer.seq, t.end)
	s.newest = max(s.newest, t.generation)
}

// anyThere reports whether a generation has been found that is not gone.
func (s *Spool) anyThere() bool {
	return slices.ContainsFunc(s.gens, func(g *generation) bool { return !g.gone })
}

// missSequences reports commits that are missing before one that is there. What
// is missing of the queues shows as a gap in their places; this is about the
// rest that commits carry.
func (s *Spool) missSequences(from, to bridge.Seq) {
	if from = max(from, s.found.told); from < to && uint64(to-1) > s.shelf.mark.Load() {
		s.damage(fmt.Sprintf("sequences %d to %d of the log are missing: what they changed of sessions, their messages, retained messages and files on their way may be lost", from, to-1))
	}
}

// missBefore reports commits that are missing before the first one of a crashed
// generation.
func (s *Spool) missBefore(n uint64, first bridge.Seq) {
	t := s.found.tailMark
	switch {
	case s.anyThere():
		s.missSequences(s.writer.seq, first)
	case t != nil && t.generation == n:
		s.missSequences(t.first, first)
	}
}

// allThere reports whether all of a crashed generation is there, as far as can be
// told: nothing is missing inside, and nothing before what the mark knows of.
func (s *Spool) allThere(n uint64, keys []bridge.Seq, raw map[bridge.Seq]rawCommit) bool {
	next := keys[0]
	if t := s.found.tailMark; t != nil && t.generation == n {
		next = t.first
	}
	for _, key := range keys {
		if key != next || !raw[key].whole && s.found.reached(key) {
			return false
		}
		next = raw[key].header.next()
	}
	return s.found.tailMark == nil || s.found.generation != n || next >= s.found.end
}

// forgive gives up what is not there of the commit that was under way when the
// power went, without a word of loss: it was not synced, so nobody was told that
// it is ours. It is the last one of the log, and behind the mark.
func (s *Spool) forgive(c rawCommit) {
	there := map[string]releases{}
	eachFrame(c.header.framesOf(c.value), func(kind byte, body []byte) bool {
		if kind != frameRecord || body == nil {
			return true
		}
		r, err := decodeRecord(body, c.header, "")
		if err != nil {
			return true
		}
		for i, p := range r.places {
			x := there[r.Receivers[i].Queue]
			x.addRange(placeRange{p, p + 1})
			there[r.Receivers[i].Queue] = x
		}
		return true
	})
	for _, span := range c.header.table {
		x := there[span.name]
		for _, m := range x.missing(span.first, span.first+bridge.Place(span.count)) {
			s.giveUp(span.name, placeRange{m.From, m.To})
		}
	}
	s.deps.Log.Info("spool: the commit that was under way is cut: nobody was told of it", "sequence", uint64(c.header.first))
}

// giveUp releases places during recovery.
func (s *Spool) giveUp(queue string, x placeRange) {
	q := s.queueLocked(queue)
	q.done.addRange(x)
	q.next = max(q.next, x.to)
	s.found.gaveUp[queue] = true
}

// keepGivenUp writes to the state what recovery has given up, so that it is
// reported once.
func (s *Spool) keepGivenUp() error {
	for name := range s.found.gaveUp {
		err := s.updateState(func(txn *stateTxn) error {
			return txn.Set([]byte(keyQueue+name), s.queueLocked(name).done.encode())
		})
		if err != nil {
			return fmt.Errorf("note what is given up of queue %s: %w", name, err)
		}
	}
	for n, m := range s.found.missing {
		if err := s.updateState(func(txn *stateTxn) error { return txn.Set(generationKey(n), m.encode()) }); err != nil {
			return fmt.Errorf("note that generation %x is missing: %w", n, err)
		}
	}
	return nil
}

// beginTail makes the mark say that a generation begins.
func (s *Spool) beginTail(g *generation) error {
	s.writer.tail.dir, s.writer.tail.spool = s.opts.Dir, s.id
	if err := s.writer.tail.begin(s.markAt(g.n, g.first)); err != nil || s.writer.tail.known {
		return err
	}
	err := s.updateState(func(txn *stateTxn) error { return txn.Set([]byte(keyMarked), []byte{1}) })
	if s.writer.tail.known = err == nil; err != nil { // the next generation tries again
		s.deps.Log.Warn("spool: the state cannot note that the log's end is marked", "error", err)
	}
	return nil
}

// markAt is the mark of a log that goes on with a generation and a sequence.
func (s *Spool) markAt(n uint64, first bridge.Seq) tailMark {
	m := tailMark{generation: n, first: first, end: first}
	s.mu.Lock()
	defer s.mu.Unlock()
	for name, q := range s.queues {
		m.queues = append(m.queues, tailQueue{name, q.next, q.next})
	}
	return m
}

// remakeTail makes a mark anew that was lost, so that this is reported once. When
// the disk does not take it the next commit does.
func (s *Spool) remakeTail() {
	f := tailFile{dir: s.opts.Dir, spool: s.id}
	defer f.close()
	if err := f.begin(s.markAt(s.newest, s.writer.seq)); err != nil {
		s.deps.Log.Warn("spool: the mark of the log's end is not made anew yet", "error", err)
	}
}
