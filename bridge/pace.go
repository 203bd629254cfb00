package bridge

import (
	"context"
	"errors"
)

// FilePace says when the bytes of files and of other bulk may go over a link that
// messages need. It is safe for concurrent use.
type FilePace interface {
	// Wait waits until n more bytes may go. It fails with ErrHeld when that may be
	// long, and when ctx ends.
	Wait(ctx context.Context, n int) error

	// Yields reports whether messages wait for the link now: then what goes beside
	// them should be little at a time.
	Yields() bool
}

// ErrHeld is why a file waits though nothing is wrong: a window, a budget.
var ErrHeld = errors.New("held back")
