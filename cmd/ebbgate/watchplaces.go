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

// watchStalls is how long a reader's kernel may leave something to be taken before his
// place is anybody's who wants one.
const watchStalls = 5 * time.Second

// watchPlaces are the places of the streams of changes.
//
// A reader who has hung up is seen at once, and one whose buffers are full when a
// write to him takes too long. One who neither reads nor hangs up and whose buffers
// have room cannot be told from one to whom nothing happens: the kernel takes what
// little there is to say, for days. So a place is kept for ever only while nobody
// else wants it. When all are taken, one whose kernel takes no more makes way, and when
// there is none the one that was taken first, after a while: who still reads asks again,
// as every client of such streams does, and is the last in the row then; who does not is
// gone for good.
type watchPlaces struct {
	mu   sync.Mutex
	held []*watchPlace // the one taken first at the front
}

// watchPlace is one stream's place.
type watchPlace struct {
	since time.Time
	left  chan struct{} // closed when it is free again
	watcher

	mu       sync.Mutex
	makesWay bool
	took     time.Time // when his kernel had taken all, the last time anybody looked
}

// watcher is the connection of a reader.
type watcher struct {
	deadline func(time.Time) error // of writes; safe at any time
	unread   func() int            // bytes that his kernel has not taken
}

// take takes a place, and the place of another when there is none and his time is
// over: he has left it then. Without one it says when to ask again; 0: ctx ended.
func (p *watchPlaces) take(ctx context.Context, who watcher) (place *watchPlace, again time.Duration) {
	for {
		mine, first, again := p.find(who)
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
func (p *watchPlaces) find(who watcher) (mine, first *watchPlace, again time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.held) < watchesAtOnce {
		now := time.Now()
		mine = &watchPlace{since: now, took: now, left: make(chan struct{}), watcher: who}
		p.held = append(p.held, mine)
		return mine, nil, 0
	}
	if stalls := p.stallsLocked(); stalls != nil {
		return nil, stalls, 0
	}
	if again = watchKeeps - time.Since(p.held[0].since); again > 0 {
		return nil, nil, again
	}
	return nil, p.held[0], 0
}

// stallsLocked is the place of the reader whose kernel has taken nothing for the longest,
// if that is long enough.
func (p *watchPlaces) stallsLocked() (worst *watchPlace) {
	since := time.Now().Add(-watchStalls)
	for _, w := range p.held {
		w.mu.Lock()
		took := w.took
		w.mu.Unlock()
		if !took.After(since) {
			worst, since = w, took.Add(-1)
		}
	}
	return worst
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
	if w.unread() == 0 {
		w.took = time.Now()
	}
	return !w.makesWay && w.deadline(time.Now().Add(watchPatience)) == nil
}
