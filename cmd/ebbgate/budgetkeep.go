package main

import (
	"encoding/json"
	"fmt"
	"maps"

	"github.com/ebbgate/ebbgate/bridge"
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
