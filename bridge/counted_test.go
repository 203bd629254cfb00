package bridge_test

import (
	"fmt"
	"log/slog"
	"testing"
	"testing/synctest"

	"github.com/ebbgate/ebbgate/bridge"
	"github.com/ebbgate/ebbgate/internal/peers"
)

// What a crash has left on the way is metered by the next start, and by no other: in both
// parts of a queue, and though the start that did is killed before it has sent anything.
func TestACrashIsCountedOnce(t *testing.T) {
	t.Parallel()
	for space, mark := range map[string]string{"sent": "2000", "live": "1 2000"} {
		t.Run(space, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				const n = 30
				s := openUnsynced(t)
				putMany(t, s, normal, n, func(i int) string { return fmt.Sprint("d", i%9) })
				var b bridge.Batch
				b.Put(space, normal, []byte(mark))
				commit(t, s, &b)
				away := far{&cloud{window: 10}, make(chan struct{})}
				for start, want := range []int{n, 0, 0} {
					m := &placed{t: t, perhaps: map[bridge.Billed]int{}}
					f := bridge.NewForwarder(bridge.ForwarderConfig{Upstream: "cloud", Queues: []bridge.QueueRef{{Name: normal}}}, s, []bridge.Sender{away}, m, new(bridge.DropLog), new(bridge.Health), slog.New(slog.DiscardHandler))
					stop := peers.Run(t, f.Run)
					synctest.Wait()
					stop()
					if got := m.perhaps[bridge.Billed{}]; got != want {
						t.Errorf("start %d counts %d, want %d", start, got, want)
					}
				}
			})
		})
	}
}
