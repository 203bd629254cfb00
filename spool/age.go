package spool

import (
	"encoding/binary"
	"sync"
	"time"
)

// ageSaved is how often the age clock is saved when nothing else is.
const ageSaved = 10 * time.Second

// ageClock is time that only grows: the running time of all starts, and of the
// pauses between them as far as the wall clock tells them believably. Expiry is
// measured on it, so that a clock that jumps or starts in 1970 expires nothing
// too early.
type ageClock struct {
	now     func() time.Time
	base    time.Duration
	started time.Time
}

// maxPause bounds what a pause between two starts counts: a clock that was set
// forward by years must not expire the spool.
const maxPause = 31 * 24 * time.Hour

// plausible is a time before which a clock is not set: this program is younger.
var plausible = time.Date(2024, 1, 1, 0, 0, 0, 0, time.UTC)

func newAgeClock(saved []byte, now func() time.Time) *ageClock {
	c := &ageClock{now: now, started: now()}
	if len(saved) != 16 {
		return c
	}
	c.base = time.Duration(binary.BigEndian.Uint64(saved))
	wall := time.Unix(0, int64(binary.BigEndian.Uint64(saved[8:])))
	if wall.After(plausible) && c.started.After(wall) {
		c.base += min(c.started.Sub(wall), maxPause)
	}
	return c
}

func (c *ageClock) age() time.Duration { return c.base + c.now().Sub(c.started) }

func (c *ageClock) encode() []byte {
	b := binary.BigEndian.AppendUint64(nil, uint64(c.age()))
	return binary.BigEndian.AppendUint64(b, uint64(c.now().UnixNano()))
}

// progress counts something up and lets others wait for a count.
type progress struct {
	mu   sync.Mutex
	cond *sync.Cond
	n    int64
}

func newProgress() *progress {
	p := new(progress)
	p.cond = sync.NewCond(&p.mu)
	return p
}

func (p *progress) add(n int64) {
	p.mu.Lock()
	p.n += n
	p.mu.Unlock()
	p.cond.Broadcast()
}

func (p *progress) wait(n int64) {
	p.mu.Lock()
	for p.n < n {
		p.cond.Wait()
	}
	p.mu.Unlock()
}
