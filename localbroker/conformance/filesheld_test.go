package conformance

import (
	"context"
	"io"
	"sync"
	"testing"

	"github.com/ebbgate/ebbgate/localbroker/upload"
)

// heldTarget is a target that the test holds: each Put asks, and goes on or
// fails as it is let.
type heldTarget struct {
	upload.Target
	asked chan *upload.File
	let   chan error

	mu   sync.Mutex
	puts []string // client/file, of those that succeeded
}

// Put implements upload.Target.
func (h *heldTarget) Put(ctx context.Context, f *upload.File) (string, error) {
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
	place, err := h.Target.Put(ctx, f)
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

// Open implements upload.Target.
func (h *heldTarget) Open(place string) (io.ReadCloser, error) { return h.Target.Open(place) }

// slowDepot exports with mode direct to a target that the test holds.
func slowDepot(t *testing.T, changes ...func(*depotSetup)) (*depot, *heldTarget) {
	t.Helper()
	h := &heldTarget{asked: make(chan *upload.File, 100), let: make(chan error, 100)}
	d := openDepot(t, append([]func(*depotSetup){func(s *depotSetup) {
		s.Export.Mode = "direct"
		s.target = func(to upload.Target) upload.Target {
			h.Target = to
			return h
		}
	}}, changes...)...)
	return d, h
}
