package conformance

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ebbgate/ebbgate/localbroker/upload"
)

// depotNode is what depots are called over HTTP.
const depotNode = "ebbgate@test"

// asked is an answer over HTTP.
type asked struct {
	status int
	header http.Header
	body   string
}

// text is a text of a JSON object that was answered.
func (a asked) text(key string) string {
	var all map[string]json.RawMessage
	_ = json.Unmarshal([]byte(a.body), &all) // nothing is found
	return unquoted(all[key])
}

// get asks EMQX's HTTP API of a depot.
func (d *depot) get(path string) asked {
	d.tb.Helper()
	return askEMQX(d.tb, &upload.EMQX{Service: d.service, Node: depotNode, Config: map[string]any{"enable": true}}, http.MethodGet, path)
}

func askEMQX(tb testing.TB, api *upload.EMQX, method, path string) asked {
	tb.Helper()
	mux := http.NewServeMux()
	for pattern, h := range api.Routes() {
		mux.Handle(pattern, h)
	}
	server := httptest.NewServer(mux)
	defer server.Close()
	r, err := http.NewRequestWithContext(tb.Context(), method, server.URL+path, nil)
	if err != nil {
		tb.Fatal(err)
	}
	client := server.Client()
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	resp, err := client.Do(r)
	if err != nil {
		tb.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }() // only read
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		tb.Fatal(err)
	}
	return asked{resp.StatusCode, resp.Header, string(body)}
}

// listed is a page of EMQX's list.
type listed struct {
	Files []struct {
		ClientID, FileID, Name, Timestamp, URI string
		Size                                   int64
		Metadata                               map[string]any
	}
	Cursor string
}

func (a asked) list(tb testing.TB) (l listed) {
	tb.Helper()
	if err := json.Unmarshal([]byte(a.body), &l); err != nil || a.status != http.StatusOK {
		tb.Fatalf("%d %s: %v", a.status, a.body, err)
	}
	return l
}

// exportsOf sends a file and waits until it has left.
func (d *depot) exportsOf(s *sender, file, name, content string) {
	d.tb.Helper()
	s.ok("$file/"+file+"/init", fmt.Sprintf(`{"name":%q,"user_data":{"site":7}}`, name))
	s.ok("$file/"+file+"/0", content)
	s.ok(fmt.Sprintf("$file/%s/fin/%d", file, len(content)), "")
	eventually(d.tb, "the export of "+file, func() bool {
		all, err := d.service.Show(s.id, file)
		return err == nil && len(all) == 1 && all[0].State == upload.StateExported
	})
}

// TestF54: exported files are listed, page by page by a cursor of EMQX's form, and
// of one transfer, with their metadata; each is downloaded by its uri, whatever its
// ids are made of (F26).
func TestF54(t *testing.T) {
	t.Parallel()
	d := openDepot(t)
	want := map[string]string{}
	for _, id := range []string{"c1", "c2", "sensor äöü"} {
		s := d.sends(5, id)
		for _, file := range []string{"f1", "f10", "f:1", ".."} {
			content := id + " sends " + file
			d.exportsOf(s, file, "a b.bin", content)
			want[id+" "+file] = content
		}
	}
	got := map[string]string{}
	for following, pages := "", 1; ; pages++ {
		path := "/api/v5/file_transfer/files?limit=5"
		if following != "" {
			path += "&following=" + url.QueryEscape(following)
		}
		page := d.get(path).list(t)
		for _, f := range page.Files {
			in := d.get(f.URI)
			if in.status != http.StatusOK || in.header.Get("Content-Type") != "application/data" || !strings.HasPrefix(in.header.Get("Content-Disposition"), "attachment") || in.header.Get("X-Content-Type-Options") != "nosniff" {
				t.Errorf("%s: %d %v", f.URI, in.status, in.header)
			}
			if f.Name != "a b.bin" || f.Size != int64(len(in.body)) || f.Metadata["name"] != f.Name || !strings.HasSuffix(f.Timestamp, "Z") {
				t.Errorf("%+v", f)
			}
			got[f.ClientID+" "+f.FileID] = in.body
			one := d.get("/api/v5/file_transfer/files/" + escaped(f.ClientID) + "/" + escaped(f.FileID)).list(t)
			if len(one.Files) != 1 || one.Files[0].URI != f.URI || one.Cursor != "" {
				t.Errorf("%s of %s: %+v", f.FileID, f.ClientID, one)
			}
		}
		if following = page.Cursor; following == "" {
			if pages != 3 {
				t.Errorf("%d pages", pages)
			}
			break
		}
		var c map[string]string
		if err := json.Unmarshal([]byte(following), &c); err != nil || c["n"] != depotNode || c["cid"] == "" || c["fid"] == "" || c["fn"] != "a b.bin" {
			t.Errorf("cursor %s: %v", following, err)
		}
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("got %v, want %v", got, want)
	}
	if l := d.get("/api/v5/file_transfer/files?limit=1000000000").list(t); len(l.Files) != len(want) {
		t.Errorf("%d files", len(l.Files))
	}
}

// escaped is an id as a part of a path: dots too, which are a path's own.
func escaped(id string) string { return strings.ReplaceAll(url.PathEscape(id), ".", "%2E") }

