package delivery

import (
	"container/list"
	"sync"
	"time"
)

// editions remember of which edition of a version's file each thing has got something
// last. A version alone does not tell: a stream that is defined here may have the number of the
// cloud's of that name, and one that was deleted and made anew may begin with 1 again.
// A device that is half-way through the one must not go on with the other.
type editions struct {
	mu    sync.Mutex
	order list.List // of begun, the latest first
	byKey map[begunKey]*list.Element
}

type begunKey struct {
	thing, stream string
	version, file int
}

// begun is a download, which may be over.
type begun struct {
	begunKey
	edition string
	at      time.Time // when something of it was last asked for
}

// How many downloads are remembered, and for how long after the last request: a device
// that never asks for the first block again is let on then.
const (
	maxBegun = 10_000
	begunFor = 24 * time.Hour
)

// goOn reports whether a thing may get blocks of that edition of a file: it has got none
// of another, or begins anew, with the first.
func (e *editions) goOn(k begunKey, edition string, first bool) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	now := time.Now()
	if at, known := e.byKey[k]; known {
		b := at.Value.(*begun)
		if b.edition != edition && !first && now.Sub(b.at) < begunFor {
			return false
		}
		b.edition, b.at = edition, now
		e.order.MoveToFront(at)
		return true
	}
	if e.byKey == nil {
		e.byKey = map[begunKey]*list.Element{}
	}
	e.byKey[k] = e.order.PushFront(&begun{k, edition, now})
	if e.order.Len() > maxBegun {
		last := e.order.Back()
		delete(e.byKey, last.Value.(*begun).begunKey)
		e.order.Remove(last)
	}
	return true
}
