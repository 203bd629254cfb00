package s3

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/ebbgate/ebbgate/bridge"
)

// A small file is one request, and its object has EMQX's key and metadata (F51).
func TestF51(t *testing.T) {
	t.Parallel()
	r := openRig(t)
	f := file("client-1", "file-id-1", "prüfung ✓.log", 1000)
	f.Meta = []byte(`{"name":"prüfung ✓.log","user_data":{"💡":"ü"}}`)
	place := r.put(f)
	r.wantOperations("HeadObject", "PutObject")
	const key = "client-1/file-id-1/prüfung ✓.log"
	if place != "s3://files/"+key {
		t.Errorf("place %q", place)
	}
	out := r.wantObject(key, f)
	if *out.ContentType != "text/plain; charset=utf-8" {
		t.Errorf("content type %q", *out.ContentType)
	}
	want := map[string]string{
		"clientid": "client-1", "fileid": "file-id-1", "filemeta-vsn": "1", "sha256": sumText(f),
		"filemeta": `{"name":"pr\u00fcfung \u2713.log","user_data":{"\ud83d\udca1":"\u00fc"}}`,
	}
	for k, v := range want {
		if out.Metadata[k] != v {
			t.Errorf("%s is %q, want %q", k, out.Metadata[k], v)
		}
	}
	if len(out.Metadata) != len(want) {
		t.Errorf("metadata %v", out.Metadata)
	}
	var said map[string]any
	if err := json.Unmarshal([]byte(out.Metadata["filemeta"]), &said); err != nil || said["name"] != f.Name {
		t.Errorf("%v, %v", said, err)
	}
}

// No id leads out of its folder, no two files have one key, and what no header may
// have is escaped in the metadata.
func TestHostileIDs(t *testing.T) {
	t.Parallel()
	r := openRig(t)
	files := map[string]*bridge.File{
		"%2E%2E/%2E/a":              file("..", ".", "a", 1),
		"%2Fetc/a%5Cb/passwd":       file("/etc", `a\b`, "passwd", 2),
		"%252Fetc/a%3Ab/%2e%2e%2fx": file("%2Fetc", "a:b", "%2e%2e%2fx", 3),
		"c1/f1/a":                   file("c1", "f1", "a", 4),
		"c1/f10/a":                  file("c1", "f10", "a", 5),
		"größe/%0A%00/a+b&c?d=e#f":  file("größe", "\n\x00", "a+b&c?d=e#f", 6),
		"💡/ /a b":                   file("💡", " ", "a b", 7),
	}
	for key, f := range files {
		if place := r.put(f); place != "s3://files/"+key {
			t.Errorf("place %q, want %q", place, key)
		}
	}
	for key, f := range files {
		out := r.wantObject(key, f)
		for name, id := range map[string]string{metaClient: f.ClientID, metaFile: f.FileID} {
			if got, err := url.PathUnescape(out.Metadata[name]); err != nil || strings.TrimSpace(got) != strings.TrimSpace(id) && got != id {
				t.Errorf("%s of %q: %q, %v", name, key, out.Metadata[name], err)
			}
		}
	}
	if entries, err := os.ReadDir(filepath.Dir(r.store.Dir)); err != nil || len(entries) != 3 { // store, side, log
		t.Errorf("beside the store: %v, %v", entries, err)
	}
}

// A key that S3 would not take is the file's fault, and said before anything is
// sent; so is a file that is larger than an object.
func TestImpossible(t *testing.T) {
	t.Parallel()
	r := openRig(t, func(o *Options) { o.Key = strings.Repeat("x", 400) + "/${clientid}/${fileid}/${name}" })
	f := file(strings.Repeat("/", 80), strings.Repeat("f", 255), strings.Repeat("n", 240), 1)
	if _, err := r.Put(t.Context(), f); !bridge.OfFile(err) || !strings.Contains(err.Error(), "1024") {
		t.Errorf("%v", err)
	}
	f = file("c1", "f1", "a", 1)
	f.Size = largestFile + 1
	if _, err := r.Put(t.Context(), f); !bridge.OfFile(err) || !strings.Contains(err.Error(), "5120GiB") {
		t.Errorf("%v", err)
	}
	r.wantOperations()
}

