package policy

import (
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/ebbgate/ebbgate/bridge"
)

// oneDocument is an engine with one document, and the grants of who has it.
func oneDocument(t testing.TB, text string) (*Engine, bridge.Grants, string) {
	t.Helper()
	folder := t.TempDir()
	file := filepath.Join(folder, "p.json")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	e, err := Load(Options{Policies: folder})
	if err != nil {
		t.Fatal(err)
	}
	p, err := e.Named("lan", "d", []string{"p"})
	if err != nil {
		t.Fatal(err)
	}
	p.Protocol = 5
	g, err := e.Grants(&p)
	if err != nil {
		t.Fatal(err)
	}
	return e, g, file
}

// TestRecent: a question that is repeated has the answer of one that is asked
// for the first time, until the documents change.
func TestRecent(t *testing.T) {
	allow := `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":["iot:Publish"],"Resource":"arn:aws:iot:*:*:topic/a/*"}]}`
	e, g, file := oneDocument(t, allow)
	fresh := func(r bridge.Request) bridge.Decision {
		b := g.(*grants).bound.Load()
		ask, err := e.request(&r, b.source)
		if err != nil {
			t.Fatal(err)
		}
		return b.program.decide(&ask)
	}
	for round := range 5 {
		for i := range 40 { // more than there are slots
			for _, name := range []string{fmt.Sprint("a/", i%12), fmt.Sprint("b/", i%3)} {
				for _, action := range []bridge.Action{bridge.ActionPublish, bridge.ActionReceive, bridge.ActionRetainPublish, bridge.ActionSubscribe} {
					r := bridge.Request{Action: action, Name: name}
					for range 3 {
						if got, want := g.Decide(r), fresh(r); got.Allowed != want.Allowed || got.Reason != want.Reason || got.Index != want.Index {
							t.Fatalf("round %d: %s %s: %+v, want %+v", round, action, name, got, want)
						}
					}
				}
			}
		}
	}
	if g.(*grants).bound.Load().recentlyKept() == 0 {
		t.Error("nothing is remembered")
	}
	if err := os.WriteFile(file, []byte(`{"Version":"2012-10-17","Statement":[{"Effect":"Deny","Action":"iot:*","Resource":"*"}]}`), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := e.Reload(); err != nil {
		t.Fatal(err)
	}
	if d := g.Decide(bridge.Request{Action: bridge.ActionPublish, Name: "a/1"}); d.Allowed {
		t.Error("an answer of the old document")
	}
}

func (b *bound) recentlyKept() (n int) {
	for i := range b.recent {
		if b.recent[i].kept.Load() != nil {
			n++
		}
	}
	return n
}

// TestRecentDoesNotOutliveTime: an answer that depends on the time is asked for
// each time (policy §9: aws:CurrentTime).
func TestRecentDoesNotOutliveTime(t *testing.T) {
	e, g, _ := oneDocument(t, `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"iot:Publish","Resource":"*",
		"Condition":{"DateLessThan":{"aws:CurrentTime":"2027-01-01T00:00:00Z"}}}]}`)
	now := time.Date(2026, 12, 31, 0, 0, 0, 0, time.UTC)
	e.now = func() time.Time { return now }
	r := bridge.Request{Action: bridge.ActionPublish, Name: "a"}
	for range 5 {
		if !g.Decide(r).Allowed {
			t.Fatal("denied before the end")
		}
	}
	now = now.AddDate(0, 0, 2)
	if g.Decide(r).Allowed {
		t.Error("allowed behind the end")
	}
}

// TestRecentNeedsNoMemoryForDistinctTopics: a device that never repeats itself
// leaves nothing behind.
func TestRecentNeedsNoMemoryForDistinctTopics(t *testing.T) {
	_, g, _ := oneDocument(t, `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"iot:Publish","Resource":"*"}]}`)
	for i := range 10_000 {
		g.Decide(bridge.Request{Action: bridge.ActionPublish, Name: fmt.Sprint("a/", i)})
	}
	if n := g.(*grants).bound.Load().recentlyKept(); n > 0 {
		t.Errorf("%d answers are remembered", n)
	}
}

// TestRecentAtOnce is for the race detector.
func TestRecentAtOnce(t *testing.T) {
	e, g, _ := oneDocument(t, `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"iot:Publish","Resource":"arn:aws:iot:*:*:topic/*1"}]}`)
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			for i := range 2000 {
				name := fmt.Sprint(i % 24)
				if got := g.Decide(bridge.Request{Action: bridge.ActionPublish, Name: name}).Allowed; got != (name[len(name)-1] == '1') {
					t.Errorf("%s: %v", name, got)
					return
				}
			}
		})
	}
	all.Go(func() {
		for range 3 {
			if err := e.Reload(); err != nil {
				t.Error(err)
			}
		}
	})
	all.Wait()
}

// BenchmarkRecent is a decision that has been asked for before.
func BenchmarkRecent(b *testing.B) {
	_, g, _ := oneDocument(b, `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"iot:Publish","Resource":"arn:aws:iot:*:*:topic/dt/*"}]}`)
	r := bridge.Request{Action: bridge.ActionPublish, Name: "dt/load-000/t"}
	b.ReportAllocs()
	for b.Loop() {
		if !g.Decide(r).Allowed {
			b.Fatal("denied")
		}
	}
}
