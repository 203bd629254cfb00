package upload

import (
	"context"
	"time"
)

// pacer lets files yield to messages. A sync of megabytes keeps the disk to itself
// for as long as it takes, and the next commit of messages waits that long; in
// pieces, with a rest after each, it waits for one piece.
type pacer struct {
	messages func() int64 // how many have been accepted so far
	last     int64
	until    time.Time // some came a short while before
	resume   time.Time // the disk rests until then
}

const (
	yieldWaiting = 4 << 20 // waitingBytes
	yieldGroup   = 2 << 20 // groupBytes
	yieldPiece   = 128 << 10
	yieldFor     = time.Second // after the last message

	// yieldRest is how long the disk rests after a piece, as a multiple of what
	// writing it took; yieldMost bounds it on a disk that is busy with others.
	yieldRest = 2
	yieldMost = 50 * time.Millisecond
)

// yields reports whether there are messages to make way for.
func (p *pacer) yields() bool {
	now := time.Now()
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
	p.resume = now.Add(min(yieldRest*now.Sub(began), yieldMost))
	return err
}
