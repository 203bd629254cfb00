package bridge_test

import (
	"fmt"
	"slices"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/ebbgate/ebbgate/bridge"
)

// A commit that failed is tried again later, and undoes nothing of what was written
// meanwhile: the marks of the next link stay, or a crash would leave nothing of what is
// on its way uncertain, and so does the end of a denial.
func TestAnOldCommitUndoesNothing(t *testing.T) {
	t.Parallel()
	t.Run("the mark of the next link", inNoTime(func(t *testing.T) {
		s := openUnsynced(t)
		putMany(t, s, normal, 1000, func(i int) string { return fmt.Sprint("d", i%50) })
		r := &fickle{Spool: s, put: func(p bridge.Put) bool { return p.Namespace == "sent" && p.Value == nil }}
		c := &bursts{window: 100, late: &tardy{Spool: s}}
		_, end := start(t, bridge.ForwarderConfig{Upstream: "cloud", Queues: []bridge.QueueRef{{Name: normal}}}, r, []bridge.Sender{c})
		<-time.After(time.Second)
		c.acknowledge()
		<-time.After(time.Second)
		c.hangUp()
		c.acknowledge()
		<-time.After(5 * time.Second)
		if v, err := s.Get("sent", normal); !r.refused.Load() || v == nil || err != nil {
			t.Errorf("messages are on their way, and the mark is %q, %v; refused before: %v", v, err, r.refused.Load())
		}
		for !empty(s, normal)() {
			<-time.After(3 * time.Millisecond)
			c.acknowledge()
		}
		end()
	}))
	t.Run("the end of a denial", inNoTime(func(t *testing.T) {
		s := openUnsynced(t)
		putMany(t, s, normal, 100, func(i int) string { return fmt.Sprint("d", i) })
		r := &fickle{Spool: s, put: func(p bridge.Put) bool { return p.Namespace == "denied" && p.Value != nil }}
		var denies atomic.Bool
		denies.Store(true)
		c := &cloud{window: 10, answer: func(*bridge.Delivery) bridge.Outcome {
			if denies.Load() {
				return bridge.Outcome{Result: bridge.ResultDenied, Code: 0x87}
			}
			return bridge.Outcome{Result: bridge.ResultAcked}
		}}
		f, end := start(t, bridge.ForwarderConfig{Upstream: "cloud", Queues: []bridge.QueueRef{{Name: normal}}}, r, []bridge.Sender{c})
		await(t, func() string { return fmt.Sprint(f.Stats()) }, r.refused.Load)
		denies.Store(false)
		await(t, func() string { return fmt.Sprint(f.Stats()) }, empty(s, normal))
		<-time.After(5 * time.Second)
		if v, err := s.Get("denied", normal); !r.refused.Load() || v != nil || err != nil {
			t.Errorf("all was taken, and it is denied since %q, %v; refused before: %v", v, err, r.refused.Load())
		}
		end()
	}))
}

// fickle refuses the first commit that writes something.
type fickle struct {
	bridge.Spool
	put     func(bridge.Put) bool
	refused atomic.Bool
}

func (r *fickle) Commit(b *bridge.Batch, done func(bridge.Seq, error)) {
	if slices.ContainsFunc(b.Puts, r.put) && !r.refused.Swap(true) {
		go done(0, syscall.EIO)
		return
	}
	r.Spool.Commit(b, done)
}
