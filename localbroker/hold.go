package localbroker

import (
	"errors"
	"log/slog"
	"time"

	"github.com/ebbgate/ebbgate/bridge"
)

// A message that cannot be stored now (spool full, gateway closing) is held:
// the connection is not read, so that TCP carries the back-pressure to the
// device; the message is tried again with back-off, and answered in its turn.
// After hold_timeout the table of verdicts says what the device sees.
const (
	holdFirst = 20 * time.Millisecond
	holdLast  = 2 * time.Second
)

// A message that is refused in the end takes with it what its device has sent after it:
// that would pass it, for the device sends it again. So before the device is told, its
// socket is read until it is silent, or for refuseMost, if it never is.
const (
	refuseSilent = 50 * time.Millisecond
	refuseMost   = time.Second
)

// errBehind is what a message waits for that came after one that is held: the walk has
// not seen it.
var errBehind = bridge.Errorf("append", bridge.Unavailable, "a message before it is held")

// errGone marks a held receipt whose connection ended.
var errGone = errors.New("connection ended")

// holdLocked starts the timer after which the head is tried again. The caller
// hands its place as drainer to the timer.
func (in *intake) holdLocked() {
	if !in.holding {
		in.holding = true
		in.client.broker.holding.Add(1)
	}
	wait := in.backoff
	in.backoff = min(max(2*wait, holdFirst), holdLast)
	in.timer = time.AfterFunc(wait, func() { in.client.guard(in.retry) })
}

// retry gives the head to the walk again. Only the head: what follows waits, so
// that the order of acceptance stays that of the PUBLISHes.
func (in *intake) retry() {
	in.mu.Lock()
	in.timer = nil
	r, first := in.queue[in.head], !in.told
	in.told = true
	if in.closed {
		in.mu.Unlock()
		in.drain()
		return
	}
	r.settled, r.retried = false, true
	in.forthLocked(r)
	in.draining = false
	in.mu.Unlock()
	if first {
		in.client.broker.quiet.warn("hold", "a message cannot be stored, its device waits", slog.String("client", in.client.id))
	}
	r.walk()
}

// refuseLocked has the socket read on, before all that waits is refused. The caller
// hands its place as drainer to the timers.
func (in *intake) refuseLocked() {
	in.refusing.Store(true)
	in.timer = time.AfterFunc(refuseMost, func() { in.client.guard(in.refuse) })
	if n := in.reads.Load(); n%2 == 1 {
		in.refuseAfter(n)
	}
	in.changed.Broadcast()
}

// listens is called before the socket is read, when all that came before has been
// taken in; hears after it.
func (in *intake) listens() {
	if n := in.reads.Add(1); in.refusing.Load() {
		in.refuseAfter(n)
	}
}

func (in *intake) hears() { in.reads.Add(1) }

// refuseAfter refuses what waits once read n of the socket has waited for long enough.
func (in *intake) refuseAfter(n uint64) {
	time.AfterFunc(refuseSilent, func() {
		if in.reads.Load() == n {
			in.client.guard(in.refuse)
		}
	})
}

// refuse answers all that waits.
func (in *intake) refuse() {
	in.mu.Lock()
	if !in.refusing.Load() {
		in.mu.Unlock()
		return
	}
	in.refusing.Store(false)
	in.timer.Stop()
	in.timer = nil
	for _, r := range in.queue[in.head:] {
		r.refused = r.back
	}
	in.mu.Unlock()
	in.drain()
}
