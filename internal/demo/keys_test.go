package demo

import (
	"log/slog"
	"net"
	"testing"
	"time"

	"github.com/ebbgate/ebbgate/internal/sandbox"
	"github.com/ebbgate/ebbgate/internal/telemetry"
)

// A connection that was tried and given up during the cut must not reach the
// cloud after it: its CONNECT would take over the link that lives, and the
// gateway would warn of a second one with its client id. A link that never
// noticed the cut goes on.
func TestMendForgetsWhatWasGivenUp(t *testing.T) {
	for link, resets := range map[string]int64{telemetry.LinkUp: 0, telemetry.LinkConnecting: 1} {
		cloud, err := sandbox.Open(sandbox.Options{}, slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		l := &live{rig: &rig{cloud: cloud}}
		l.ctx, l.end = t.Context(), func() {}
		l.status.Store(&telemetry.Status{Upstreams: []telemetry.Upstream{{Link: link}}})
		l.task(func() error { return cloud.Gate().Run(l.ctx) })
		cloud.Gate().BlackHole()
		attempt, err := net.Dial("tcp", cloud.Addr())
		if err != nil {
			t.Fatal(err)
		}
		for deadline := time.Now().Add(10 * time.Second); cloud.Gate().Stats().Live == 0; {
			if time.Now().After(deadline) || pause(t.Context(), time.Millisecond) != nil {
				t.Fatal("the gate took no connection")
			}
		}
		l.mend()
		_ = attempt.Close()
		if got := cloud.Gate().Stats().Resets; got != resets {
			t.Errorf("link %s: %d connections were reset, want %d", link, got, resets)
		}
		if cloud.Gate().Fault().BlackHole {
			t.Errorf("link %s: the cut is still there", link)
		}
		t.Cleanup(func() { // the test's context has ended by now
			l.tasks.Wait()
			if err := cloud.Close(); err != nil {
				t.Error(err)
			}
		})
	}
}
