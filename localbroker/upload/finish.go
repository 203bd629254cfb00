package upload

import (
	"cmp"
	"context"
	"errors"
	"io"
	"os"

	"github.com/ebbgate/ebbgate/bridge"
)

// job is the work on a fin. Service.mu guards it.
type job struct {
	command
	waiting   []*waiter
	disturbed bool // segments that may count have come since it was planned
}

// fin asks for the assembly of a file. One that is under way is joined, whatever
// this one says.
func (s *Service) fin(p pair, cmd command, answer func(error)) {
	if cmd.size > int64(s.opts.MaxFile) {
		answer(errTooBig)
		return
	}
	s.mu.Lock()
	t := s.open[p]
	switch {
	case s.ended:
		s.mu.Unlock()
		answer(errBusy)
		return
	case t == nil:
		before, err := s.priorLocked(p)
		if err = cmp.Or(err, before.same(cmd.size, cmd.sum)); err == nil && before.queued != nil && s.opts.Export.Mode == modeDirect {
			waits := s.joinExportLocked(before.queued, answer)
			s.mu.Unlock()
			if !waits {
				answer(errBusy)
			}
			return
		}
		s.mu.Unlock()
		answer(err)
		return
	case t.job == nil:
		t.job = &job{command: cmd}
		s.jobs.Add(1)
		s.sync.add(step{client: p.client, puts: []bridge.Put{t.record()}, done: func(err error) { // behind all that came before
			go func() {
				defer s.jobs.Done()
				if err == nil {
					err = s.assembleUndisturbed(t)
				}
				s.finished(t, err)
			}()
		}})
	}
	waits := s.waitLocked(&t.job.waiting, answer)
	s.mu.Unlock()
	if !waits {
		answer(errBusy)
	}
}

// prior is a file of the same client and id that was finished before.
type prior struct {
	size   int64
	sum    checksum
	name   string
	queued *transfer // that waits for its export; nil: it has been exported
	open   func(from, length int64) (io.ReadCloser, error)
}

// same answers a fin that has no segments of its own: success only if it is
// about that very file.
func (p *prior) same(size int64, sum *checksum) error {
	switch {
	case p == nil:
		return errIncomplete
	case p.size != size || sum != nil && *sum != p.sum:
		return errConflict
	}
	return nil
}

// priorLocked finds it, nil when there is none.
func (s *Service) priorLocked(p pair) (*prior, error) {
	if t := s.leaving[p]; t != nil {
		return &prior{t.verified.Size, checksum(t.verified.Sum), t.meta.Name, t, func(from, length int64) (io.ReadCloser, error) {
			s.mu.Lock()
			defer s.mu.Unlock()
			if t.gone {
				return nil, errReadSegment
			}
			f, _, err := s.fileLocked(t)
			if err != nil {
				return nil, err
			}
			return leaver{io.NewSectionReader(f.Content, from, min(length, max(f.Size-from, 0))), func() { s.leave(t) }}, nil
		}}, nil
	}
	e, err := s.exportedOf(p)
	if err != nil || e == nil {
		return nil, err
	}
	return &prior{e.Size, checksum(e.Sum), e.Meta.Name, nil, func(from, length int64) (io.ReadCloser, error) {
		in, err := s.openFrom(context.Background(), e.Place, from, length)
		if err != nil || s.tail == nil || s.deps.Pace == nil {
			return in, err
		}
		return &pacedReader{in, s.ending, s.deps.Pace}, nil
	}}, nil
}

// leaver gives a transfer's file back when it is closed.
type leaver struct {
	io.Reader
	leave func()
}

// Close implements io.Closer.
func (l leaver) Close() error {
	l.leave()
	return nil
}

func (s *Service) leave(t *transfer) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.leaveLocked(t)
}

// assembleAgain is how often a file is assembled whose segments change meanwhile.
const assembleAgain = 3

// errDisturbed is that the file which was read is not the one that would be exported.
var errDisturbed = errors.New("segments have come while the file was read")

// assembleUndisturbed assembles a file anew when segments that belong to it have come
// meanwhile, as those of another connection of the same client do: the verdict is of
// the very segments that are exported.
func (s *Service) assembleUndisturbed(t *transfer) error {
	for range assembleAgain {
		err := s.assemble(t)
		s.mu.Lock()
		again, record := err != nil && t.job.disturbed && !t.gone, t.record()
		t.job.disturbed = false
		s.mu.Unlock()
		if !again {
			return err
		}
		if err := s.durable(t.client, record); err != nil { // behind all that has come
			return err
		}
	}
	return errBusy
}

