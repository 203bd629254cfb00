package scenario

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ebbgate/ebbgate/internal/peers"
)

// TestKilledAndTakenAway kills the gateway with a file in its place and no record of
// that; who waits for files there takes it, its manifest and its folder. The next start
// has it as exported, says so in the log, and answers the device's fin with success
// (F33, F40); the segments are not there for a second copy.
func TestKilledAndTakenAway(t *testing.T) {
	t.Parallel()
	peers.NeedRoot(t) // to trace what is not its child
	g := local(t, "file_transfer.enabled=true", "file_transfer.export.layout=${clientid}/${fileid}/${name}")
	g.start()
	exports := filepath.Join(g.Data, "files", "exports")
	u := newCrashFilm(t, g, "film", 1<<20, dice(t))
	var s *tracer
	_ = u.attempt(func(done int) {
		if done == len(u.acked) && s == nil {
			s = killAt(t, g, "fsync", exports)
		}
	}) // fails where it is killed before the fin is answered
	if s == nil {
		t.Fatal("the segments are not taken")
	}
	select {
	case <-g.done:
	case <-time.After(time.Minute):
		t.Fatalf("it never comes to its place; strace: %s", &s.said)
	}
	_ = s.cmd.Wait() // it ends with what it traces
	if _, err := os.Stat(filepath.Join(exports, "camera", "film", "film.bin")); err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(filepath.Join(exports, "camera")); err != nil {
		t.Fatal(err)
	}
	g.start()
	u.sendAll(t)
	var page struct {
		Transfers []struct{ State, Place string }
	}
	if !until(time.Minute, func() bool {
		_, body, err := g.get("/api/v1/transfers")
		return err == nil && json.Unmarshal([]byte(body), &page) == nil && len(page.Transfers) == 1 && page.Transfers[0].State == "exported"
	}) || page.Transfers[0].Place != "camera/film/film.bin" {
		t.Errorf("%+v", page)
	}
	if !strings.Contains(g.log(), "somebody has taken it away since") {
		t.Error("the log does not say it")
	}
	if left, err := os.ReadDir(filepath.Join(exports, "camera")); err == nil {
		t.Errorf("a second copy: %v", left)
	}
	if code, _, said := cli(t, g.dir, "files", "get", "camera", "film", "--out", "copy", "--config", "ebbgate.yaml"); code == 0 || !strings.Contains(said, "taken it away") {
		t.Errorf("%d: %s", code, said)
	}
	if code := g.stop(); code != 0 {
		t.Errorf("exit code %d", code)
	}
}
