package decisions

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/ebbgate/ebbgate/bridge"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// table is a policy that denies the names in it: by a statement when the reason
// is not empty.
type table map[string]string

func (t table) Grants(p *bridge.Principal) (bridge.Grants, error) {
	if _, no := t[p.ClientID]; no {
		return nil, bridge.Errorf("authorize", bridge.NotAuthorized, "there is no policy")
	}
	return t, nil
}

func (t table) Decide(r bridge.Request) bridge.Decision {
	policy, denied := t[r.Name]
	switch {
	case !denied:
		return bridge.Decision{Allowed: true, Policy: "p", Index: 2, Reason: "allowed by p[2]"}
	case policy != "":
		return bridge.Decision{Explicit: true, Policy: policy, Reason: "denied by " + policy}
	}
	return bridge.Decision{Reason: "denied: no statement", Missing: []string{"iot:Connection.Thing.ThingName"}}
}

func principal(id string) *bridge.Principal {
	return &bridge.Principal{ClientID: id, User: "lan", Thing: bridge.Thing{Name: id}}
}

func ask(tb testing.TB, l *Log, client string, action bridge.Action, names ...string) {
	tb.Helper()
	g, err := l.Grants(principal(client))
	if err != nil {
		tb.Fatal(err)
	}
	for _, n := range names {
		g.Decide(bridge.Request{Action: action, Name: n})
	}
}

// read asks the log over HTTP, without following.
func read(tb testing.TB, l *Log, query string) []Entry {
	tb.Helper()
	w := httptest.NewRecorder()
	l.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/?"+query, nil))
	var out []Entry
	for line := range strings.Lines(w.Body.String()) {
		var x LogLine
		if err := json.Unmarshal([]byte(line), &x); err != nil {
			tb.Fatalf("%q: %v", line, err)
		}
		if x.Decision != nil {
			out = append(out, *x.Decision)
		}
	}
	return out
}

// TestAnswersPassThrough: who is watched is answered as the policy answers.
func TestAnswersPassThrough(t *testing.T) {
	policy := table{"secret": "deny", "nobody": ""}
	l := NewLog(policy, Options{Entries: 8, Sample: 1000})
	g, err := l.Grants(principal("d"))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"a", "secret", "nobody"} {
		got, want := g.Decide(bridge.Request{Action: bridge.ActionPublish, Name: name}), policy.Decide(bridge.Request{Name: name})
		if got.Allowed != want.Allowed || got.Reason != want.Reason || got.Policy != want.Policy {
			t.Errorf("%s: %+v, want %+v", name, got, want)
		}
	}
	if _, err := l.Grants(principal("nobody")); err == nil {
		t.Error("the error was swallowed")
	}
}

// TestWhatIsKept: all denials; of what is allowed the first of each client and
// action, then samples.
func TestWhatIsKept(t *testing.T) {
	l := NewLog(table{"secret": "no-secrets", "unknown": "", "gone": ""}, Options{Entries: 100, Sample: 1 << 30})
	ask(t, l, "d", bridge.ActionConnect, "d")
	ask(t, l, "d", bridge.ActionPublish, "a", "b", "secret", "c", "unknown")
	if _, err := l.Grants(principal("gone")); err == nil {
		t.Fatal("let in")
	}
	var got []string
	for _, e := range read(t, l, "") {
		index := -1
		if e.Statement != nil {
			index = *e.Statement
		}
		got = append(got, fmt.Sprintf("%s %s %s %s %s[%d] %s", e.ClientID, e.Action, e.Resource, e.Outcome, e.Policy, index, strings.Join(e.Missing, ",")))
	}
	want := []string{
		"d iot:Connect client/d ALLOWED p[2] ",
		"d iot:Publish topic/a ALLOWED p[2] ",
		"d iot:Publish topic/secret EXPLICIT_DENY no-secrets[0] ",
		"d iot:Publish topic/unknown IMPLICIT_DENY [-1] iot:Connection.Thing.ThingName",
		"gone iot:Connect client/gone IMPLICIT_DENY [-1] ",
	}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	if n := len(read(t, l, "denied=true")); n != 3 {
		t.Errorf("%d denials", n)
	}
	if n := len(read(t, l, "client=gone")); n != 1 {
		t.Errorf("%d of one client", n)
	}
	if n := len(read(t, l, "action=publish&denied=true")); n != 2 {
		t.Errorf("%d of one action", n)
	}
}

func TestSample(t *testing.T) {
	const asked, of = 100_000, 100
	l := NewLog(table{}, Options{Entries: asked, Sample: of})
	g, err := l.Grants(principal("d"))
	if err != nil {
		t.Fatal(err)
	}
	for range asked {
		g.Decide(bridge.Request{Action: bridge.ActionPublish, Name: "t"})
	}
	if n := len(read(t, l, "")); n < asked/of/2 || n > asked/of*2 {
		t.Errorf("%d of %d kept, want about one in %d", n, asked, of)
	}
}

// TestBounds: the ring keeps the latest, a name holds no packet, and a log of
// no entries keeps none.
func TestBounds(t *testing.T) {
	l := NewLog(table{}, Options{Entries: 10})
	for i := range 25 {
		ask(t, l, "d", bridge.ActionPublish, fmt.Sprint(i))
	}
	got := read(t, l, "")
	if len(got) != 10 || got[0].Resource != "topic/15" || got[9].Resource != "topic/24" || got[9].Number != 24 {
		t.Errorf("got %d: %+v", len(got), got)
	}
	ask(t, l, "d", bridge.ActionPublish, strings.Repeat("ä", 40_000))
	if n := len(read(t, l, "")[9].Resource); n > longestName+16 {
		t.Errorf("a name of %d bytes is kept", n)
	}
	none := NewLog(table{"secret": ""}, Options{})
	ask(t, none, "d", bridge.ActionPublish, "secret", "a")
	if n := len(read(t, none, "")); n != 0 {
		t.Errorf("%d entries of none", n)
	}
}

