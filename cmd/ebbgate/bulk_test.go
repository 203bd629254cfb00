package main

import (
	"log/slog"
	"testing"
	"time"

	"github.com/ebbgate/ebbgate/bridge"
	"github.com/ebbgate/ebbgate/configs"
	"github.com/ebbgate/ebbgate/upstream/metered"
)

// oneQueue is a queue as a backlog sees it.
type oneQueue struct {
	oldest time.Duration
	went   int64
}

func (q *oneQueue) Depth(string) bridge.Depth   { return bridge.Depth{Oldest: q.oldest} }
func (q *oneQueue) Ledger(string) bridge.Ledger { return bridge.Ledger{Delivered: q.went} }

// Files yield to messages that wait and go, not to those that go at once, nor to
// those that wait for something else than the link.
func TestMessagesThatFilesYieldTo(t *testing.T) {
	b, q, now := new(backlog), new(oneQueue), time.Now()
	names := []string{"up/a/b"}
	for i, c := range []struct {
		oldest time.Duration
		went   int64
		after  time.Duration
		behind bool
	}{
		{0, 0, 0, false},
		{300 * time.Millisecond, 10, time.Second, false}, // in flight
		{3 * time.Second, 20, time.Second, true},
		{4 * time.Second, 20, time.Second, true},        // nothing goes, for now: files may be why
		{20 * time.Second, 20, 15 * time.Second, false}, // a paused route
		{21 * time.Second, 21, time.Second, true},
		{0, 500, time.Second, false},
	} {
		q.oldest, q.went = c.oldest, c.went
		now = now.Add(c.after)
		if got := b.behind(now, names, q); got != c.behind {
			t.Errorf("%d: behind %v, want %v", i, got, c.behind)
		}
	}
	q.oldest = time.Hour // the link has come up, and there is a backlog
	if b.behind(now, nil, q); !b.behind(now, names, q) {
		t.Error("a link that has just come up is not looked at")
	}
}

// What is exported uses up the budget of exports, which outlives a restart.
func TestBudgetOfExports(t *testing.T) {
	s := emptySpool(t)
	e := configs.DefaultFileTransfer().Export
	e.To, e.Metered = configs.ExportUpstream, metered.Options{Budget: 1_000_000, Per: "day", TimeZone: "UTC", Override: 10}
	open := func() *files {
		t.Helper()
		g := &gateway{spool: s, log: slog.New(slog.DiscardHandler), clock: bridge.NewClock(s.Age, func() bool { return true })}
		g.backlog = &backlog{g: g}
		f := new(files)
		var err error
		if f.pace, err = f.exportPace(g, e); err != nil {
			t.Fatal(err)
		}
		return f
	}
	f := open()
	if why := f.pace.Held(); why != "" {
		t.Error(why)
	}
	f.gate.Carried(999_999)
	if why := f.pace.Held(); why != "" {
		t.Error(why)
	}
	f.gate.Carried(saveAt)
	if err := f.pace.Wait(t.Context(), 1); bridge.KindOf(err) != bridge.Unavailable {
		t.Error(err)
	}
	commit(t, s, &bridge.Batch{Adds: []bridge.Add{{Namespace: "test", Key: "x", Delta: 1}}}) // what was before it is written
	if why := open().pace.Held(); why != "file_transfer.export.metered: the budget of this day is used up" {
		t.Errorf("after a restart: %q", why)
	}
}
