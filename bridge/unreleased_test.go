package bridge_test

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/ebbgate/ebbgate/bridge"
)

// What a crash would make us send again is bounded by the windows of all
// connections and one batch of releases, also when the disk takes no releases, more comes
// back at once than a batch has, and some connections are new.
func TestPoolBoundsWhatIsNotReleased(t *testing.T) {
	t.Parallel()
	const connections, releaseBatch = 4, 1024
	for _, window := range []int{30, 700} {
		t.Run(fmt.Sprint("window ", window), func(t *testing.T) {
			s := openSpool(t)
			putMany(t, s, normal, 4000+4*connections*window, func(i int) string { return fmt.Sprint("d", i%50) })
			h := &withheld{Spool: s}
			h.holding.Store(true)
			r := newReceiver(t, window)
			f, end := start(t, bridge.ForwarderConfig{Upstream: "cloud", Queues: []bridge.QueueRef{{Name: normal}}}, h, r.senders(connections))
			last, same := 0, 0
			settled := func() bool { // until nothing more is sent
				r.mu.Lock()
				defer r.mu.Unlock()
				if same++; r.sent != last {
					last, same = r.sent, 0
				}
				return last > 0 && same > 200
			}
			for _, when := range []string{"at first", "once half of the links are new"} {
				same = 0
				await(t, func() string { return fmt.Sprint(f.Stats()) }, settled)
				if bound := connections*window + releaseBatch; last > bound {
					t.Errorf("%s: %d sent and not released, at most %d", when, last, bound)
				}
				for _, l := range r.cuttable() {
					_ = l.Close()
				}
			}
			h.release()
			await(t, func() string { return fmt.Sprint(f.Stats()) }, empty(s, normal))
			end()
		})
	}
}

// withheld does not tell of the end of commits that release.
type withheld struct {
	bridge.Spool
	holding atomic.Bool
	mu      sync.Mutex
	held    []func()
}

func (w *withheld) Commit(b *bridge.Batch, done func(bridge.Seq, error)) {
	if len(b.Releases) == 0 {
		w.Spool.Commit(b, done)
		return
	}
	w.Spool.Commit(b, func(first bridge.Seq, err error) {
		w.mu.Lock()
		defer w.mu.Unlock()
		if !w.holding.Load() {
			done(first, err)
			return
		}
		w.held = append(w.held, func() { done(first, err) })
	})
}

func (w *withheld) release() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.holding.Store(false)
	for _, done := range w.held {
		go done()
	}
}
