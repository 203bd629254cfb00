package main

import (
	"context"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/ebbgate/ebbgate/bridge"
	"github.com/ebbgate/ebbgate/configs"
	"github.com/ebbgate/ebbgate/spool"
)

// A SIGHUP that comes while the gateway starts, which here waits for a command that has
// the spool, does not end it, and is heard when it runs. The signal is of the whole
// process: no other test runs beside this one.
func TestHangUpDuringTheStart(t *testing.T) {
	mine := make(chan os.Signal, 1)
	signal.Notify(mine, syscall.SIGHUP) // a gateway that is deaf to it ends this test, not all of them
	defer signal.Stop(mine)
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "users.yaml"), []byte("{}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	cfg := sandboxed(t, dir, 1, "users.yaml")
	held, err := spool.Open(cfg.Spool, spool.Deps{Log: slog.New(slog.DiscardHandler), Health: new(bridge.Health), Command: "ebbgate spool ls"})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	var log lockedBuffer
	ended := make(chan error, 1)
	go func() {
		ended <- runGateway(ctx, cfg, func() (*configs.Config, error) { return cfg, nil }, &log)
	}()
	says := func(what string) {
		t.Helper()
		tick := time.NewTicker(5 * time.Millisecond)
		defer tick.Stop()
		for deadline := time.Now().Add(time.Minute); !strings.Contains(log.String(), what); <-tick.C {
			if len(ended) > 0 || time.Now().After(deadline) {
				t.Fatalf("it does not say %q:\n%s", what, log.String())
			}
		}
	}
	says("waiting for the spool")
	if err := syscall.Kill(os.Getpid(), syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	<-mine
	if err := held.Close(); err != nil {
		t.Fatal(err)
	}
	says("msg=ready")
	says("msg=reloaded")
	stop()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}
