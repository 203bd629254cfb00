package upstream

import (
	"context"
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"

	"github.com/ebbgate/ebbgate/bridge"
)

// Bulk is the pace of files over a link that messages need: a [bridge.FilePace].
// They keep to a bandwidth, wait while something holds them back, and yield: while
// messages wait for the link, files get a tenth of its time, so that neither starves
// the other.
//
// Nothing is known of the link but how long the bytes took that went last: after
// each piece it pauses for nine times as long. On a line that carries a segment a
// second, messages have nine seconds of ten.
type Bulk struct {
	held   func() string                // why nothing may go, empty when it may
	behind func() bool                  // messages wait
	rate   atomic.Pointer[rate.Limiter] // nil: unlimited

	turn chan struct{} // taken by who is about to be let go, who reads and writes what follows
	went time.Time     // when the last piece was let go
	took time.Duration // what the one before took that was waited for
}

var _ bridge.FilePace = (*Bulk)(nil)

// share is of how many parts of the link's time files have one, while messages wait;
// longestPause bounds the pause after a piece that took long for another reason, and
// after longestPiece nothing was under way at all.
const (
	share        = 10
	longestPause = 30 * time.Second
	longestPiece = time.Minute
)

// NewBulk makes the pace of files that may have so many bytes a second, 0 for any
// number. held and behind are asked often and must not wait.
func NewBulk(bytesPerSecond bridge.Size, held func() string, behind func() bool) *Bulk {
	b := &Bulk{held: held, behind: behind, turn: make(chan struct{}, 1)}
	b.SetRate(bytesPerSecond)
	return b
}

// SetRate changes how many bytes a second files may have, 0 for any number. Who waits at
// the rate before goes on at this one within a moment.
func (b *Bulk) SetRate(bytesPerSecond bridge.Size) {
	n := int(bytesPerSecond)
	if n <= 0 {
		b.rate.Store(nil)
		return
	}
	if was := b.rate.Load(); was == nil || was.Limit() != rate.Limit(n) {
		b.rate.Store(rate.NewLimiter(rate.Limit(n), max(n/byteBurst, 1)))
	}
}

// bulkPoll is how often it is looked whether something has changed.
const bulkPoll = 100 * time.Millisecond

// Open waits until nothing holds files back.
func (b *Bulk) Open(ctx context.Context) error {
	return poll(ctx, func() bool { return b.held() == "" })
}

// Held says why files wait now, empty when they may go.
func (b *Bulk) Held() string { return b.held() }

// Yields implements [bridge.FilePace].
func (b *Bulk) Yields() bool { return b.behind() }

// Wait implements [bridge.FilePace].
func (b *Bulk) Wait(ctx context.Context, n int) error {
	if why := b.held(); why != "" {
		return bridge.Errorf(bridge.OpExport, bridge.Unavailable, "%w: %s", bridge.ErrHeld, why)
	}
	queued := false
	select {
	case b.turn <- struct{}{}:
	default:
		queued = true
		select {
		case b.turn <- struct{}{}:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	defer func() { <-b.turn }()
	if err := b.yield(ctx, queued); err != nil {
		return err
	}
	for n > 0 {
		bytes := b.rate.Load()
		if bytes == nil {
			break
		}
		k := min(n, bytes.Burst())
		if err := bytes.WaitN(ctx, k); err != nil {
			return err
		}
		n -= k
	}
	b.went = time.Now()
	return ctx.Err()
}

// yield pauses while messages wait, in proportion to what the last piece took. Who
// was in a queue for it has not waited for that piece: the time since then says
// nothing.
func (b *Bulk) yield(ctx context.Context, queued bool) error {
	now := time.Now()
	if !queued {
		if b.took = now.Sub(b.went); b.took >= longestPiece {
			b.took = 0
		}
	}
	until := now.Add(min((share-1)*b.took, longestPause))
	return poll(ctx, func() bool { return !b.behind() || !time.Now().Before(until) })
}

// poll waits until ok, or until ctx ends.
func poll(ctx context.Context, ok func() bool) error {
	if ok() {
		return ctx.Err()
	}
	tick := time.NewTicker(bulkPoll)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			if ok() {
				return nil
			}
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
