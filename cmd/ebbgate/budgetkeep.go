package main

import (
	"encoding/json"
	"fmt"
	"maps"
	"time"

	"github.com/ebbgate/ebbgate/bridge"
	"github.com/ebbgate/ebbgate/upstream/billing"
)

// Where the spool keeps how the budgets stand that act: a start whose clock is
// not set yet, or whose ledger cannot be read, goes on with it.
const (
	nsBudget    = "budget"
	keyStanding = "standing"
)

// standing is how a budget stood when it was judged last.
type standing struct {
	Period string `json:"period"`
	Batch  bool   `json:"batch"`
	Files  bool   `json:"files,omitempty"`
	Over   bool   `json:"over"`

	// Vouched says that the clock was synchronised; Ends is then the spool's age at
	// which the period is certainly over, whatever the clock tells until it is
	// synchronised again.
	Vouched bool          `json:"vouched,omitempty"`
	Ends    time.Duration `json:"ends,omitempty"`
}

// holdsAt reports whether a budget goes on standing as it was, while nobody vouches
// for a clock which is behind the period in which that was judged. A clock that was
// vouched for is believed more, until its period must have ended; one that was not
// is not: it may have stood years ahead. What tells a year before any gateway ran is
// believed in nothing.
func (s standing) holdsAt(at bridge.Instant, period string) bool {
	switch {
	case at.Synced || period >= s.Period:
		return false
	case s.Vouched:
		return at.Age < s.Ends
	}
	return !billing.Plausible(at.Wall)
}

// actsAt reports whether a budget that stands so does what it says in the period that
// the clock tells.
func (s standing) actsAt(at bridge.Instant, period string) bool {
	return period == s.Period || s.holdsAt(at, period)
}

// judged is how a budget stands by the clock, after it stood as it was: who has
// vouched for a period is believed while the clock stays in it.
func judged(v billing.Verdict, at bridge.Instant, was standing) standing {
	s := standing{Period: v.At(at.Wall), Batch: v.Batch, Files: v.Files, Over: v.Over}
	if at.Synced {
		s.Vouched, s.Ends = true, at.Age+v.End(at.Wall).Sub(at.Wall)
	}
	// What is kept is written when it changes: not for the moments by which clocks differ.
	if was.Vouched && was.Period == s.Period && (!s.Vouched || (s.Ends-was.Ends).Abs() < time.Minute) {
		s.Vouched, s.Ends = true, was.Ends
	}
	return s
}

// budgetKey names a budget: no upstream has a slash in its name.
func budgetKey(upstream, name string) string { return upstream + "/" + name }

// load reads what the spool has. What is not a standing is as good as none.
func (b *budgets) load() error {
	text, err := b.spool.Get(nsBudget, keyStanding)
	if err != nil {
		return fmt.Errorf("read how the budgets stood: %w", err)
	}
	if json.Unmarshal(text, &b.kept) != nil || b.kept == nil {
		b.kept = map[string]standing{}
	}
	return nil
}

// keep writes how the budgets stand, when that has changed. What the spool does
// not take is written the next time.
func (b *budgets) keep(stand map[string]standing) {
	if maps.Equal(stand, b.kept) && !b.unwritten.Swap(false) {
		return
	}
	b.kept = stand
	text, _ := json.Marshal(stand) // texts and truths
	var batch bridge.Batch
	batch.Put(nsBudget, keyStanding, text)
	b.spool.Commit(&batch, func(_ bridge.Seq, err error) {
		if err != nil {
			b.unwritten.Store(true)
		}
	})
}
