package upload

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/ebbgate/ebbgate/bridge"
)

// A file that fails while others pass is tried again by itself, later and later.
const (
	aloneFirst = exportLast
	aloneLast  = 5 * time.Minute
)

// chances is how the exporter fares with a file.
type chances struct {
	tries   int       // at the head of the queue that the target was to blame for, in a row
	cleared bool      // then it has taken another: what this one fails with next is its own
	alone   bool      // it did
	due     time.Time // it is not tried before, nor does it hold others up
	passed  int       // how often they were exported in spite of it
	probed  int       // how often it was the other one
	running bool      // it is being exported
	aside   bool      // it has failed beside another: it is tried as the first only
}

// failedLocked notes why a file was not exported, and reports whether those behind it are
// tried all the same: it, not the target, is what fails. Whatever cuts each upload of one
// file, as a virus scanner on the way does, looks like a target that is away; which of the
// two it is, probe finds out.
func (s *Service) failedLocked(t *transfer, err error) (pass bool) {
	t.failure = err
	c := &t.chances
	switch {
	case bridge.OfFile(err):
		t.refused = true
		s.tellRefusedLocked(t)
		return true
	case errors.Is(err, bridge.ErrHeld):
		c.cleared = c.alone // by the time that it goes on the target may be away
		return false
	case !bridge.OfTarget(err):
		t.attempts++
	case !c.cleared:
		c.tries++
		return false
	case !c.alone:
		c.alone, t.attempts = true, t.attempts+c.tries+1
		s.deps.Log.Warn("a file cannot be exported, and others can: it holds them up no more", "client", t.client, "file", t.file, "name", t.meta.Name, "attempts", t.attempts, "error", err)
	default:
		t.attempts++
	}
	if !c.alone && t.attempts < passOver && !s.passesLocked(t.client) {
		return false
	}
	if c.alone {
		t.failure = fmt.Errorf("%w; others are exported, so it is this one that the target does not take, or something on the way, such as a virus scanner or a proxy with a limit, does not let pass", err)
	}
	c.due = time.Now().Add(min(aloneFirst<<min(c.passed, 10), aloneLast))
	c.passed++
	return true
}

// passesLocked reports whether a file of a client was passed over. When that is for a folder
// of the client's that is none, or cannot be written, its others fail as well, and each
// would hold up everybody until it is passed over, too.
func (s *Service) passesLocked(client string) bool {
	return slices.ContainsFunc(s.queue, func(t *transfer) bool { return t.client == client && t.chances.passed > 0 })
}

// suspect reports whether a file that has failed may be the only one that does.
func (t *transfer) suspect(err error) bool {
	return bridge.OfTarget(err) && !errors.Is(err, bridge.ErrHeld) && !t.chances.cleared && t.chances.tries >= passOver
}

// probe tries another file in place of one that may be the only one to fail, and reports
// whether the target took it. When it did not, that says nothing of either file. It is the
// smallest of those that were tried so for the least times: nothing is known of it, and
// while the target is away it is in vain.
func (s *Service) probe(ctx context.Context, head *transfer) bool {
	s.mu.Lock()
	var other *transfer
	for _, t := range s.queue {
		if t == head || t.gone || t.refused || time.Now().Before(t.chances.due) {
			continue
		}
		if other == nil || t.chances.probed < other.chances.probed || t.chances.probed == other.chances.probed && t.verified.Size < other.verified.Size {
			other = t
		}
	}
	if other == nil {
		s.mu.Unlock()
		return false
	}
	other.chances.probed++
	s.mu.Unlock()
	err := s.exportOne(ctx, other)
	s.tellExported(other, err)
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case err == nil:
		s.queue = slices.DeleteFunc(s.queue, func(t *transfer) bool { return t == other })
		head.chances.cleared = other.journal.taken // or it was given up
		return head.chances.cleared
	case !bridge.OfTarget(err):
		s.failedLocked(other, err)
	}
	return false
}
