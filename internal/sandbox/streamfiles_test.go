package sandbox

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestReadStreams: files and folders become streams; what AWS would not take, or
// what is not there, is an error that says which.
func TestReadStreams(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{"a.bin": "one", "many/2": "two", "many/10": "ten", "many/deeper/x": "left out", "empty/deeper/x": ""} {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	at := func(id, name string) string { return id + "=" + filepath.Join(dir, name) }
	got, err := ReadStreams([]string{at("S1", "a.bin"), at("S2", "many"), at("S1", "many/2")})
	if err != nil {
		t.Fatal(err)
	}
	text := map[string]string{}
	for id, files := range got {
		for n, content := range files {
			text[fmt.Sprint(id, " ", n)] = string(content)
		}
	}
	if want := map[string]string{"S1 0": "one", "S1 1": "two", "S2 0": "ten", "S2 1": "two"}; !maps.Equal(text, want) {
		t.Errorf("%v, want %v", text, want)
	}
	if err := os.Truncate(filepath.Join(dir, "a.bin"), LargestStreamFile+1); err != nil {
		t.Fatal(err)
	}
	eleven := []string{}
	for range 11 {
		eleven = append(eleven, at("S1", "many/2"))
	}
	for want, written := range map[string][]string{
		"write ID=FILE":  {"S1"},
		"or ID=FOLDER":   {"=x"},
		"1 to 128":       {at("a/b", "a.bin")},
		"no such file":   {at("S1", "b.bin")},
		"has no files":   {at("S1", "empty")},
		"has more than":  {at("S1", "a.bin")},
		"takes 10 files": eleven,
	} {
		if _, err := ReadStreams(written); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %s", written, err, want)
		}
	}
}

// TestControlOfStreams: a stream is made, made anew, listed and removed.
func TestControlOfStreams(t *testing.T) {
	streams := newStreams()
	control := NewControl(&Cloud{streams: streams, arrivals: NewArrivals(byColon, nil)})
	do := func(method, path string, body io.Reader) (int, string) {
		w := httptest.NewRecorder()
		control.ServeHTTP(w, httptest.NewRequest(method, "http://127.0.0.1:18831"+path, body))
		return w.Code, w.Body.String()
	}
	for _, c := range []struct {
		method, path string
		body         io.Reader
		status       int
	}{
		{"PUT", "/streams/S1", strings.NewReader("firmware"), 200},
		{"PUT", "/streams/S1", strings.NewReader("new firmware"), 200},
		{"PUT", "/streams/S2", strings.NewReader(""), 200},
		{"PUT", "/streams/a%2Fb", strings.NewReader("x"), 400},
		{"PUT", "/streams/S3", strings.NewReader(strings.Repeat("x", LargestStreamFile+1)), 413},
		{"DELETE", "/streams/S2", nil, 204},
		{"DELETE", "/streams/S2", nil, 404},
		{"POST", "/streams/S1", strings.NewReader("x"), 405},
	} {
		if status, body := do(c.method, c.path, c.body); status != c.status {
			t.Errorf("%s %s: %d %s, want %d", c.method, c.path, status, body, c.status)
		}
	}
	streams.note(Asked{Stream: "S1", From: 0, To: 12})
	var got []StreamState
	if _, body := do("GET", "/streams", nil); json.Unmarshal([]byte(body), &got) != nil || len(got) != 1 ||
		got[0].ID != "S1" || got[0].Version != 2 || got[0].Files[0] != len("new firmware") || got[0].Blocks != 1 || got[0].Bytes != 12 {
		t.Errorf("%s", body)
	}
}
