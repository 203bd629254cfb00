package bridge

import (
	"sync"
	"sync/atomic"
)

// claims keep two from giving up the same record: its release counts once, and so
// must its entry in the drop log. Whoever is about to give a record up claims it,
// and ends the claim when it is seen to be released, or was not after all.
type claims struct {
	mu   sync.Mutex
	held map[claimed]*claim

	others atomic.Int64 // given up, by others than forwarders
}

// claimed is the place of a record in its queue.
type claimed struct {
	queue string
	place Place
}

type claim struct {
	by   any
	done bool // it is committed, and its release will be seen soon
}

// Claim reports whether by may give up the record of a queue at a place: nobody else
// is about to, and it is not released.
func (l *DropLog) Claim(by any, queue string, place Place) bool {
	if l.book == nil {
		return true
	}
	at := claimed{queue, place}
	l.claims.mu.Lock()
	defer l.claims.mu.Unlock()
	if l.claims.held[at] != nil || l.book.spool.Released(queue, place) {
		return false
	}
	if l.claims.held == nil {
		l.claims.held = map[claimed]*claim{}
	}
	l.claims.held[at] = &claim{by: by}
	return true
}

// GivenUp is how many records others than forwarders have given up since the start.
func (l *DropLog) GivenUp() int64 { return l.claims.others.Load() }

// Committed says that what by has claimed is given up. A release that went through the
// log is seen a little later, and the claim is held until then.
func (l *DropLog) Committed(by any, queue string, place Place) {
	if _, own := by.(*Forwarder); !own {
		l.claims.others.Add(1)
	}
	if l.book == nil {
		return
	}
	l.claims.mu.Lock()
	defer l.claims.mu.Unlock()
	at := claimed{queue, place}
	switch c := l.claims.held[at]; {
	case c == nil || c.by != by:
	case l.book.spool.Released(queue, place):
		delete(l.claims.held, at)
	default:
		c.done = true
	}
}

// Disown ends the claims of by that came to nothing.
func (l *DropLog) Disown(by any) {
	l.claims.mu.Lock()
	defer l.claims.mu.Unlock()
	for at, c := range l.claims.held {
		if c.by == by && !c.done {
			delete(l.claims.held, at)
		}
	}
}

// endClaims forgets the claims whose releases are seen.
func (l *DropLog) endClaims() {
	l.claims.mu.Lock()
	defer l.claims.mu.Unlock()
	for at, c := range l.claims.held {
		if c.done && l.book.spool.Released(at.queue, at.place) {
			delete(l.claims.held, at)
		}
	}
}
