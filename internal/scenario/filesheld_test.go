package scenario

import (
	"crypto/sha256"
	"encoding/json"
	"io"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ebbgate/ebbgate/internal/peers"
)

// TestFilesThatWaitSayWhy: while a window is closed, the status and the list of files
// say that they wait and for what; once it is open they go, and EMQX's API gives
// out addresses of the store, by which anybody reads a file for a while.
func TestFilesThatWaitSayWhy(t *testing.T) {
	t.Parallel()
	store := peers.NewStore(t, filmBucket)
	set := append(exportsToS3(store.URL()), "file_transfer.enabled=true")
	far := time.Now().UTC().Add(12 * time.Hour).Format("15")
	g := local(t, append(slices.Clone(set), `file_transfer.export.metered.windows=["daily `+far+":00-"+far+`:59"]`, "file_transfer.export.metered.time_zone=UTC")...)
	g.start()
	u := newCrashFilm(t, g, "film", 100_000, dice(t))
	u.sendAll(t)
	var status struct {
		Files struct {
			Open, Waiting int
			Bytes         int64
			Held          string
		}
	}
	if !until(time.Minute, func() bool {
		_, body, err := g.get("/api/v1/status")
		return err == nil && json.Unmarshal([]byte(body), &status) == nil && status.Files.Waiting == 1
	}) || status.Files.Open != 0 || status.Files.Bytes != 100_000 || !strings.HasPrefix(status.Files.Held, "file_transfer.export.metered: ") {
		t.Errorf("%+v", status.Files)
	}
	_, list, _ := cli(t, g.dir, "files", "ls", "--config", "ebbgate.yaml")
	if !strings.Contains(list, "queued") || !strings.Contains(list, status.Files.Held) || status.Files.Held == "" {
		t.Errorf("%q is not told:\n%s", status.Files.Held, list)
	}
	if code := g.stop(); code != 0 {
		t.Errorf("exit code %d", code)
	}

	g.Set = set
	g.start()
	g.expectOnce(t, u, filepath.Join(store.Dir, filmBucket, "camera", "film", "film.bin"))
	var emqx struct{ Files []struct{ URI string } }
	_, body, err := g.get("/api/v5/file_transfer/files")
	if err != nil || json.Unmarshal([]byte(body), &emqx) != nil || len(emqx.Files) != 1 || !strings.HasPrefix(emqx.Files[0].URI, store.URL()) {
		t.Fatalf("%s, %v", body, err)
	}
	answer, err := http.Get(emqx.Files[0].URI)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	if got, err := io.ReadAll(answer.Body); err != nil || answer.StatusCode != http.StatusOK || sha256.Sum256(got) != sha256.Sum256(u.content) {
		t.Errorf("%s: %d bytes, %v", answer.Status, len(got), err)
	}
	http.DefaultClient.CloseIdleConnections()
}
