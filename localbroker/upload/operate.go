package upload

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"sync/atomic"
	"time"

	"github.com/ebbgate/ebbgate/bridge"
)

// exporting is an attempt to export a file.
type exporting struct {
	sent   atomic.Int64
	cancel context.CancelFunc
	over   chan struct{} // closed once the target has answered
}

// observed is the target as the service uses it: an operator sees how far it is,
// and can end an attempt.
type observed struct {
	bridge.FileTarget
	of *Service
}

// Put implements bridge.FileTarget.
func (o *observed) Put(ctx context.Context, f *bridge.File) (string, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	e := &exporting{cancel: cancel, over: make(chan struct{})}
	defer close(e.over)
	t := o.of.beginExport(f, e)
	if t == nil {
		return "", errGone // given up a moment ago
	}
	counted := *f
	counted.Content, counted.Unsent = counting{f.Content, &e.sent}, f.Content
	place, err := o.FileTarget.Put(ctx, &counted)
	if err == nil {
		e.sent.Store(max(e.sent.Load(), f.Size)) // it may have been renamed
	}
	o.of.endExport(t, e, err == nil)
	return place, err
}

// beginExport notes that a transfer is being exported, and finds it; nil: it is
// gone.
func (s *Service) beginExport(f *bridge.File, e *exporting) *transfer {
	s.mu.Lock()
	defer s.mu.Unlock()
	p := pair{f.ClientID, f.FileID}
	is := func(t *transfer) bool {
		return t != nil && t.pair == p && !t.gone && t.verified != nil && checksum(t.verified.Sum) == f.SHA256 && t.journal.export == nil && !t.journal.leave
	}
	for _, t := range []*transfer{s.leaving[p], s.open[p]} { // thousands may wait; with mode direct it is open yet
		if is(t) {
			t.journal.export = e
			return t
		}
	}
	i := slices.IndexFunc(s.queue, is) // damage makes two of a pair
	if i < 0 {
		return nil
	}
	t := s.queue[i]
	t.journal.export = e
	return t
}

func (s *Service) endExport(t *transfer, e *exporting, taken bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	t.journal.export = nil
	t.journal.cost.Exported += e.sent.Load()
	t.journal.taken = taken
}

// counting counts what is read of a file to be sent.
type counting struct {
	io.ReaderAt
	n *atomic.Int64
}

// ReadAt implements io.ReaderAt.
func (c counting) ReadAt(b []byte, at int64) (int, error) {
	n, err := c.ReaderAt.ReadAt(b, at)
	c.n.Add(int64(n))
	return n, err
}

// ErrUnknown is that there is no such transfer.
var ErrUnknown = errors.New("there is no such transfer")

// ErrTaken is that an exported file is not where it was exported to.
var ErrTaken = errors.New("the file is not where it was exported to any more: somebody has taken it away or removed it; ebbgate files rm forgets it")

// StateError says that a transfer is not in a state for what was asked.
type StateError struct{ Text string }

// Error is the text.
func (e *StateError) Error() string { return e.Text }

// Retry tries the exports of a client's file again now: one that has failed, or that
// the target has refused for what it is, is not held up by that any more.
func (s *Service) Retry(clientID, fileID string) error {
	p := pair{clientID, fileID}
	s.mu.Lock()
	waits := false
	for _, t := range s.queue {
		if t.pair == p && !t.gone {
			t.attempts, t.refused, waits = 0, false, true
			t.chances.due, t.chances.passed, t.chances.aside = time.Time{}, 0, false
			s.tellRefusedLocked(t)
		}
	}
	open, leaving := s.open[p] != nil, s.leaving[p] != nil
	s.mu.Unlock()
	e, err := s.exportedOf(p)
	switch {
	case err != nil:
		return err
	case waits && e == nil: // otherwise its end is on the shelf, and it waits for a moment yet
		s.poke()
		return nil
	case open, leaving && e == nil:
		return &StateError{"it is not whole yet: its device has to send the rest, and fin"}
	case e != nil:
		return &StateError{"it has been exported already"}
	}
	return ErrUnknown
}