// TestF54Refusals: what cannot be answered has EMQX's status and code; the
// configuration is told and not taken.
func TestF54Refusals(t *testing.T) {
	t.Parallel()
	d := openDepot(t)
	d.exportsOf(d.sends(5, "c1"), "f1", "a.bin", "x")
	ref := func(s string) string {
		return "/api/v5/file_transfer/file?node=" + depotNode + "&fileref=" + url.QueryEscape(s)
	}
	for path, want := range map[string]string{
		"/api/v5/file_transfer/files?limit=-1":                                  "400 BAD_REQUEST",
		"/api/v5/file_transfer/files?limit=":                                    "400 BAD_REQUEST",
		"/api/v5/file_transfer/files?limit=1e3":                                 "400 BAD_REQUEST",
		"/api/v5/file_transfer/files?following=":                                "400 BAD_REQUEST",
		"/api/v5/file_transfer/files?following=" + url.QueryEscape(`{"n":"x"}`): "400 BAD_REQUEST",
		"/api/v5/file_transfer/files?following=" + url.QueryEscape(`{"cid":7}`): "400 BAD_REQUEST",
		"/api/v5/file_transfer/files/c1/f":                                      "404 FILES_NOT_FOUND",
		"/api/v5/file_transfer/file?node=" + depotNode:                          "400 BAD_REQUEST",
		"/api/v5/file_transfer/file?fileref=x":                                  "400 BAD_REQUEST",
		"/api/v5/file_transfer/file?node=emqx@127.0.0.1&fileref=x":              "503 SERVICE_UNAVAILABLE",
		ref(base64.RawURLEncoding.EncodeToString([]byte("\x02c1f2"))):           "404 NOT_FOUND",
	} {
		if a := d.get(path); fmt.Sprintf("%d %s", a.status, a.text("code")) != want {
			t.Errorf("%s: %d %s, want %s", path, a.status, a.body, want)
		}
	}
	uri := d.get("/api/v5/file_transfer/files/c1/f1").list(t).Files[0].URI
	if err := os.Remove(filepath.Join(d.exports, d.placeOf("c1", "f1", "a.bin"))); err != nil {
		t.Fatal(err)
	}
	if a := d.get(uri); a.status != http.StatusNotFound || a.text("code") != "NOT_FOUND" || !strings.Contains(a.text("message"), "taken it away") {
		t.Errorf("of a file that was taken away: %d %s", a.status, a.body)
	}
	api := &upload.EMQX{Service: d.service, Node: depotNode, Config: map[string]any{"enable": true}}
	if a := askEMQX(t, api, http.MethodPut, "/api/v5/file_transfer"); a.status != http.StatusMethodNotAllowed || a.header.Get("Allow") == "" || !strings.Contains(a.body, "file") {
		t.Errorf("%d %s", a.status, a.body)
	}
	if a := askEMQX(t, api, http.MethodDelete, "/api/v5/file_transfer/files/c1/f1"); a.status != http.StatusMethodNotAllowed {
		t.Errorf("%d %s", a.status, a.body)
	}
	off := &upload.EMQX{Node: depotNode, Config: map[string]any{"enable": false}}
	if a := askEMQX(t, off, http.MethodGet, "/api/v5/file_transfer/files"); a.status != http.StatusServiceUnavailable {
		t.Errorf("%d %s", a.status, a.body)
	}
	if a := askEMQX(t, off, http.MethodGet, "/api/v5/file_transfer"); a.status != http.StatusOK || a.body != "{\"enable\":false}\n" {
		t.Errorf("%d %s", a.status, a.body)
	}
}

// TestFileRefTraversal: no fileref reads anything but the content of an exported
// file: neither paths in any spelling, nor manifests, nor files of the gateway.
func TestFileRefTraversal(t *testing.T) {
	t.Parallel()
	d := openDepot(t)
	d.exportsOf(d.sends(5, "c1"), "f1", "a.bin", "the file")
	if err := os.WriteFile(filepath.Join(d.dir, "secret"), []byte("kept to ourselves"), 0o600); err != nil {
		t.Fatal(err)
	}
	place := d.placeOf("c1", "f1", "a.bin")
	for _, ref := range []string{
		"", ".", "..", "/", "/etc/passwd", "../secret", "..%2fsecret", `..\secret`, "....//secret", "file:///etc/passwd", place, "/" + place, "./" + place,
		place + ".MANIFEST.json", filepath.Join(d.exports, place), "\x00", "c1/f1", strings.Repeat("A", 70000), "AAAA=", "\xff\xfe",
	} {
		for _, spelt := range []string{ref, base64.RawURLEncoding.EncodeToString([]byte(ref)), base64.StdEncoding.EncodeToString([]byte(ref))} {
			a := d.get("/api/v5/file_transfer/file?node=" + depotNode + "&fileref=" + url.QueryEscape(spelt))
			if a.status != http.StatusNotFound || strings.Contains(a.body, "kept to ourselves") || strings.Contains(a.body, "the file") {
				t.Errorf("%.60q: %d %.100s", ref, a.status, a.body)
			}
		}
	}
	for _, path := range []string{"/api/v5/file_transfer/files/../../secret", "/api/v5/file_transfer/files/%2e%2e/%2e%2e", "/api/v5/file_transfer/files/c1/..%2f..%2fsecret", "/api/v5/file_transfer/file/../../../etc/passwd"} {
		if a := d.get(path); a.status == http.StatusOK || strings.Contains(a.body, "kept to ourselves") {
			t.Errorf("%s: %d %s", path, a.status, a.body)
		}
	}
	d.undisturbed("calm")
}
