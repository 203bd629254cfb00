package telemetry

import (
	"io"
	"log/slog"
	"net/http"
	"strings"
	"testing"
)

// TestForeignPagesChangeNothing: a web page may make a browser send requests to
// this port, by its right name; what such a request would change it may not ask.
func TestForeignPagesChangeNothing(t *testing.T) {
	changed := 0
	s, err := Listen("127.0.0.1:0", func() Status { return Status{} }, Routes{
		"POST /api/v1/x": http.HandlerFunc(func(http.ResponseWriter, *http.Request) { changed++ }),
	}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- s.Run(t.Context()) }()
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	for header, want := range map[string]int{"": http.StatusOK, "Sec-Fetch-Site: cross-site": http.StatusForbidden, "Origin: http://example.com": http.StatusForbidden, "Origin: null": http.StatusForbidden} {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+s.Address()+"/api/v1/x", strings.NewReader("{}"))
		if err != nil {
			t.Fatal(err)
		}
		if name, value, ok := strings.Cut(header, ": "); ok {
			r.Header.Set(name, value)
		}
		resp, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.Copy(io.Discard, resp.Body)
		_ = resp.Body.Close()
		if resp.StatusCode != want {
			t.Errorf("%q: %d, want %d", header, resp.StatusCode, want)
		}
	}
	if changed != 1 {
		t.Errorf("changed %d times", changed)
	}
}
