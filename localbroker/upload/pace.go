package upload

import (
	"context"
	"sync"
	"time"
)

// pacer lets files yield to messages. A sync of megabytes keeps the disk to itself
// for as long as it takes, and the next commit of messages waits that long; in
// pieces, with a rest after each, it waits for one piece.
type pacer struct {
	messages func() int64 // how many have been accepted so far
	resume   time.Time    // the disk rests until then

	mu    sync.Mutex
	last  int64
	until time.Time // some came a short while before
}

const (
	yieldWaiting = 4 << 20 // waitingBytes
	yieldGroup   = 2 << 20 // groupBytes
	yieldPiece   = 128 << 10
	yieldFor     = time.Second // after the last message

	// yieldRest is how long the disk rests after a piece, as a multiple of what writing
	// it took; yieldMost bounds it on a disk that is busy with others. The least is for the
	// processors, which what comes next keeps busy however fast the disk is.
	yieldRest  = 2
	yieldLeast = 2 * time.Millisecond
	yieldMost  = 50 * time.Millisecond

	// yieldRead is the least rest after yieldPiece has been read of a file to be hashed or
	// exported: what takes the processor rather than the disk yields too.
	yieldRead = time.Millisecond
)

// yields reports whether there are messages to make way for.
func (p *pacer) yields() bool {
	now := time.Now()
	p.mu.Lock()
	defer p.mu.Unlock()
	if n := p.messages(); n != p.last {
		p.last, p.until = n, now.Add(yieldFor)
	}
	return now.Before(p.until)
}

// piece does one piece when the disk has rested from the last.
func (p *pacer) piece(ctx context.Context, do func() error) error {
	if wait := time.Until(p.resume); wait > 0 {
		timer := time.NewTimer(wait)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-ctx.Done(): // the end need not be gentle
		}
	}
	began := time.Now()
	err := do()
	now := time.Now()
	p.resume = now.Add(min(max(yieldRest*now.Sub(began), yieldLeast), yieldMost))
	return err
}

// ease lets one who reads a file yield to messages too. What is done with each piece
// before the next is read counts as reading it: a copy of the file takes the disk twice.
type ease struct {
	pacer *pacer

	mu     sync.Mutex
	read   int       // since the last rest
	rested time.Time // when that ended; zero: there was none
}

// took rests when enough has been read, in proportion to what that took. On a link so
// much takes longer than any rest.
func (e *ease) took(n int) {
	e.mu.Lock()
	e.read += n
	enough, last := e.read >= yieldPiece, e.rested
	if enough {
		e.read = 0
	}
	e.mu.Unlock()
	if !enough || !e.pacer.yields() {
		return
	}
	rest := yieldRead
	if !last.IsZero() {
		rest = min(max(yieldRest*time.Since(last), yieldRead), yieldMost)
	}
	<-time.After(rest) // too short for anybody to wake it
	e.mu.Lock()
	e.rested = time.Now()
	e.mu.Unlock()
}