// TestNoSecrets: what is written is the question and the answer.
func TestNoSecrets(t *testing.T) {
	l := NewLog(table{"w": ""}, Options{Entries: 10})
	g, err := l.Grants(&bridge.Principal{ClientID: "d", User: "ann", CertificateID: "c0ffee", Thing: bridge.Thing{Name: "t", Attributes: map[string]string{"token": "hunter2"}}})
	if err != nil {
		t.Fatal(err)
	}
	g.Decide(bridge.Request{Action: bridge.ActionConnect, Name: "d", Will: true, WillTopic: "w"})
	g.Decide(bridge.Request{Action: bridge.ActionReceive, Name: "w", Share: "g"})
	raw, err := json.Marshal(read(t, l, ""))
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Contains(raw, []byte("hunter2")) {
		t.Errorf("%s", raw)
	}
	for _, want := range []string{`"principal":"c0ffee"`, `"thing":"t"`, `"will_topic":"w"`, `"share":"g"`, `"missingContextValues":["iot:Connection.Thing.ThingName"]`} {
		if !bytes.Contains(raw, []byte(want)) {
			t.Errorf("%s lacks %s", raw, want)
		}
	}
}

// served is a server of h whose requests end with the test.
func served(t *testing.T, h http.Handler) string {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(func() {
		s.CloseClientConnections()
		s.Close()
		http.DefaultClient.CloseIdleConnections()
	})
	return s.URL
}

// TestFollow: a reader sees what was there, then each decision as it is made,
// and is told what it has missed.
func TestFollow(t *testing.T) {
	l := NewLog(table{"secret": "deny"}, Options{Entries: 4})
	ask(t, l, "d", bridge.ActionPublish, "old")
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, served(t, l)+"?follow=true", nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	in := bufio.NewScanner(resp.Body)
	next := func() (x LogLine) {
		t.Helper()
		if !in.Scan() {
			t.Fatalf("the stream ended: %v", in.Err())
		}
		if err := json.Unmarshal(in.Bytes(), &x); err != nil {
			t.Fatal(err)
		}
		return x
	}
	if got := next(); got.Decision.Resource != "topic/old" {
		t.Errorf("got %+v", got.Decision)
	}
	for _, name := range []string{"a", "secret"} {
		ask(t, l, "d", bridge.ActionPublish, name)
		if got := next(); got.Decision == nil || got.Decision.Resource != "topic/"+name {
			t.Errorf("got %+v", got)
		}
	}
	if _, _, missed := l.read(0); missed != 0 {
		t.Errorf("missed %d of what fits", missed)
	}
	ask(t, l, "d", bridge.ActionPublish, "1", "2", "3", "4")
	if _, _, missed := l.read(0); missed != 3 {
		t.Errorf("missed %d, want 3", missed)
	}
}

// TestManyAtOnce is for the race detector.
func TestManyAtOnce(t *testing.T) {
	l := NewLog(table{"3": "deny"}, Options{Entries: 16, Sample: 4})
	var all sync.WaitGroup
	for i := range 8 {
		all.Go(func() {
			g, _ := l.Grants(principal(fmt.Sprint("d", i)))
			for n := range 500 {
				g.Decide(bridge.Request{Action: bridge.ActionPublish, Name: fmt.Sprint(n % 5)})
			}
		})
		all.Go(func() {
			for range 50 {
				l.read(0)
			}
		})
	}
	all.Wait()
	if n := len(read(t, l, "")); n != 16 {
		t.Errorf("%d entries", n)
	}
}

// BenchmarkDecide: what the log adds to a decision.
func BenchmarkDecide(b *testing.B) {
	r := bridge.Request{Action: bridge.ActionPublish, Name: "dt/site/device/telemetry"}
	run := func(g bridge.Grants) func(*testing.B) {
		return func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				g.Decide(r)
			}
		}
	}
	watched, err := NewLog(table{}, Options{Entries: 4096, Sample: 1000}).Grants(principal("d"))
	if err != nil {
		b.Fatal(errors.Unwrap(err))
	}
	denied, err := NewLog(table{r.Name: "x"}, Options{Entries: 4096, Sample: 1000}).Grants(principal("d"))
	if err != nil {
		b.Fatal(errors.Unwrap(err))
	}
	b.Run("unwatched", run(table{}))
	b.Run("watched", run(watched))
	b.Run("denied", run(denied))
}

// TestHTTPIsNamed: who speaks HTTP has no client id, and is found by what it
// has; what is asked about other clients, topics and lists reads as in an ARN.
func TestHTTPIsNamed(t *testing.T) {
	l := NewLog(table{}, Options{Entries: 10})
	g, err := l.Grants(&bridge.Principal{CertificateID: "c0ffee"})
	if err != nil {
		t.Fatal(err)
	}
	g.Decide(bridge.Request{Action: bridge.ActionSendDirect, Name: "press-1", Topic: "cmd/go"})
	g.Decide(bridge.Request{Action: bridge.ActionListRetained})
	g.Decide(bridge.Request{Action: bridge.ActionGetRetained, Name: "state/a"})
	ask(t, l, "press-1", bridge.ActionPublish, "t")
	var got []string
	for _, x := range read(t, l, "client=c0ffee") {
		got = append(got, x.Action+" "+x.Resource+" "+x.Topic)
	}
	want := []string{"iot:SendDirectMessage client/press-1 cmd/go", "iot:ListRetainedMessages * ", "iot:GetRetainedMessage topic/state/a "}
	if !slices.Equal(got, want) {
		t.Errorf("got %q", got)
	}
}
