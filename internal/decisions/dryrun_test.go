package decisions

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ebbgate/ebbgate/bridge"
)

func nobody(func(*bridge.Principal, bridge.Request) bool) {}

// TestDryRun: only what the candidate answers otherwise is told, each once with
// its count, those who are there first; the active answers stay what they are.
func TestDryRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := NewLog(table{"secret": "no-secrets"}, Options{Entries: 10})
		candidate := table{"a": "strict", "there": ""}
		ctx, cancel := context.WithCancel(t.Context())
		var last Progress
		found := map[int]Difference{}
		done := make(chan error)
		go func() {
			done <- l.DryRun(ctx, candidate, func(each func(*bridge.Principal, bridge.Request) bool) {
				each(principal("s"), bridge.Request{Action: bridge.ActionSubscribe, Name: "there"})
				each(principal("s"), bridge.Request{Action: bridge.ActionConnect, Name: "s"})
			}, func(changed []*Difference, p Progress) error {
				for _, d := range changed {
					found[d.ID] = *d
				}
				last = p
				return nil
			})
		}()
		synctest.Wait()
		ask(t, l, "d", bridge.ActionPublish, "a", "a", "b", "secret", "a")
		g, _ := l.Grants(principal("d"))
		if g.Decide(bridge.Request{Action: bridge.ActionPublish, Name: "secret"}).Allowed {
			t.Error("the candidate has decided")
		}
		if err := l.DryRun(ctx, candidate, nobody, nil); !errors.Is(err, ErrBusy) {
			t.Errorf("a second one: %v", err)
		}
		time.Sleep(2 * tellEvery) // of the bubble
		cancel()
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		want := Progress{Asked: 8, Differ: 6, Present: 2}
		if last != want {
			t.Errorf("progress %+v, want %+v", last, want)
		}
		for id, text := range map[int]string{
			1: "s iot:Subscribe topicfilter/there ALLOWED → IMPLICIT_DENY ×1",
			2: "d iot:Publish topic/a ALLOWED → EXPLICIT_DENY ×3",
			3: "d iot:Publish topic/secret EXPLICIT_DENY → ALLOWED ×2",
		} {
			d := found[id]
			if got := fmt.Sprintf("%s %s %s %s → %s ×%d", d.ClientID, d.Action, d.Resource, d.Active.Outcome, d.Candidate.Outcome, d.Count); got != text {
				t.Errorf("difference %d: %s, want %s", id, got, text)
			}
		}
		if l.dry.Load() != nil {
			t.Error("it goes on without a reader")
		}
	})
}

// TestDryRunIsBounded: a candidate that does not keep up loses questions and
// holds nobody; differences beyond the bound are counted.
func TestDryRunIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := NewLog(table{}, Options{})
		ctx, cancel := context.WithCancel(t.Context())
		slow := make(chan struct{})
		var last Progress
		done := make(chan error)
		go func() {
			done <- l.DryRun(ctx, blocked{slow}, nobody, func(_ []*Difference, p Progress) error { last = p; return nil })
		}()
		synctest.Wait()
		g, _ := l.Grants(principal("d"))
		for i := range maxQuestions + 101 {
			if !g.Decide(bridge.Request{Action: bridge.ActionPublish, Name: fmt.Sprint(i)}).Allowed {
				t.Fatal("denied")
			}
			if i == 0 {
				synctest.Wait() // it is with the candidate
			}
		}
		close(slow)
		time.Sleep(2 * tellEvery)
		cancel()
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		want := Progress{Asked: maxQuestions + 1, Differ: maxQuestions + 1, More: maxQuestions + 1 - maxDifferences, Skipped: 100}
		if last != want {
			t.Errorf("progress %+v, want %+v", last, want)
		}
	})
}

// blocked denies everything, once it may.
type blocked struct{ until chan struct{} }

func (b blocked) Grants(*bridge.Principal) (bridge.Grants, error) { return b, nil }
func (b blocked) Decide(bridge.Request) bridge.Decision {
	<-b.until
	return bridge.Decision{Reason: "denied: everything"}
}

// TestDryRunHandler: what the admin port says, and that it ends with its reader.
func TestDryRunHandler(t *testing.T) {
	l := NewLog(table{}, Options{})
	h := DryRunHandler{Log: l, Standing: func(each func(*bridge.Principal, bridge.Request) bool) {
		each(principal("d"), bridge.Request{Action: bridge.ActionConnect, Name: "d"})
	}, Load: func(r DryRunRequest) (bridge.Authorizer, error) {
		if r.Policies == "/bad" {
			return nil, errors.New("/bad/p.json:1:1: not JSON")
		}
		return table{"d": ""}, nil
	}}
	post := func(kind, body string) (int, string) {
		w := httptest.NewRecorder()
		r := httptest.NewRequest(http.MethodPost, "/", strings.NewReader(body))
		r.Header.Set("Content-Type", kind)
		h.ServeHTTP(w, r)
		return w.Code, w.Body.String()
	}
	if code, _ := post("text/plain", `{"policies":"/good"}`); code != http.StatusUnsupportedMediaType {
		t.Errorf("another origin's request: %d", code)
	}
	if code, _ := post("application/json", `{`); code != http.StatusBadRequest {
		t.Errorf("no JSON: %d", code)
	}
	if _, body := post("application/json", `{"policies":"/bad"}`); !strings.Contains(body, `"error":"/bad/p.json:1:1: not JSON"`) {
		t.Errorf("a bad candidate: %s", body)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, served(t, h), strings.NewReader(`{"policies":"/good"}`))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	first := make([]byte, 1000)
	n, err := resp.Body.Read(first)
	if err != nil && !errors.Is(err, io.EOF) || !strings.Contains(string(first[:n]), `"client_id":"d"`) {
		t.Errorf("%s, %v", first[:n], err)
	}
	if code, body := post("application/json", `{"policies":"/good"}`); code != http.StatusConflict {
		t.Errorf("a second one: %d %s", code, body)
	}
	cancel()
	_ = resp.Body.Close()
	deadline := time.After(10 * time.Second)
	for tick := time.Tick(time.Millisecond); l.dry.Load() != nil; {
		select {
		case <-tick:
		case <-deadline:
			t.Fatal("it goes on without its reader")
		}
	}
}
