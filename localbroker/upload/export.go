package upload

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/ebbgate/ebbgate/bridge"
)

// enqueue hands a verified transfer, whose record is durable, to the exporter.
func (s *Service) enqueue(t *transfer) {
	s.mu.Lock()
	if !t.gone {
		s.countLocked(t.client, t.weight(), 1) // first: a client that has nothing is forgotten
		s.countLocked(t.client, t.waits, -1)
		t.waits = t.weight()
	}
	delete(s.open, t.pair)
	s.leaving[t.pair] = t
	s.queue = append(s.queue, t)
	s.mu.Unlock()
	s.poke()
}

// export works on the queue until ctx ends. While the target takes nothing it
// tries again and again, later and later, the first of the queue.
func (s *Service) export(ctx context.Context) {
	wait := exportFirst
	for ctx.Err() == nil {
		r := s.exportQueue(ctx)
		if errors.Is(r.held, bridge.ErrHeld) {
			s.deps.Health.Clear(warningExport) // nothing is wrong
			continue                           // exportQueue waits
		}
		if r.took {
			wait = exportFirst
		}
		var retry <-chan time.Time
		if r.held != nil && ctx.Err() == nil {
			s.deps.Health.Raise(bridge.Warning{Code: warningExport, Severity: bridge.Degraded, Text: r.text()})
			retry = time.After(wait)
			wait = min(2*wait, exportLast)
		} else if r.held == nil {
			wait = exportFirst
			s.deps.Health.Clear(warningExport)
		}
		select {
		case <-s.exporter:
		case <-retry:
		case <-ctx.Done():
		}
	}
}

// tellRefusedLocked warns of the files that the target refuses for what they are:
// they are kept, hold nobody up, and are not tried again before the next start.
func (s *Service) tellRefusedLocked(last *transfer) {
	n := 0
	for _, t := range s.queue {
		if t.refused && !t.gone {
			if n++; !last.refused || last.gone {
				last = t
			}
		}
	}
	if n == 0 {
		s.deps.Health.Clear(warningRefused)
		return
	}
	s.deps.Health.Raise(bridge.Warning{Code: warningRefused, Severity: bridge.Degraded, Text: fmt.Sprintf(
		"%d finished files are refused for what they are, the last one %s of %s (%v); they are kept, and tried again at the next start, or by ebbgate files retry", n, last.meta.Name, last.client, last.failure)})
}

// exportNow exports a file whose fin waits for it. The end of the gateway does not
// wait for a target: the device sends fin again, and the export goes on from there.
func (s *Service) exportNow(t *transfer) error {
	err := s.exportOne(s.ending, t)
	if err != nil && s.ending.Err() != nil {
		return errBusy
	}
	return err
}

// noteExport keeps what became of an export that a fin has waited for: its device hears a
// word, and who looks after the gateway why.
func (s *Service) noteExport(t *transfer, err error) {
	s.mu.Lock()
	t.failure = err
	s.mu.Unlock()
	_, told := errors.AsType[*Fault](err)
	switch {
	case err == nil:
		s.deps.Health.Clear(warningExport)
	case !told && !errors.Is(err, bridge.ErrHeld):
		s.deps.Health.Raise(bridge.Warning{Code: warningExport, Severity: bridge.Degraded, Text: fmt.Sprintf(
			"a finished file cannot be exported: %s of %s: %v; its device is told, and has to send fin again (export.mode direct)", t.meta.Name, t.client, err)})
	}
}

// exportOne exports one file, remembers it, and forgets its transfer.
func (s *Service) exportOne(ctx context.Context, t *transfer) error {
	if err := s.berths.take(ctx, t.client); err != nil {
		return err
	}
	defer s.berths.leave()
	s.mu.Lock()
	if t.gone { // given up
		s.mu.Unlock()
		return nil
	}
	f, e, err := s.fileLocked(t)
	s.mu.Unlock()
	if err != nil {
		return err
	}
	defer s.leave(t)
	if e.Place, err = s.deps.Target.Put(ctx, f); err != nil {
		return err
	}
	e.Cost = s.costOf(t)
	if err := s.durable(t.client, bridge.Put{Namespace: shelfFile, Key: t.key(), Value: encodeJSON(e)}, t.forgotten()); err != nil {
		return err
	}
	s.mu.Lock()
	s.exports.note(s, e)
	s.removeLocked(t)
	s.removedLocked(t, nil)
	s.mu.Unlock()
	return nil
}

// fileLocked makes the target's view of a verified transfer, whose file is held
// open until leave.
func (s *Service) fileLocked(t *transfer) (*bridge.File, *exported, error) {
	v := t.verified
	plan, whole := cover(t.segments, v.Size)
	if !whole || len(v.Sum) != len(checksum{}) || t.meta == nil {
		return nil, nil, errReadSegment
	}
	sum := checksum(v.Sum)
	meta, err := t.meta.complete(&sum)
	if err != nil {
		return nil, nil, err
	}
	if err := s.storeLocked(); err != nil {
		return nil, nil, err
	}
	// A file that has been renamed by an attempt before is not there.
	if err := s.openFileLocked(t, 0); err != nil && !os.IsNotExist(err) {
		return nil, nil, err
	}
	f := &bridge.File{ClientID: t.client, FileID: t.file, Name: t.meta.Name, Size: v.Size, SHA256: sum, Meta: meta, Content: content{t.data.plain(), plan, s.ease()}}
	if v.Size > 0 && straight(plan) && t.end == v.Size && t.writers == 0 && t.data.reaches(v.Size) {
		f.Path, f.Moved = s.path(t), t.moving
		f.Moving = func() error { return s.move(t) }
	}
	t.users++
	return f, &exported{ClientID: t.client, FileID: t.file, Size: v.Size, Sum: v.Sum, At: s.now(), Meta: t.meta}, nil
}

// move notes that a transfer's file is about to be renamed by the target. Without that
// nobody could tell, after a crash, a file that was exported and then taken away by who
// waits for it from one that the disk has lost.
func (s *Service) move(t *transfer) error {
	s.mu.Lock()
	t.moving = true
	record := t.record()
	s.mu.Unlock()
	return s.durable(t.client, record)
}
