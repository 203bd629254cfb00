package bridge

import (
	"crypto/rand"
	"encoding/binary"
	"sync/atomic"
	"time"
)

// Clock makes the instants and message ids of one start of the gateway.
type Clock struct {
	boot    uint64
	started time.Time
	age     func() time.Duration
	synced  func() bool
	counter atomic.Uint64
}

// NewClock makes a clock on the spool's age; synced asks the kernel whether
// the wall clock is synchronised (nil: it is not known to be).
func NewClock(age func() time.Duration, synced func() bool) *Clock {
	var b [8]byte
	_, _ = rand.Read(b[:]) // never fails since Go 1.24
	if synced == nil {
		synced = func() bool { return false }
	}
	return &Clock{boot: binary.BigEndian.Uint64(b[:]), started: time.Now(), age: age, synced: synced}
}

// Now is the present instant.
func (c *Clock) Now() Instant {
	now := time.Now()
	return Instant{Wall: now.Round(0), Boot: c.boot, Mono: now.Sub(c.started), Age: c.age(), Synced: c.synced()}
}

// NewID is a message id: the boot's random number, then a counter. No wall
// clock is in it, so that a clock that jumps cannot repeat one.
func (c *Clock) NewID() MessageID {
	var id MessageID
	binary.BigEndian.PutUint64(id[:8], c.boot)
	binary.BigEndian.PutUint64(id[8:], c.counter.Add(1))
	return id
}
