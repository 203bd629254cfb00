package delivery

import (
	"context"
	"sync"
	"time"
)

// Bounds of what is asked of the cloud about streams that nobody has heard of.
const (
	turnEvery   = time.Second
	turnBurst   = 20
	turnMemory  = 10 * time.Minute // for which who had one is remembered
	maxRecalled = 10_000           // who had one; beyond, those of the longest ago are forgotten
)

// turns are leave to do something, of which there is one every so often for all
// together. Of those who wait, the one gets it whose last one is the longest ago: who
// asks for one name after the other has what the others leave. Each device waits for
// one at a time, which bounds those who wait by those who are connected.
type turns struct {
	mu      sync.Mutex
	free    int
	counted time.Time // until when free has been filled
	waiting []*turn   // in the order in which they came
	last    map[string]time.Time
	timer   *time.Timer // runs while somebody waits
}

// turn is one that somebody waits for.
type turn struct {
	who string
	had time.Time     // the last one
	got chan struct{} // closed when it is there
}

func newTurns() *turns {
	return &turns{free: turnBurst, counted: time.Now(), last: map[string]time.Time{}}
}

// wait waits for a turn, until ctx ends.
func (t *turns) wait(ctx context.Context, who string) error {
	t.mu.Lock()
	w := &turn{who: who, had: t.last[who], got: make(chan struct{})}
	t.waiting = append(t.waiting, w)
	t.grantLocked()
	t.mu.Unlock()
	select {
	case <-w.got:
		return nil
	case <-ctx.Done():
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	for i, other := range t.waiting {
		if other == w {
			t.waiting = append(t.waiting[:i], t.waiting[i+1:]...)
			return ctx.Err()
		}
	}
	return nil // it came at the last moment
}

// back gives a turn back that was not needed.
func (t *turns) back() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.free = min(t.free+1, turnBurst)
	t.grantLocked()
}

func (t *turns) grantLocked() {
	now := time.Now()
	if more := int(now.Sub(t.counted) / turnEvery); more > 0 {
		t.free = min(t.free+more, turnBurst)
		t.counted = t.counted.Add(time.Duration(more) * turnEvery)
	}
	for t.free > 0 && len(t.waiting) > 0 {
		first := 0
		for i, w := range t.waiting {
			if w.had.Before(t.waiting[first].had) {
				first = i
			}
		}
		w := t.waiting[first]
		t.waiting = append(t.waiting[:first], t.waiting[first+1:]...)
		t.free--
		t.noteLocked(w.who, now)
		close(w.got)
	}
	if len(t.waiting) > 0 && t.timer == nil {
		t.timer = time.AfterFunc(t.counted.Add(turnEvery).Sub(now), func() {
			t.mu.Lock()
			defer t.mu.Unlock()
			t.timer = nil
			t.grantLocked()
		})
	}
}

// noteLocked remembers who had a turn, within bounds.
func (t *turns) noteLocked(who string, now time.Time) {
	for after := turnMemory; len(t.last) >= maxRecalled && after > 0; after -= turnMemory / 4 {
		for other, at := range t.last {
			if now.Sub(at) > after {
				delete(t.last, other)
			}
		}
	}
	if len(t.last) >= maxRecalled {
		clear(t.last)
	}
	t.last[clip(who)] = now
}
