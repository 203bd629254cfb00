package main

import (
	"log/slog"
	"os"
	"path/filepath"
	"testing"
)

// TestReloadEndsConnectionsBeforeRoutesSwap: what a thing sends to another queue by
// the new routes must not be sent while the connections of the old ones run: they may
// have something older of it in the queue that it came to before. So they are ended
// while the old routes are still in force; and only when something of them changes.
func TestReloadEndsConnectionsBeforeRoutesSwap(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "users.yaml"), []byte("{}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	g, err := openGateway(sandboxed(t, dir, 1, "users.yaml"), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := g.close(); err != nil {
			t.Error(err)
		}
	})
	old, ended := g.router.Table(), 0
	g.endRound = func() {
		ended++
		if g.router.Table() != old {
			t.Error("the routes are the new ones already, and the old connections run")
		}
	}
	for i, c := range []struct{ inFlight, ended int }{{1, 0}, {2, 1}} {
		old = g.router.Table()
		if _, err := g.reload(sandboxed(t, dir, c.inFlight, "users.yaml")); err != nil {
			t.Fatal(err)
		}
		if ended != c.ended {
			t.Errorf("reload %d: the connections were ended %d times, want %d", i, ended, c.ended)
		}
		if g.router.Table() == old {
			t.Errorf("reload %d: the routes are still the old ones", i)
		}
	}
}
