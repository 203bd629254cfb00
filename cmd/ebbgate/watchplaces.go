package main

import (
	"context"
	"slices"
	"sync"
	"time"
)

// watchesAtOnce bounds the streams of changes.
const watchesAtOnce = 16

// watchKeeps is how long a stream keeps its place when another one wants it.
const watchKeeps = time.Minute

// watchPlaces are the places of the streams of changes.
//
// A reader who has hung up is seen at once, and one whose buffers are full when a
// write to him takes too long. One who neither reads nor hangs up and whose buffers
// have room cannot be told from one to whom nothing happens: the kernel takes what
// little there is to say, for days. So a place is kept for ever only while nobody
// else wants it. When all are taken the one that was taken first makes way: who
// still reads asks again, as every client of such streams does, and is the last in
// the row then; who does not is gone for good.
type watchPlaces struct {
	mu   sync.Mutex
	held []*watchPlace // the one taken first at the front
}

// watchPlace is one stream's place.
type watchPlace struct {
	since time.Time
	left  chan struct{} // closed when it is free again

	mu       sync.Mutex
	deadline func(time.Time) error // of writes to the reader; safe at any time
	makesWay bool
}

// take takes a place, and the place of another when there is none and his time is
// over: he has left it then. Without one it says when to ask again; 0: ctx ended.
func (p *watchPlaces) take(ctx context.Context, deadline func(time.Time) error) (place *watchPlace, again time.Duration) {
	for {
		mine, first, again := p.find(deadline)
		if first == nil {
			return mine, again
		}
		first.leave()
		select {
		case <-first.left:
		case <-ctx.Done():
			return nil, 0
		}
	}
}

// find takes a free place, or names the one that makes way.
func (p *watchPlaces) find(deadline func(time.Time) error) (mine, first *watchPlace, again time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.held) < watchesAtOnce {
		mine = &watchPlace{since: time.Now(), left: make(chan struct{}), deadline: deadline}
		p.held = append(p.held, mine)
		return mine, nil, 0
	}
	if again = watchKeeps - time.Since(p.held[0].since); again > 0 {
		return nil, nil, again
	}
	return nil, p.held[0], 0
}

// free gives a place back.
func (p *watchPlaces) free(place *watchPlace) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.held = slices.DeleteFunc(p.held, func(x *watchPlace) bool { return x == place })
	close(place.left)
}

// leave ends the stream of a place, a write to a reader who takes nothing too.
func (w *watchPlace) leave() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.makesWay = true
	_ = w.deadline(time.Now()) // fails when the connection is closed, which is as good
}

// stays gives the reader his time for what is written next; false: he makes way, or
// is gone.
func (w *watchPlace) stays() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return !w.makesWay && w.deadline(time.Now().Add(watchPatience)) == nil
}
