package scenario

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/ebbgate/ebbgate/internal/peers"
)

// TestListOfABucket: files that went to a real store are listed page by page, by both
// APIs and by the command, also while the store is away; each is read by its address or
// by files get. What somebody has removed from the bucket, and a store that is away, are
// told as such (F54).
func TestListOfABucket(t *testing.T) {
	t.Parallel()
	store := peers.NewStore(t, filmBucket)
	g := local(t, append(exportsToS3(store.URL()), "file_transfer.enabled=true")...)
	g.start()
	chance := dice(t)
	const count = 5
	films := map[string]*filmUpload{}
	for i := range count {
		u := newCrashFilm(t, g, fmt.Sprintf("film-%d", i), 10_000+i, chance)
		films[u.file] = u
		u.sendAll(t)
		g.expectOnce(t, u, filepath.Join(store.Dir, filmBucket, "camera", u.file, "film.bin"))
	}
	t.Cleanup(http.DefaultClient.CloseIdleConnections)
	for file, uri := range g.emqxPages(t, 2, 3) {
		answer, err := http.Get(uri)
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(answer.Body)
		_ = answer.Body.Close()
		if err != nil || !strings.HasPrefix(uri, store.URL()) || sha256.Sum256(got) != sha256.Sum256(films[file].content) {
			t.Errorf("%s at %s: %s, %d bytes, %v", file, uri, answer.Status, len(got), err)
		}
	}
	ls := func(args ...string) []string {
		t.Helper()
		code, out, errs := cli(t, g.dir, append([]string{"files", "ls", "--json", "--config", "ebbgate.yaml"}, args...)...)
		if code != 0 {
			t.Fatalf("%d: %s", code, errs)
		}
		return strings.Split(strings.TrimSpace(out), "\n")
	}
	if all := ls("--exported"); len(all) != count || !strings.Contains(all[0], `"place":"s3://`+filmBucket+`/camera/film-0/film.bin"`) {
		t.Errorf("%d: %s", len(all), all[0])
	}
	if some := ls("--limit", "2"); len(some) != 2 {
		t.Errorf("%q", some)
	}
	get := func(file string) (code int, said string) {
		code, _, said = cli(t, g.dir, "files", "get", "camera", file, "--out", file, "--config", "ebbgate.yaml")
		return code, said
	}
	if code, said := get("film-0"); code != 0 {
		t.Errorf("%d: %s", code, said)
	}
	if got, err := os.ReadFile(filepath.Join(g.dir, "film-0")); err != nil || !slices.Equal(got, films["film-0"].content) {
		t.Errorf("%d bytes, %v", len(got), err)
	}

	if err := os.Remove(filepath.Join(store.Dir, filmBucket, "camera", "film-1", "film.bin")); err != nil {
		t.Fatal(err)
	}
	if code, said := get("film-1"); code == 0 || !strings.Contains(said, "somebody has taken it away or removed it") || !strings.Contains(said, "ebbgate files rm") {
		t.Errorf("of a removed object: %d, %s", code, said)
	}
	store.Stop()
	if code, said := get("film-2"); code == 0 || !strings.Contains(said, store.URL()) || !strings.Contains(said, filmBucket) {
		t.Errorf("of a store that is away: %d, %s", code, said)
	}
	if n := len(g.emqxPages(t, 1000, 1)); n != count {
		t.Errorf("while the store is away %d are listed", n)
	}
	if all := ls("--exported"); len(all) != count {
		t.Errorf("while the store is away: %q", all)
	}
	if code := g.stop(); code != 0 {
		t.Errorf("exit code %d", code)
	}
}

// emqxPages reads EMQX's list in pages of so many, and returns the files' addresses.
func (g *gateway) emqxPages(t *testing.T, limit, pages int) map[string]string {
	t.Helper()
	uris, following := map[string]string{}, ""
	for n := 1; ; n++ {
		q := url.Values{"limit": {fmt.Sprint(limit)}}
		if following != "" {
			q.Set("following", following)
		}
		status, body, err := g.get("/api/v5/file_transfer/files?" + q.Encode())
		var page struct {
			Files  []struct{ FileID, URI string }
			Cursor string
		}
		if err != nil || status != http.StatusOK || json.Unmarshal([]byte(body), &page) != nil || len(page.Files) > limit {
			t.Fatalf("%d %s, %v", status, body, err)
		}
		for _, f := range page.Files {
			uris[f.FileID] = f.URI
		}
		if following = page.Cursor; following == "" {
			if n != pages {
				t.Errorf("%d pages, want %d", n, pages)
			}
			return uris
		}
	}
}
