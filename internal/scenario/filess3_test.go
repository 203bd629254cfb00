package scenario

import (
	"bytes"
	"crypto/sha256"
	"io"
	"io/fs"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ebbgate/ebbgate/internal/peers"
)

// filmBucket is where the scenarios' gateways put files.
const filmBucket = "site-files"

// exportsToS3 sets a gateway to export to a store.
func exportsToS3(endpoint string) []string {
	return []string{
		"file_transfer.export.to=s3", "file_transfer.export.s3.bucket=" + filmBucket, "file_transfer.export.s3.endpoint=" + endpoint, "file_transfer.export.s3.path_style=true",
		"file_transfer.export.s3.access_key_id=" + peers.StoreKey, "file_transfer.export.s3.secret_access_key=" + peers.StoreSecret,
	}
}

// storeGate stands before a store, knows what was asked of it, and holds one
// request, or the answer to it, until whoever sends it is gone.
type storeGate struct {
	*httptest.Server
	store http.Handler

	mu    sync.Mutex
	hold  string        // "before UploadPart 3", "after CompleteMultipartUpload"; empty: nothing
	held  chan struct{} // closed when it is held
	parts map[string]int
	made  int // objects of parts
}

func newStoreGate(t *testing.T, store *peers.Store) *storeGate {
	t.Helper()
	at, err := url.Parse(store.URL())
	if err != nil {
		t.Fatal(err)
	}
	transport := &http.Transport{DisableKeepAlives: true}
	g := &storeGate{parts: map[string]int{}}
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

// holdAt has the next such request held, and tells when it is.
func (g *storeGate) holdAt(point string) (held <-chan struct{}) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.hold, g.held = point, make(chan struct{})
	return g.held
}

// holds reports whether a point is the one, and tells of it.
func (g *storeGate) holds(point string) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.hold != point {
		return false
	}
	g.hold = ""
	close(g.held)
	return true
}

// operationOf is what a request asks of a store.
func operationOf(r *http.Request) string {
	q := r.URL.Query()
	switch {
	case r.Method == http.MethodPut && q.Has("partNumber"):
		return "UploadPart " + q.Get("partNumber")
	case r.Method == http.MethodPut:
		return "PutObject"
	case r.Method == http.MethodPost && q.Has("uploads"):
		return "CreateMultipartUpload"
	case r.Method == http.MethodPost:
		return "CompleteMultipartUpload"
	}
	return r.Method
}

// ServeHTTP implements http.Handler.
func (g *storeGate) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	operation := operationOf(r)
	if g.holds("before " + operation) {
		_, _ = io.Copy(io.Discard, r.Body) // ends with whoever sends it: only then it is known whether he is there
		<-r.Context().Done()
		return
	}
	answer := &withheld{header: http.Header{}}
	g.store.ServeHTTP(answer, r)
	if answer.status == http.StatusOK {
		g.mu.Lock()
		if part, ok := strings.CutPrefix(operation, "UploadPart "); ok {
			g.parts[part]++
		} else if operation == "CompleteMultipartUpload" {
			g.made++
		}
		g.mu.Unlock()
	}
	if g.holds("after " + operation) {
		<-r.Context().Done()
		return
	}
	maps.Copy(w.Header(), answer.header)
	w.WriteHeader(answer.status)
	_, _ = w.Write(answer.body.Bytes()) // whoever asked is gone
}

// withheld is an answer that is kept until it is whole.
type withheld struct {
	header http.Header
	status int
	body   bytes.Buffer
}

// Header implements http.ResponseWriter.
func (a *withheld) Header() http.Header { return a.header }

// WriteHeader implements http.ResponseWriter.
func (a *withheld) WriteHeader(status int) {
	if status >= http.StatusOK { // what comes before is between the two ends of one connection
		a.status = status
	}
}

// Write implements http.ResponseWriter.
func (a *withheld) Write(b []byte) (int, error) {
	if a.status == 0 {
		a.status = http.StatusOK
	}
	return a.body.Write(b)
}

// TestF52: a device sends a file while the store is away, and fin succeeds; the
// gateway is killed in the midst of the export. The object is whole, made once, of
// parts that went up once, and nothing unfinished is left.
func TestF52(t *testing.T) {
	t.Parallel()
	store := peers.NewStore(t, filmBucket)
	front := newStoreGate(t, store)
	held := front.holdAt("before UploadPart 3")
	store.Stop()
	g := local(t, append(exportsToS3(front.URL), "file_transfer.enabled=true")...)
	g.start()
	size := scaled(200<<20, 23<<20)
	u := &filmUpload{t: t, addr: g.Listen, content: noise(size, dice(t)), segment: 512 << 10}
	u.acked = make([]bool, (size+u.segment-1)/u.segment)
	if err := u.attempt(func(int) {}); err != nil || !u.settled {
		t.Fatalf("the file is not taken: %v", err)
	}
	g.awaitSaid(t, "the store is away", func(s said) bool { return s.warns("files-export") })
	store.Start()
	select {
	case <-held:
	case <-time.After(time.Minute):
		t.Fatal("the export does not come to its third part")
	}
	g.kill()
	g.start()
	path := filepath.Join(store.Dir, filmBucket, "camera", "film", "film.bin")
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
	err := filepath.WalkDir(filepath.Join(store.Dir, filmBucket, ".sgwtmp"), func(path string, e fs.DirEntry, err error) error {
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
