package bridge_test

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

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

// The same where the disk takes releases late, and the receiver acknowledges whole
// windows at once: more than a batch then waits for the end of one that is under way.
func TestBurstsAreBounded(t *testing.T) {
	t.Parallel()
	const connections, releaseBatch = 2, 1024
	for _, window := range []int{100, 1000} {
		t.Run(fmt.Sprint("window ", window), inNoTime(func(t *testing.T) {
			s := openUnsynced(t)
			putMany(t, s, normal, 12*connections*window, func(i int) string { return fmt.Sprint("d", i%50) })
			late := &tardy{Spool: s}
			b := &bursts{window: window, late: late}
			f, end := start(t, bridge.ForwarderConfig{Upstream: "cloud", Window: window, Queues: []bridge.QueueRef{{Name: normal}}}, late, []bridge.Sender{b, b})
			for !empty(s, normal)() {
				<-time.After(3 * time.Millisecond)
				b.acknowledge()
			}
			end()
			if bound := connections*window + releaseBatch; b.most > bound || b.most < connections*window {
				t.Errorf("%d sent and not released, at most %d; %+v", b.most, bound, f.Stats())
			}
		}))
	}
}

// tardy begins commits that release late.
type tardy struct {
	bridge.Spool
	released atomic.Int64
}

func (s *tardy) Commit(b *bridge.Batch, done func(bridge.Seq, error)) {
	n := int64(len(b.Releases))
	if n == 0 {
		s.Spool.Commit(b, done)
		return
	}
	time.AfterFunc(10*time.Millisecond, func() {
		s.Spool.Commit(b, func(first bridge.Seq, err error) {
			s.released.Add(n)
			done(first, err)
		})
	})
}

// bursts is a receiver that acknowledges when it is told to. It notes how much was sent
// and not released.
type bursts struct {
	window int
	late   *tardy

	mu   sync.Mutex
	sent int
	most int
	wait []func(bridge.Outcome)
}

func (b *bursts) Connect(ctx context.Context) (bridge.Link, error) {
	return burstLink{b, make(chan struct{})}, ctx.Err()
}

func (b *bursts) acknowledge() {
	b.mu.Lock()
	wait := b.wait
	b.wait = nil
	b.mu.Unlock()
	for _, report := range wait {
		report(bridge.Outcome{Result: bridge.ResultAcked})
	}
}

type burstLink struct {
	*bursts
	done chan struct{}
}

func (l burstLink) Window() int           { return l.window }
func (l burstLink) Done() <-chan struct{} { return l.done }
func (l burstLink) Flush()                {}
func (l burstLink) Close() error          { return nil }
func (l burstLink) Err() error            { return nil }
func (l burstLink) Send(_ context.Context, _ *bridge.Delivery, report func(bridge.Outcome)) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.sent++
	l.most = max(l.most, l.sent-int(l.late.released.Load()))
	l.wait = append(l.wait, report)
	return nil
}
