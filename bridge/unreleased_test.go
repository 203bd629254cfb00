package bridge_test

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"syscall"
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
			for i := 0; !empty(s, normal)(); i++ {
				<-time.After(3 * time.Millisecond)
				b.acknowledge()
				if i%10 == 9 {
					b.hangUp()
				}
			}
			end()
			if bound := connections*window + releaseBatch; b.most > bound || b.most < connections*window {
				t.Errorf("%d sent and not released, at most %d; %+v", b.most, bound, f.Stats())
			}
		}))
	}
}

// tardy begins commits that release late, and none while it is broken.
type tardy struct {
	bridge.Spool
	released atomic.Int64
	broken   atomic.Bool

	mu     sync.Mutex
	places map[bridge.Place]bool // asked for while it is broken; nil: not noted
}

func (s *tardy) Commit(b *bridge.Batch, done func(bridge.Seq, error)) {
	n := int64(len(b.Releases))
	if n == 0 {
		s.Spool.Commit(b, done)
		return
	}
	time.AfterFunc(10*time.Millisecond, func() {
		if s.broken.Load() {
			s.mu.Lock()
			for _, r := range b.Releases {
				if s.places != nil {
					s.places[r.Place] = true
				}
			}
			s.mu.Unlock()
			done(0, syscall.EIO)
			return
		}
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

	mu    sync.Mutex
	sent  int
	most  int
	wait  []func(bridge.Outcome)
	links []burstLink
}

func (b *bursts) Connect(ctx context.Context) (bridge.Link, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	l := burstLink{b, make(chan struct{})}
	b.links = append(b.links, l)
	return l, ctx.Err()
}

// hangUp ends the latest connection, of which everything was acknowledged.
func (b *bursts) hangUp() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if n := len(b.links) - 1; n >= 0 {
		close(b.links[n].done)
		b.links = b.links[:n]
	}
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
func (l burstLink) Err() error {
	select {
	case <-l.done:
		return errCut
	default:
		return nil
	}
}
func (l burstLink) Send(_ context.Context, _ *bridge.Delivery, report func(bridge.Outcome)) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.sent++
	l.most = max(l.most, l.sent-int(l.late.released.Load()))
	l.wait = append(l.wait, report)
	return nil
}

// And where the disk takes no more releases at all: sending ends at the bound, on old
// connections and new, nothing is kept without a bound, and it goes on when the disk does.
func TestABrokenDiskIsBounded(t *testing.T) {
	t.Parallel()
	const connections, releaseBatch = 2, 1024
	for _, window := range []int{10, 100} {
		t.Run(fmt.Sprint("window ", window), inNoTime(func(t *testing.T) {
			s := openUnsynced(t)
			putMany(t, s, normal, 12_000, func(i int) string { return fmt.Sprint("d", i%50) })
			late := &tardy{Spool: s}
			b := &bursts{window: window, late: late}
			f, end := start(t, bridge.ForwarderConfig{Upstream: "cloud", Window: window, Queues: []bridge.QueueRef{{Name: normal}}}, late, []bridge.Sender{b, b})
			for late.released.Load() < 4000 { // the marks are far ahead
				<-time.After(3 * time.Millisecond)
				b.acknowledge()
			}
			late.broken.Store(true)
			for i := range 3000 {
				<-time.After(3 * time.Millisecond)
				b.acknowledge()
				if i > 1000 && i%50 == 0 {
					b.hangUp()
				}
			}
			if bound := connections*window + releaseBatch; b.most > bound || b.most < releaseBatch/2 {
				t.Errorf("%d sent and not released, at most %d; %+v", b.most, bound, f.Stats())
			}
			late.broken.Store(false)
			for !empty(s, normal)() {
				<-time.After(3 * time.Millisecond)
				b.acknowledge()
			}
			end()
		}))
	}
}

// What expires while the disk takes no releases is bounded, too, without a link and with
// one.
func TestABrokenDiskBoundsWhatExpires(t *testing.T) { inNoTime(testABrokenDiskBoundsWhatExpires)(t) }

func testABrokenDiskBoundsWhatExpires(t *testing.T) {
	const releaseBatch = 1024
	s := openUnsynced(t)
	putMortal(t, s, 10_000)
	late := &tardy{Spool: s, places: map[bridge.Place]bool{}}
	late.broken.Store(true)
	c := far{&cloud{window: 100}, make(chan struct{})}
	f, end := start(t, bridge.ForwarderConfig{Upstream: "cloud", Queues: []bridge.QueueRef{{Name: normal}}}, late, []bridge.Sender{c})
	<-time.After(70 * time.Minute)
	for _, when := range []string{"without a link", "with one"} {
		if n := late.given(); n == 0 || n > 2*releaseBatch {
			t.Errorf("%s: %d given up at once", when, n)
		}
		if when == "without a link" {
			close(c.back)
			<-time.After(time.Minute)
		}
	}
	late.broken.Store(false)
	await(t, func() string { return fmt.Sprint(f.Stats()) }, empty(s, normal))
	end()
}

// given is how many records a broken disk was to release.
func (s *tardy) given() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.places)
}
