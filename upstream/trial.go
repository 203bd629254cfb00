package upstream

import (
	"crypto/sha256"
	"sync"
)

// Pair is the content of a client certificate's files, by their hashes.
type Pair struct{ Cert, Key [sha256.Size]byte }

// trials let one connection of several log in with a new client certificate first: one
// that the cloud does not take costs that connection, and not all.
type trials struct {
	mu      sync.Mutex
	under   map[string]any  // by the certificate's path: who tries what is there now
	trusted map[string]Pair // likewise: what somebody was let in with last
}

// MayTry reports whether who has a link may end it to log in with what is in the files
// of a client certificate now: when somebody was let in with that, or when nobody else
// has tried it yet. A nil gate lets everybody.
func (g *Gate) MayTry(path string, p Pair, who any) bool {
	if g == nil {
		return true
	}
	t := &g.trials
	t.mu.Lock()
	defer t.mu.Unlock()
	if last, known := t.trusted[path]; known && last == p {
		return true
	}
	if by := t.under[path]; by != nil {
		return by == who
	}
	if t.under == nil {
		t.under = map[string]any{}
	}
	t.under[path] = who
	return true
}

// LetIn notes that the cloud has let somebody in with a client certificate.
func (g *Gate) LetIn(path string, p Pair) {
	if g == nil || path == "" {
		return
	}
	t := &g.trials
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.trusted == nil {
		t.trusted = map[string]Pair{}
	}
	t.trusted[path] = p
	delete(t.under, path)
}

// NoLonger notes that somebody tries nothing any more: another may.
func (g *Gate) NoLonger(who any) {
	if g == nil {
		return
	}
	t := &g.trials
	t.mu.Lock()
	defer t.mu.Unlock()
	for path, by := range t.under {
		if by == who {
			delete(t.under, path)
		}
	}
}
