package upload

import (
	"slices"
	"time"
)

// waiter is a fin that waits for its answer.
type waiter struct {
	answer func(error)
	timer  *time.Timer
	told   bool
}

// mostWaiting is how many fins of one file wait for their answer. A device that repeats
// itself has a few; the file's own, on $file-async, nothing else would bound.
const mostWaiting = 100

// waitLocked has a fin wait in a list for its answer, or until it takes too long. It
// reports false, and does nothing, where too many wait.
func (s *Service) waitLocked(list *[]*waiter, answer func(error)) bool {
	*list = slices.DeleteFunc(*list, func(w *waiter) bool { return w.told }) // for whom it took too long
	if len(*list) >= mostWaiting {
		return false
	}
	w := &waiter{answer: answer}
	w.timer = time.AfterFunc(s.opts.AssembleTimeout, func() {
		s.mu.Lock()
		late := !w.told
		w.told = true
		s.mu.Unlock()
		if late {
			answer(errTimeout)
		}
	})
	*list = append(*list, w)
	return true
}

// tellLocked empties a list, and returns what answers all that wait in it still.
func tellLocked(list *[]*waiter) func(error) {
	var tell []func(error)
	for _, w := range *list {
		if w.timer.Stop() || !w.told {
			tell = append(tell, w.answer)
		}
		w.told = true
	}
	*list = nil
	return func(err error) {
		for _, answer := range tell {
			answer(err)
		}
	}
}

// finished answers all that wait for a transfer's job.
func (s *Service) finished(t *transfer, err error) {
	s.mu.Lock()
	tell := tellLocked(&t.job.waiting)
	t.job = nil
	s.mu.Unlock()
	tell(err)
}

// joinExportLocked has a fin wait for the next attempt to export a transfer that
// an earlier start has queued: with mode direct success means that it has been
// exported. What is refused for what it is is tried again. It reports false where too
// many wait.
func (s *Service) joinExportLocked(t *transfer, answer func(error)) bool {
	if !s.waitLocked(&t.exporting, answer) {
		return false
	}
	if t.refused {
		t.refused = false
		s.tellRefusedLocked(t)
	}
	t.chances.due = time.Time{}
	s.poke()
	return true
}

// awaitExport waits as a fin does.
func (s *Service) awaitExport(t *transfer) error {
	result := make(chan error, 1)
	s.mu.Lock()
	if t.gone || s.ended {
		e, err := s.exportedOf(t.pair)
		s.mu.Unlock()
		if err == nil && e == nil {
			err = errBusy
		}
		return err
	}
	waits := s.joinExportLocked(t, func(err error) { result <- err })
	s.mu.Unlock()
	if !waits {
		return errBusy
	}
	return <-result
}

// tellExported answers those that wait for the export of a transfer.
func (s *Service) tellExported(t *transfer, err error) {
	s.mu.Lock()
	if err == nil && !t.journal.taken {
		err = errGone // given up
	}
	tell := tellLocked(&t.exporting)
	s.mu.Unlock()
	tell(err)
}

// tellQueued answers those that wait for the export of any transfer in the queue
// why it does not come now. Those of tried have been answered; who came since has
// asked for another attempt.
func (s *Service) tellQueued(err error, tried *transfer) {
	s.mu.Lock()
	var all []func(error)
	for _, t := range s.queue {
		if t != tried {
			all = append(all, tellLocked(&t.exporting))
		}
	}
	s.mu.Unlock()
	for _, tell := range all {
		tell(err)
	}
}
