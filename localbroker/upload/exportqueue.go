package upload

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/ebbgate/ebbgate/bridge"
)

// While the target takes what comes, small files of other clients are exported beside the
// first of the queue: what each takes is mostly waiting for a disk or an answer. What is
// large has the link and the disk for itself, but for those. The files of a client go one
// after the other, in the order of their fins.
const (
	besideMost = 1 << 20 // bytes of one

	// lookAhead is how many files behind the first are looked at for one of another
	// client: that is done for each export, under the service's lock.
	lookAhead = 1000
)

// round is what became of the queue.
type round struct {
	held   error // of the first file that was not exported
	others bool  // it alone: others are not held up by it
	took   bool  // the target has taken something
}

// keep notes a file that was not exported, unless one before it was not.
func (r *round) keep(t *transfer, err error, others bool) {
	if r.held == nil || r.others && !others {
		r.held, r.others = fmt.Errorf("%s of %s: %w", t.meta.Name, t.client, err), others
	}
}

// text is what a person is told.
func (r *round) text() string {
	if r.others {
		return fmt.Sprintf("a finished file cannot be exported, while others can: %v; it is kept, and tried again every %v at most, or by ebbgate files retry", r.held, aloneLast)
	}
	return fmt.Sprintf("finished files cannot be exported: %v; they are kept, and it is tried again every %v at most", r.held, exportLast)
}

// attempt is one of exporting a file.
type attempt struct {
	*transfer
	first bool // of the queue, when it was begun
	err   error
}

// exportQueue exports what waits.
func (s *Service) exportQueue(ctx context.Context) (r round) {
	done, running := make(chan attempt), 0
	var failed *attempt // it holds up all that is not being exported already
	for {
		for failed == nil && ctx.Err() == nil && running < exportsAtOnce {
			t, first := s.next()
			if t == nil {
				break
			}
			if s.deps.Open != nil {
				if err := s.deps.Open(ctx); err != nil {
					failed = &attempt{err: err}
					break
				}
			}
			s.mu.Lock()
			t.chances.running = true
			s.mu.Unlock()
			running++
			go func() { done <- attempt{t, first, s.attempt(ctx, t)} }()
		}
		if running > 0 {
			more := s.exporter
			if failed != nil {
				more = nil // nothing new is begun: what has come is for the next round
			}
			select {
			case a := <-done:
				running--
				if s.settle(&r, a) && failed == nil {
					failed = &a
				}
			case <-more:
			}
			continue
		}
		switch {
		case failed == nil:
			s.keepLate(&r)
			return r
		case failed.transfer == nil:
			r.held = failed.err
			return r
		case failed.suspect(failed.err) && s.probe(ctx, failed.transfer):
			r.took, failed = true, nil // it may have been the target all the same, that is back by now
		default:
			r.keep(failed.transfer, failed.err, false)
			s.tellQueued(r.held, failed.transfer)
			return r
		}
	}
}

// next is the file to be tried next, nil when there is none now, and whether it is the
// first of the queue.
func (s *Service) next() (_ *transfer, first bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var busy map[string]bool // clients that have one before
	looked := 0
	for _, t := range s.queue {
		switch {
		case !t.gone && (t.refused || time.Now().Before(t.chances.due)): // holds up nobody
			continue
		case busy == nil && !t.chances.running:
			return t, true
		case !busy[t.client] && !t.chances.running && s.flows && !t.chances.aside && t.verified.Size <= besideMost:
			return t, false
		}
		if looked++; !s.flows || looked > lookAhead {
			break
		}
		if busy == nil {
			busy = map[string]bool{}
		}
		busy[t.client] = true
	}
	return nil, false
}

// attempt exports a file, tells those that wait for it, and takes it out of the queue.
func (s *Service) attempt(ctx context.Context, t *transfer) error {
	err := s.exportOne(ctx, t)
	s.tellExported(t, err)
	s.mu.Lock()
	defer s.mu.Unlock()
	if err == nil {
		if at := slices.Index(s.queue, t); at >= 0 {
			s.queue = slices.Delete(s.queue, at, at+1)
		}
		if t.refused { // and given up since
			s.tellRefusedLocked(t)
		}
	}
	return err
}

// settle notes what became of an attempt, and reports whether it holds up others. What
// fails beside the first does not: when it is the first it is tried again, and found out
// about.
func (s *Service) settle(r *round, a attempt) (holds bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	a.chances.running = false // and not before it is known when it is due
	switch {
	case a.err == nil:
		r.took = r.took || a.journal.taken
		s.flows = s.flows || a.journal.taken
		return false
	case bridge.OfTarget(a.err):
		s.flows = false
	}
	if !a.first && !bridge.OfFile(a.err) && !errors.Is(a.err, bridge.ErrHeld) {
		a.chances.aside = true
		return false
	}
	switch pass := s.failedLocked(a.transfer, a.err); {
	case !pass:
		return true
	case !bridge.OfFile(a.err): // else a warning of its own tells
		r.keep(a.transfer, a.failure, true)
	}
	return false
}

// keepLate notes what is not tried yet.
func (s *Service) keepLate(r *round) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, t := range s.queue {
		if !t.gone && !t.refused && t.failure != nil && time.Now().Before(t.chances.due) {
			r.keep(t, t.failure, true)
			return
		}
	}
}