// assemble finds out whether the file is whole and right, and sends it on.
func (s *Service) assemble(t *transfer) error {
	s.mu.Lock()
	if t.job.disturbed { // and that may not have landed
		s.mu.Unlock()
		return errDisturbed
	}
	j, m := t.job, t.meta
	plan, whole := cover(t.segments, j.size)
	before, err := s.priorLocked(t.pair)
	if err == nil && len(plan) > 0 {
		err = s.openLocked(t)
	}
	t.users++
	s.mu.Unlock()
	defer s.leave(t)
	switch {
	case err != nil:
		return err
	case before != nil:
		return s.again(t, j, m, before, plan, whole)
	case m == nil || !whole:
		return errIncomplete
	}
	want := j.sum
	if want == nil {
		want = m.sum()
	}
	if want == nil && s.opts.Checksum == checksumRequired {
		return errNoChecksum
	}
	if want != nil && t.judged.differs(plan, want) {
		return errMismatch
	}
	sum, err := s.hash(t, plan)
	if err != nil {
		return err
	}
	if want != nil && *want != *sum {
		return errMismatch
	}
	return s.verified(t, j.size, sum)
}

// again is a fin about a file that was finished before, whose id some commands use
// anew: a device that has lost an answer, or another file. Its name and the checksum that
// the device gives, with fin or with its new init, say which; without a checksum its
// segments do. After a new init that is all of them: what is missing may be the part
// that is another.
func (s *Service) again(t *transfer, j *job, m *meta, before *prior, plan []piece, whole bool) error {
	want := j.sum
	if want == nil && m != nil {
		want = m.sum()
	}
	if err := before.same(j.size, want); err != nil {
		return err
	}
	switch {
	case m != nil && m.Name != before.name: // nothing of that name would be there
		return errConflict
	case want != nil: // what came of another file, in vain, is no reason to send this one again
	case whole && t.judged.differs(plan, &before.sum):
		return errConflict
	case whole:
		sum, err := s.hash(t, plan)
		if err != nil {
			return err
		}
		if *sum != before.sum {
			return errConflict
		}
	case m != nil:
		return errIncomplete
	default:
		if err := s.partOf(t, before); err != nil {
			return err
		}
	}
	if before.queued != nil && s.opts.Export.Mode == modeDirect {
		if err := s.awaitExport(before.queued); err != nil {
			return err
		}
	}
	s.mu.Lock()
	s.removeLocked(t) // with a job it is there
	s.mu.Unlock()
	err := s.durable(t.client, t.forgotten())
	s.removed(t, err)
	return err
}

// verified makes a transfer wait for its export, durably; with mode direct it is
// exported at once, or takes segments again. Until then it stays where its device
// finds it: another fin joins this one, and init does not begin anew beside it.
func (s *Service) verified(t *transfer, size int64, sum *checksum) error {
	s.mu.Lock()
	if t.gone {
		s.mu.Unlock()
		return errGone
	}
	if t.job.disturbed {
		s.mu.Unlock()
		return errDisturbed
	}
	t.verified = &verdict{Size: size, Sum: sum[:], Since: s.now()}
	record := t.record()
	s.mu.Unlock()
	err := s.durable(t.client, record)
	if err == nil && s.opts.Export.Mode == modeDirect {
		err = s.exportNow(t)
		s.noteExport(t, err)
	}
	if err != nil {
		return errors.Join(err, s.reopen(t))
	}
	if s.opts.Export.Mode == modeSpooled {
		s.enqueue(t)
	}
	return nil
}

// reopen makes a transfer that could not be exported take segments again.
func (s *Service) reopen(t *transfer) error {
	s.mu.Lock()
	t.verified, t.moving = nil, t.moving && !s.isThere(t)
	record := t.record()
	s.mu.Unlock()
	return s.durable(t.client, record)
}

// isThere reports whether a transfer's file is where it grew.
func (s *Service) isThere(t *transfer) bool {
	_, err := os.Lstat(s.path(t))
	return err == nil
}

// durable puts something of a client on the shelf, behind all that has come of it, and
// waits for it.
func (s *Service) durable(client string, puts ...bridge.Put) error {
	result := make(chan error, 1)
	s.sync.add(step{client: client, puts: puts, done: func(err error) { result <- err }})
	return <-result
}
