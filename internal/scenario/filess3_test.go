package scenario

import (
	"crypto/sha256"
	"io"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/ebbgate/ebbgate/internal/peers"
)

// storeGate stands before a store, knows what was asked of it, and holds one
// request for a part until whoever sends it is gone.
type storeGate struct {
	*httptest.Server
	store http.Handler
	held  chan struct{} // closed when the part is held

	mu    sync.Mutex
	hold  string // number of the part; empty: none any more
	parts map[string]int
	made  int // objects of parts
}

func newStoreGate(t *testing.T, store *peers.Store, hold string) *storeGate {
	t.Helper()
	at, err := url.Parse(store.URL())
	if err != nil {
		t.Fatal(err)
	}
	transport := &http.Transport{DisableKeepAlives: true}
	g := &storeGate{held: make(chan struct{}), hold: hold, parts: map[string]int{}}
	g.store = &httputil.ReverseProxy{
		// The host stays as it was: it is signed.
		Rewrite: func(r *httputil.ProxyRequest) {
			r.Out.URL.Scheme, r.Out.URL.Host, r.Out.Host = at.Scheme, at.Host, r.In.Host
		},
		Transport:    transport,
		ErrorHandler: func(w http.ResponseWriter, _ *http.Request, _ error) { w.WriteHeader(http.StatusBadGateway) },
	}
	g.Server = httptest.NewServer(g)
	t.Cleanup(g.Close)
	return g
}

// ServeHTTP implements http.Handler.
func (g *storeGate) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	part := r.URL.Query().Get("partNumber")
	g.mu.Lock()
	hold := part != "" && part == g.hold
	if hold {
		g.hold = ""
	}
	g.mu.Unlock()
	if hold {
		close(g.held)
		_, _ = io.Copy(io.Discard, r.Body) // ends with whoever sends it: only then it is known whether he is there
		<-r.Context().Done()
		return
	}
	answer := &statusOf{ResponseWriter: w}
	g.store.ServeHTTP(answer, r)
	if answer.status != http.StatusOK {
		return
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	switch {
	case part != "" && r.Method == http.MethodPut:
		g.parts[part]++
	case r.URL.Query().Has("uploadId") && r.Method == http.MethodPost:
		g.made++
	}
}

// statusOf remembers a status.
type statusOf struct {
	http.ResponseWriter
	status int
}

// WriteHeader implements http.ResponseWriter.
func (s *statusOf) WriteHeader(status int) {
	s.status = status
	s.ResponseWriter.WriteHeader(status)
}

// TestF52: a device sends a file while the store is away, and fin succeeds; the
// gateway is killed in the midst of the export. The object is whole, made once, of
// parts that went up once, and nothing unfinished is left.
func TestF52(t *testing.T) {
	store := peers.NewStore(t, "site-files")
	front := newStoreGate(t, store, "3")
	store.Stop()
	g := local(t, "file_transfer.enabled=true", "file_transfer.export.to=s3", "file_transfer.export.s3.bucket=site-files",
		"file_transfer.export.s3.endpoint="+front.URL, "file_transfer.export.s3.path_style=true",
		"file_transfer.export.s3.access_key_id="+peers.StoreKey, "file_transfer.export.s3.secret_access_key="+peers.StoreSecret)
	g.start()
	size := scaled(200<<20, 23<<20)
	u := &filmUpload{t: t, addr: g.Listen, content: make([]byte, size), segment: 512 << 10}
	chance := dice(t)
	for i := range u.content {
		u.content[i] = byte(chance.Uint32())
	}
	u.acked = make([]bool, (size+u.segment-1)/u.segment)
	if err := u.attempt(func(int) {}); err != nil || !u.settled {
		t.Fatalf("the file is not taken: %v", err)
	}
	g.awaitSaid(t, "the store is away", func(s said) bool { return s.warns("files-export") })
	store.Start()
	select {
	case <-front.held:
	case <-time.After(time.Minute):
		t.Fatal("the export does not come to its third part")
	}
	g.kill()
	g.start()
	path := filepath.Join(store.Dir, "site-files", "camera", "film", "film.bin")
	if !until(time.Minute, func() bool { _, err := os.Stat(path); return err == nil }) {
		t.Fatal("there is no object")
	}
	if got, err := os.ReadFile(path); err != nil || sha256.Sum256(got) != sha256.Sum256(u.content) {
		t.Errorf("%d bytes are at the store, %d were sent, %v", len(got), len(u.content), err)
	}
	if !until(30*time.Second, func() bool {
		left, err := filepath.Glob(filepath.Join(g.Data, "files", "*.segments"))
		return err == nil && len(left) == 0
	}) {
		t.Error("segments of an exported file are left")
	}
	front.mu.Lock()
	for part, times := range front.parts {
		if times != 1 {
			t.Errorf("part %s went up %d times", part, times)
		}
	}
	if want := (size + 5<<20 - 1) / (5 << 20); len(front.parts) != want || front.made != 1 {
		t.Errorf("%d parts of %d, %d objects", len(front.parts), want, front.made)
	}
	front.mu.Unlock()
	if left := unfinished(t, store); len(left) > 0 {
		t.Errorf("left at the store: %q", left)
	}
	if code := g.stop(); code != 0 {
		t.Errorf("exit code %d", code)
	}
	// A kill may lose the count of the second before it.
	if n, least := g.socketBytes(t), int64(size-2*5<<20); n < least {
		t.Errorf("%d bytes on the bill, at least %d were carried", n, least)
	}
}

// unfinished lists what the store keeps of uploads.
func unfinished(t *testing.T, store *peers.Store) (files []string) {
	t.Helper()
	err := filepath.WalkDir(filepath.Join(store.Dir, "site-files", ".sgwtmp"), func(path string, e fs.DirEntry, err error) error {
		if err == nil && !e.IsDir() {
			files = append(files, path)
		}
		return err
	})
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	return files
}
