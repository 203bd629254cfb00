package spool

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/ebbgate/ebbgate/bridge"
)

// model is what a spool must be, in memory.
type model struct {
	t        *rapid.T
	tb       testing.TB
	dir      string
	s        *Spool
	live     map[string][]string
	counters map[string]int64
	values   map[string]string
	ledgers  map[string]bridge.Ledger // without what is held
	shelf    shelfModel
	n        int
}

var modelQueues = []string{"up/a/x", "up/a/y", "up/b/z"}

// TestSpoolAgainstModel drives a spool through random steps, with kills, power
// cuts and reopenings between any two of them, and compares it with a model in
// memory after each.
func TestSpoolAgainstModel(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(r *rapid.T) {
		dir, err := os.MkdirTemp(t.TempDir(), "")
		if err != nil {
			t.Fatal(err)
		}
		m := &model{t: r, tb: t, dir: dir, live: map[string][]string{}, counters: map[string]int64{}, values: map[string]string{}, ledgers: map[string]bridge.Ledger{}, shelf: newShelfModel()}
		m.s = openTest(t, dir)
		defer func() { closeTest(t, m.s) }()
		r.Repeat(map[string]func(*rapid.T){
			"append":  func(*rapid.T) { m.append(false) },
			"carry":   func(*rapid.T) { m.append(true) },
			"burst":   func(*rapid.T) { m.burst() },
			"release": func(*rapid.T) { m.release() },
			"state":   func(*rapid.T) { m.state() },
			"shelve":  func(*rapid.T) { m.shelve() },
			"forget":  func(*rapid.T) { m.forget() },
			"flush":   func(*rapid.T) { m.s.shelf.force() },
			"reopen":  func(*rapid.T) { m.reopen() },
			"kill":    func(*rapid.T) { m.crash(false) },
			"cut":     func(*rapid.T) { m.crash(true) },
			"":        func(*rapid.T) { m.compare() },
		})
	})
}

func (m *model) batch(carry bool) *bridge.Batch {
	b := new(bridge.Batch)
	for range rapid.IntRange(1, 3).Draw(m.t, "records") {
		queues := rapid.SliceOfNDistinct(rapid.SampledFrom(modelQueues), 1, 3, rapid.ID).Draw(m.t, "queues")
		r := record(m.n, queues...)
		m.n++
		b.Append(r)
		for _, q := range queues {
			m.live[q] = append(m.live[q], string(r.Payload))
			m.ledgers[q] = m.ledgers[q].Plus(bridge.Ledger{Accepted: 1})
		}
	}
	if carry {
		m.changes(b)
	}
	return b
}

func (m *model) changes(b *bridge.Batch) {
	k := rapid.SampledFrom([]string{"a", "b"}).Draw(m.t, "key")
	b.Add("n", k, int64(m.n))
	m.counters[k] += int64(m.n)
	v := fmt.Sprint(m.n)
	b.Put("v", k, []byte(v))
	m.values[k] = v
}

func (m *model) append(carry bool) { commitAll(m.tb, m.s, m.batch(carry)) }

// burst appends enough to begin new generations.
func (m *model) burst() {
	for range 40 {
		m.append(false)
	}
}

func (m *model) state() {
	b := new(bridge.Batch)
	m.changes(b)
	commitAll(m.tb, m.s, b)
}

// release releases some records of one queue, not always the oldest.
func (m *model) release() {
	q := rapid.SampledFrom(modelQueues).Draw(m.t, "queue")
	every := rapid.IntRange(1, 3).Draw(m.t, "every")
	limit := rapid.IntRange(1, 200).Draw(m.t, "limit")
	c := m.s.Cursor(q)
	defer c.Close()
	b := new(bridge.Batch)
	var kept []string
	for i := range m.live[q] {
		r, err := c.Next()
		if err != nil || r == nil {
			m.t.Fatalf("queue %s ends after %d of %d: %v", q, i, len(m.live[q]), err)
		}
		if i < limit && i%every == 0 {
			b.ReleaseAs(r, m.fate(q))
		} else {
			kept = append(kept, m.live[q][i])
		}
	}
	m.live[q] = kept
	if b.Empty() {
		return
	}
	if m.changes(b); rapid.Bool().Draw(m.t, "append") { // through the log
		b.Append(record(m.n, "up/c/other"))
	}
	commitAll(m.tb, m.s, b)
	m.s.settle() // the state takes it after the log
}

// fate deals one of a record of a queue.
func (m *model) fate(queue string) bridge.Fate {
	f := rapid.SampledFrom([]bridge.Fate{bridge.Delivered, bridge.Delivered, bridge.Dropped, bridge.Consumed, bridge.Moved}).Draw(m.t, "fate")
	l := m.ledgers[queue]
	*[]*int64{&l.Delivered, &l.Dropped, &l.Consumed, &l.Moved}[f]++
	m.ledgers[queue] = l
	return f
}

func (m *model) reopen() {
	closeTest(m.tb, m.s)
	m.s = openTest(m.tb, m.dir)
	m.shelf.gone = map[string]string{} // an orderly stop forgets for good
}

// crash goes on with a copy of the folder as it is now: all that is written
// after a kill, only what was synced after a power cut. What the state has
// acknowledged is synced; the index of the log never is.
func (m *model) crash(cut bool) {
	dir := killed(m.tb, m.dir)
	if cut {
		mems, _ := filepath.Glob(filepath.Join(dir, "log", "*", "*.mem"))
		for _, path := range mems {
			if err := os.Truncate(path, 0); err != nil {
				m.t.Fatal(err)
			}
		}
	}
	closeTest(m.tb, m.s)
	m.dir, m.s = dir, openTest(m.tb, dir)
	m.shelf.started(m)
}

func (m *model) compare() {
	for _, q := range modelQueues {
		if got := drain(m.tb, m.s, q, false); !slices.Equal(got, m.live[q]) {
			m.t.Fatalf("queue %s holds %d records, want %d", q, len(got), len(m.live[q]))
		}
		if d := m.s.Depth(q); d.Records != int64(len(m.live[q])) {
			m.t.Fatalf("queue %s has depth %d, want %d", q, d.Records, len(m.live[q]))
		}
		want := m.ledgers[q]
		if want.Held = int64(len(m.live[q])); m.s.Ledger(q) != want {
			m.t.Fatalf("queue %s: the ledger is %+v, want %+v", q, m.s.Ledger(q), want)
		}
	}
	for k, want := range m.counters {
		if got, err := m.s.Count("n", k); got != want || err != nil {
			m.t.Fatalf("counter %s is %d, want %d (%v)", k, got, want, err)
		}
	}
	for k, want := range m.values {
		if got, err := m.s.Get("v", k); string(got) != want || err != nil {
			m.t.Fatalf("value %s is %q, want %q (%v)", k, got, want, err)
		}
	}
	m.shelf.compare(m)
	if lost := m.s.Missing(); len(lost) > 0 {
		m.t.Fatalf("reported missing: %v", lost)
	}
}
