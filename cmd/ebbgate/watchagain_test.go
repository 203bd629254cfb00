package main

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ebbgate/ebbgate/internal/telemetry"
	"github.com/ebbgate/ebbgate/localbroker/upload"
)

// endingTransfers is a gateway whose first stream ends, before a transfer that ran
// has been exported and another given up, and that has no place then when the client
// asks again for the first and the second time.
type endingTransfers struct {
	t     *testing.T
	asked int // how often for a stream
}

func (e *endingTransfers) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	is := func(file string, state upload.State) upload.Transfer {
		return upload.Transfer{ClientID: "c", FileID: file, State: state}
	}
	if file, one := strings.CutPrefix(r.URL.Path, transfersPath+"/c/"); one {
		if file == "given-up" {
			http.Error(w, upload.ErrUnknown.Error(), http.StatusNotFound)
			return
		}
		telemetry.WriteJSON(w, []transferDetail{{Detail: upload.Detail{Transfer: is(file, upload.StateExported)}}})
		return
	}
	if r.Header.Get("Accept") != "text/event-stream" {
		whole := is("whole", upload.StateQueued) // by now: it runs on, and its end is yet to come
		whole.SHA256 = strings.Repeat("0", 64)
		telemetry.WriteJSON(w, transfersPage{Transfers: []upload.Transfer{is("stays", upload.StateOpen), whole}})
		return
	}
	files := []string{"stays", "leaves", "given-up", "told", "whole"}
	switch e.asked++; e.asked {
	case 1:
		defer func() { // its end is told in the stream, and once
			if err := writeEvent(w, "gone", is("told", upload.StateExported)); err != nil {
				e.t.Error(err)
			}
		}()
	case 2:
		noPlace(w, time.Second)
		return
	case 3: // so did an earlier gateway
		w.Header().Set("Retry-After", "1")
		http.Error(w, tooManyWatch, http.StatusServiceUnavailable)
		return
	default:
		files = files[:1]
	}
	for _, file := range files {
		if err := writeEvent(w, "transfer", is(file, upload.StateOpen)); err != nil {
			e.t.Error(err)
		}
	}
	if e.asked > 1 {
		_ = http.NewResponseController(w).Flush()
		<-r.Context().Done()
	}
}

// TestWatchGoesOn: a client whose stream has made way for another's asks for a new
// one until there is a place, and is told what became of those that ended in between.
func TestWatchGoesOn(t *testing.T) {
	server := httptest.NewServer(&endingTransfers{t: t})
	defer server.Close()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var got []string
	again := 0
	err := clientOf(server).events(ctx, func(e *transferEvent) error {
		if e == nil {
			return nil
		}
		got = append(got, strings.TrimSpace(e.Event+" "+e.Transfer.FileID+" "+string(e.Transfer.State)))
		if e.Transfer.FileID == "stays" {
			if again++; again == 2 {
				cancel()
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(got)
	want := []string{
		"gone given-up", "gone leaves exported", "gone told exported",
		"transfer given-up open", "transfer leaves open", "transfer stays open", "transfer stays open", "transfer told open", "transfer whole open",
	}
	if !slices.Equal(got, want) {
		t.Errorf("heard %q, want %q", got, want)
	}
}

// TestWatchRefused: who has no stream yet is told that there is no place, and a refusal
// that names no time is the end for who had one.
func TestWatchRefused(t *testing.T) {
	for name, c := range map[string]struct {
		streams int
		after   string
	}{"at first": {0, "1"}, "for good": {1, ""}} {
		t.Run(name, func(t *testing.T) {
			asked := 0
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				if asked++; asked <= c.streams {
					return
				}
				if asked > c.streams+1 {
					http.Error(w, "asked again", http.StatusGone)
					return
				}
				if c.after != "" {
					w.Header().Set("Retry-After", c.after)
				}
				http.Error(w, "not now", http.StatusServiceUnavailable)
			}))
			defer server.Close()
			err := clientOf(server).events(t.Context(), func(*transferEvent) error { return nil })
			if refused, ok := errors.AsType[*answerError](err); !ok || refused.text != "not now" || asked != c.streams+1 {
				t.Errorf("asked %d times: %v", asked, err)
			}
		})
	}
}

// TestWatchFull: who has no stream yet is told when there is no place.
func TestWatchFull(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { noPlace(w, 50*time.Second) }))
	defer server.Close()
	err := clientOf(server).events(t.Context(), func(e *transferEvent) error { t.Error(e); return nil })
	if err == nil || err.Error() != tooManyWatch {
		t.Error(err)
	}
}

// TestWaitOf: nobody is kept waiting for as long as an answer likes.
func TestWaitOf(t *testing.T) {
	for after, want := range map[string]time.Duration{
		"": 0, "-1": 0, "x": 0, "50": 50 * time.Second, "9223372036854775807": longestWait, "99999999999999999999": 0,
	} {
		if got := waitOf(&http.Response{Header: http.Header{"Retry-After": {after}}}); got != want {
			t.Errorf("%q: %s, want %s", after, got, want)
		}
	}
}