// poke lets the exporter look at its queue now.
func (s *Service) poke() {
	select {
	case s.exporter <- struct{}{}:
	default:
	}
}

// GiveUp forgets the transfers of a client and file id that are not exported, as
// abort does, and those that wait for their export too. It returns once that is
// durable. An export that is under way is ended first; one that has come to its end
// before stays.
func (s *Service) GiveUp(ctx context.Context, clientID, fileID string) error {
	p := pair{clientID, fileID}
	found := false
	for {
		s.mu.Lock()
		t, wait, err := s.toGiveUpLocked(p)
		if err != nil || t == nil {
			s.mu.Unlock()
			if err == nil && !found {
				err = ErrUnknown
			}
			return err
		}
		found, t.journal.leave = true, true
		if wait == nil {
			s.removeLocked(t)
			s.mu.Unlock()
			err := s.durable(t.client, t.forgotten())
			s.removed(t, err)
			s.poke() // the queue has it still
			if err != nil {
				return fmt.Errorf("give up a transfer: %w; it may come back at the next start", err)
			}
			s.deps.Drops.Count("file-given-up", t.client, rootSync+t.file)
			continue
		}
		s.mu.Unlock()
		wait.cancel()
		select {
		case <-wait.over:
		case <-ctx.Done():
			s.mu.Lock()
			t.journal.leave = false
			s.mu.Unlock()
			s.poke()
			return ctx.Err()
		}
	}
}

// toGiveUpLocked finds a transfer of a pair to give up; wait is what has to end
// before.
func (s *Service) toGiveUpLocked(p pair) (_ *transfer, wait *exporting, err error) {
	if s.ended {
		return nil, nil, &StateError{"the gateway is stopping"}
	}
	for _, t := range s.runningLocked() {
		switch {
		case t.pair != p:
		case t.job != nil:
			return nil, nil, &StateError{"its fin is being worked on: try again in a moment"}
		case t.journal.taken:
			return nil, nil, &StateError{"it has just been exported: remove the exported file instead"}
		default:
			return t, t.journal.export, nil
		}
	}
	return nil, nil, nil
}

// Remove deletes an exported file, with what stands beside it, and forgets it: its
// id may then be used anew.
func (s *Service) Remove(ctx context.Context, clientID, fileID string) error {
	p := pair{clientID, fileID}
	e, err := s.exportedOf(p)
	switch {
	case err != nil:
		return err
	case e == nil:
		return ErrUnknown
	}
	if err := s.deps.Target.Remove(ctx, e.Place); err != nil {
		return err
	}
	return s.durable(clientID, bridge.Put{Namespace: shelfFile, Key: p.key()})
}

// Read opens an exported file. The context lasts until it is closed.
func (s *Service) Read(ctx context.Context, clientID, fileID string) (Transfer, io.ReadCloser, error) {
	e, err := s.known(clientID, fileID)
	if err != nil {
		return Transfer{}, nil, err
	}
	in, err := s.read(ctx, e, 0)
	if err != nil {
		return Transfer{}, nil, err
	}
	return s.exportedView(e), in, nil
}

// known is the record of an exported file, or [ErrUnknown].
func (s *Service) known(clientID, fileID string) (*exported, error) {
	e, err := s.exportedOf(pair{clientID, fileID})
	if err == nil && e == nil {
		err = ErrUnknown
	}
	return e, err
}

// read opens an exported file at a byte.
func (s *Service) read(ctx context.Context, e *exported, from int64) (io.ReadCloser, error) {
	in, err := s.openFrom(ctx, e.Place, from, 0)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("%s: %w", e.Place, ErrTaken)
	case err != nil:
		return nil, fmt.Errorf("the exported file: %w", err)
	}
	return in, nil
}
