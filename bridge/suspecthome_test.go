package bridge_test

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ebbgate/ebbgate/bridge"
)

// once is a cloud that hangs up on one message, is away for a while then, and takes all.
type once struct {
	*cloud
	door
	away time.Duration
	cut  atomic.Bool
}

func (c *once) Connect(ctx context.Context) (bridge.Link, error) {
	if c.cut.Load() {
		select {
		case <-time.After(c.away):
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	return c.cloud.Connect(ctx)
}

// A device on whose message the receiver has hung up waits for its connection a moment:
// when that does not come back, or is by a link that is closed, it goes by the others.
func TestASuspectDoesNotWaitForeverForItsConnection(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		away   time.Duration
		closes bool
		most   time.Duration // from the hang-up until all have gone
		own    bool          // some by its own connection
	}{
		"that is back in a while":   {20 * time.Second, false, 22 * time.Second, true},
		"that is away for too long": {50 * time.Second, false, 33 * time.Second, false},
		"that never comes back":     {24 * time.Hour, false, 33 * time.Second, false},
		"that is by a closed link":  {time.Second, true, 10 * time.Second, false},
	} {
		t.Run(name, inNoTime(func(t *testing.T) {
			s := openUnsynced(t)
			const before = 10
			free, own := &cloud{window: 5, after: 100 * time.Millisecond}, &once{cloud: &cloud{window: 5, after: 100 * time.Millisecond}, away: c.away}
			own.open.Store(true)
			var hung time.Time
			own.hangUp = func(*bridge.Delivery) bool {
				if len(own.payloads()) < before || !own.cut.CompareAndSwap(false, true) {
					return false
				}
				own.open.Store(!c.closes)
				hung = time.Now()
				return true
			}
			f, end := start(t, bridge.ForwarderConfig{Upstream: "cloud", Queues: []bridge.QueueRef{{Name: normal, Priority: 4}}}, s, []bridge.Sender{own, free})
			<-time.After(time.Minute) // they have been up for long
			putMany(t, s, normal, 400, func(i int) string { return fmt.Sprint("d", i%40) })
			await(t, func() string { return fmt.Sprintf("%+v, %+v", f.Stats(), s.Ledger(normal)) }, empty(s, normal))
			took := time.Since(hung)
			end()
			if by := len(own.payloads()); took > c.most || (by > before) != c.own {
				t.Errorf("all have gone after %v, %d by its own connection", took, by)
			}
		}))
	}
}

// The others do not wait for the connection of a suspect, however far they are past it.
func TestASuspectHoldsUpNobodyElse(t *testing.T) { inNoTime(testASuspectHoldsUpNobodyElse)(t) }

func testASuspectHoldsUpNobodyElse(t *testing.T) {
	s := openUnsynced(t)
	free, own := &cloud{window: 1000, after: 100 * time.Millisecond}, &once{cloud: &cloud{window: 5, after: 100 * time.Millisecond}, away: time.Hour}
	own.open.Store(true)
	own.hangUp = func(*bridge.Delivery) bool { return own.cut.CompareAndSwap(false, true) }
	f, end := start(t, bridge.ForwarderConfig{Upstream: "cloud", Queues: []bridge.QueueRef{{Name: normal, Priority: 4}}}, s, []bridge.Sender{own, free})
	<-time.After(time.Minute)
	began := time.Now()
	putMany(t, s, normal, 25_000, func(i int) string { return fmt.Sprint("d", i%40) })
	await(t, func() string { return fmt.Sprintf("%+v, %+v", f.Stats(), s.Ledger(normal)) }, empty(s, normal))
	if took := time.Since(began); took > 10*time.Second {
		t.Errorf("all have gone after %v", took)
	}
	end()
}
