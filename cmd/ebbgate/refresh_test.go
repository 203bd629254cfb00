package main

import (
	"log/slog"
	"os"
	"path/filepath"
	"testing"

	"github.com/ebbgate/ebbgate/upstream"
)

// refreshed counts how often it is told to look at its certificate.
type refreshed struct {
	uplink
	times int
}

func (r *refreshed) Refresh()                { r.times++ }
func (r *refreshed) Status() upstream.Status { return upstream.Status{} }

// A reload of a configuration that is as it was makes every uplink look at its
// certificate now, those that would take over, too.
func TestReloadOfTheSameLooksAtCertificates(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "good.yaml"), []byte("{}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	g, err := openGateway(sandboxed(t, dir, 1, "good.yaml"), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	was := g.clouds[0].uplinks
	first, second, alone := &refreshed{}, &refreshed{}, &refreshed{}
	g.clouds[0].uplinks = []uplink{&chain{uplinks: []uplink{first, second}, own: 1}, alone}
	if _, err := g.reload(sandboxed(t, dir, 1, "good.yaml")); err != nil {
		t.Fatal(err)
	}
	if first.times != 1 || second.times != 1 || alone.times != 1 {
		t.Errorf("looked %d, %d and %d times, want once each", first.times, second.times, alone.times)
	}
	g.clouds[0].uplinks = was
	if err := g.close(); err != nil {
		t.Error(err)
	}
}
