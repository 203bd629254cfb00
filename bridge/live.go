package bridge

import (
	"context"
	"sync"
)

// live is the link that a line sends on now. Whoever brings room in the window
// sends what waits for it, if that is sure not to make him wait: at full speed a
// burst of acknowledgements is then answered by the goroutine that has read it,
// and none is woken. Else the line's own goroutine does.
type live struct {
	mu   sync.Mutex // held while something is sent
	ctx  context.Context
	link Link
	err  error // why sending has failed
}

func (v *live) set(ctx context.Context, link Link) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.ctx, v.link, v.err = ctx, link, nil
}

func (v *live) clear() {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.ctx, v.link = nil, nil
}

// send sends what waits on the line until there is no more, or no room for it.
func (v *live) send(l *line) error {
	v.mu.Lock()
	defer v.mu.Unlock()
	for v.err == nil && v.ctx.Err() == nil {
		fl := l.next()
		if fl == nil {
			break
		}
		if !l.isStale(fl) {
			v.err = l.send(v.ctx, v.link, fl)
		}
	}
	v.link.Flush()
	return v.err
}

// isStale gives back what has expired since it was read: the forwarder gives it up.
func (l *line) isStale(fl *flight) bool {
	if !fl.Mortal() || !fl.Expired(l.f.spool.Age()) {
		return false
	}
	l.put(report{flight: fl, unsent: true})
	return true
}

// sendNow is send for a goroutine that must not wait. It reports whether nothing
// is left to do for the line's own.
func (v *live) sendNow(l *line) bool {
	if !v.mu.TryLock() {
		return false
	}
	defer v.mu.Unlock()
	link, ok := v.link.(PromptLink)
	if !ok {
		return false
	}
	defer link.Flush()
	for v.err == nil && v.ctx.Err() == nil {
		fl := l.next()
		if fl == nil {
			return true
		}
		if l.isStale(fl) {
			continue
		}
		if ok, v.err = l.sendNow(link, fl); !ok {
			return false
		}
	}
	return false
}
