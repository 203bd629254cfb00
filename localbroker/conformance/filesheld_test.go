package conformance

import (
	"context"
	"sync"
	"testing"

	"github.com/ebbgate/ebbgate/bridge"
)

// heldTarget is a target that the test holds: each Put asks, and goes on or
// fails as it is let.
type heldTarget struct {
	bridge.FileTarget
	asked chan *bridge.File
	let   chan error

	mu   sync.Mutex
	puts []string // client/file, of those that succeeded
}

// Put implements bridge.FileTarget.
func (h *heldTarget) Put(ctx context.Context, f *bridge.File) (string, error) {
	select {
	case h.asked <- f:
	case <-ctx.Done():
		return "", ctx.Err()
	}
	select {
	case err := <-h.let:
		if err != nil {
			return "", err
		}
	case <-ctx.Done():
		return "", ctx.Err()
	}
	place, err := h.FileTarget.Put(ctx, f)
	if err == nil {
		h.mu.Lock()
		defer h.mu.Unlock()
		h.puts = append(h.puts, f.ClientID+"/"+f.FileID)
	}
	return place, err
}

func (h *heldTarget) count() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.puts)
}

// slowDepot exports with mode direct to a target that the test holds.
func slowDepot(t *testing.T, changes ...func(*depotSetup)) (*depot, *heldTarget) {
	t.Helper()
	h := &heldTarget{asked: make(chan *bridge.File, 100), let: make(chan error, 100)}
	d := openDepot(t, append([]func(*depotSetup){func(s *depotSetup) {
		s.Export.Mode = "direct"
		s.target = func(to bridge.FileTarget) bridge.FileTarget {
			h.FileTarget = to
			return h
		}
	}}, changes...)...)
	return d, h
}