// What a device says that does not fit into the metadata stands beside the object.
func TestManifest(t *testing.T) {
	t.Parallel()
	r := openRig(t)
	f := file("c1", "f1", "a.csv", 10)
	f.Meta = []byte(`{"name":"a.csv","user_data":"` + strings.Repeat("x", 5000) + `"}`)
	place := r.put(f)
	out := r.wantObject("c1/f1/a.csv", f)
	if out.Metadata[metaSaid] != `{"name":"a.csv"}` {
		t.Errorf("metadata %v", out.Metadata)
	}
	beside, err := r.Open(t.Context(), place+".MANIFEST.json")
	if err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(beside)
	_ = beside.Close()
	if err != nil || string(text) != string(f.Manifest()) {
		t.Errorf("%.60s, %v", text, err)
	}
	if err := r.Remove(t.Context(), place); err != nil || len(r.keys()) > 0 {
		t.Errorf("%v, %q", err, r.keys())
	}

	f.Name = strings.Repeat("💡", 60)
	f.Meta = []byte(`{"name":"` + f.Name + strings.Repeat("💡", 60) + `"}`)
	r.put(f)
	if out := r.wantObject("c1/f1/"+f.Name, f); out.Metadata[metaSaid] != ascii(f.Meta) {
		t.Errorf("metadata %v", out.Metadata)
	}

	always := openRig(t, func(o *Options) { o.Manifest = manifestAlways })
	always.put(file("c1", "f1", "a", 1))
	if k := always.keys(); !slices.Equal(k, []string{"c1/f1/a", "c1/f1/a.MANIFEST.json"}) {
		t.Errorf("%q", k)
	}
}

// A file is read, also by somebody without credentials, and removed; what is not
// in this bucket is not touched.
func TestPlaces(t *testing.T) {
	t.Parallel()
	r := openRig(t)
	f := file("c1", "f1", "ü %.txt", 100)
	place := r.put(f)
	in, err := r.Open(t.Context(), place)
	if err != nil {
		t.Fatal(err)
	}
	read, err := io.ReadAll(in)
	_ = in.Close()
	if err != nil || len(read) != 100 {
		t.Errorf("%d bytes, %v", len(read), err)
	}
	address, err := r.Address(t.Context(), place)
	if err != nil {
		t.Fatal(err)
	}
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	got, err := client.Get(address)
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(got.Body)
	_ = got.Body.Close()
	if err != nil || got.StatusCode != http.StatusOK || string(body) != string(read) {
		t.Errorf("%s: %d, %v", address, got.StatusCode, err)
	}
	for _, elsewhere := range []string{"s3://other/c1/f1/a", "AB/CD/c1/f1/a", "s3://files/", ""} {
		if _, err := r.Open(t.Context(), elsewhere); !bridge.OfFile(err) {
			t.Errorf("%q: %v", elsewhere, err)
		}
		if err := r.Remove(t.Context(), elsewhere); !bridge.OfFile(err) {
			t.Errorf("%q: %v", elsewhere, err)
		}
		if _, err := r.Address(t.Context(), elsewhere); !bridge.OfFile(err) {
			t.Errorf("%q: %v", elsewhere, err)
		}
	}
	for range 2 {
		if err := r.Remove(t.Context(), place); err != nil {
			t.Error(err)
		}
	}
	if k := r.keys(); len(k) > 0 {
		t.Errorf("objects %q", k)
	}
	if _, err := r.Open(t.Context(), place); !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), "is not in bucket files at "+r.store.URL()) {
		t.Errorf("of what was removed: %v", err)
	}
}

// Of a file that is read from a byte on, what is before it does not cross the link.
func TestOpenFrom(t *testing.T) {
	t.Parallel()
	r := openRig(t)
	f := file("c1", "f1", "a.bin", 4<<20)
	place := r.put(f)
	want, err := io.ReadAll(f.Reader(t.Context()))
	if err != nil {
		t.Fatal(err)
	}
	for _, from := range []int{0, 1, 4<<20 - 10} {
		r.mu.Lock()
		before := r.bytes
		r.mu.Unlock()
		in, err := r.OpenFrom(t.Context(), place, int64(from), 0)
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(in)
		_ = in.Close()
		if err != nil || !bytes.Equal(got, want[from:]) {
			t.Errorf("from %d: %d bytes, %v", from, len(got), err)
		}
		r.mu.Lock()
		if n := r.bytes - before; n > len(got)+8<<10 {
			t.Errorf("from %d: %d bytes have come for %d", from, n, len(got))
		}
		r.mu.Unlock()
	}
	for _, from := range []int64{0, 1 << 20} {
		in, err := r.OpenFrom(t.Context(), place, from, 1000)
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(in)
		_ = in.Close()
		if err != nil || !bytes.Equal(got, want[from:from+1000]) {
			t.Errorf("1000 from %d: %d bytes, %v", from, len(got), err)
		}
	}
	if _, err := r.OpenFrom(t.Context(), place, 4<<20, 0); err == nil {
		t.Error("there is nothing behind its end")
	}
}

// The content type goes by the extension, whatever its case.
func TestContentType(t *testing.T) {
	for name, want := range map[string]string{
		"a.LOG": "text/plain; charset=utf-8", "x.tar.gz": "application/gzip", "a.jpeg": "image/jpeg", "a": unknownKind, "a.": unknownKind,
		".log": "text/plain; charset=utf-8", "a.qqqq": unknownKind, "a.mp4": "video/mp4", "a.wasm": "application/wasm",
	} {
		if got := contentType(name); got != want {
			t.Errorf("%s is %s, want %s", name, got, want)
		}
	}
}
