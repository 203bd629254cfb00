package bridge_test

import (
	"log/slog"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ebbgate/ebbgate/bridge"
)

// What keep_last is about to give up, and has not, is sent when its turn comes: were
// it passed over, and the gateway ended before it was given up, the next start would
// send it after what is newer.
func TestKeepLastLeavesNothingOlderBehind(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := openUnsynced(t)
		k, stop := keeping(t, s, new(bridge.DropLog), new(bridge.Health), bridge.KeepLastConfig{Last: 1})
		publish(t, s, 0, 3, func(int) string { return "state" })
		synctest.Wait() // it has read them, and waits for more
		c := &cloud{window: 10}
		forwardFrom(t, []bridge.QueueRef{{Name: normal, Last: k}}, s, c, new(noMeter), new(bridge.DropLog), new(bridge.Health), func() bool {
			return slices.Contains(c.payloads(), "2") && s.Ledger(normal).Delivered > 0
		})
		stop()
		if got := c.payloads(); !slices.Equal(got, []string{"0", "1", "2"}) || !empty(s, normal)() {
			t.Errorf("sent %v, and %+v", got, s.Ledger(normal))
		}
	})
}

// What is just being given up is neither there nor gone.
func TestReachedWhileItIsGivenUp(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := &stuck{Spool: openUnsynced(t), goOn: make(chan struct{})}
		k := bridge.NewKeepLast(bridge.KeepLastConfig{Queue: normal, Last: 1}, s, new(bridge.DropLog), new(bridge.Health), slog.New(slog.DiscardHandler))
		publish(t, s.Spool, 0, 2, func(int) string { return "state" })
		defer running(t, k.Run)()
		<-time.After(3 * time.Second)
		if gone, open := k.Reached(0, 1); gone || !open {
			t.Errorf("while it is committed: gone %v, open %v", gone, open)
		}
		close(s.goOn)
		synctest.Wait()
		if gone, open := k.Reached(0, 1); !gone || open {
			t.Errorf("after it: gone %v, open %v", gone, open)
		}
	})
}

// stuck is a spool whose commits wait.
type stuck struct {
	bridge.Spool
	goOn chan struct{}
}

func (s *stuck) Commit(b *bridge.Batch, done func(bridge.Seq, error)) {
	<-s.goOn
	s.Spool.Commit(b, done)
}
