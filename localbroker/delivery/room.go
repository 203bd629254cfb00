package delivery

import (
	"fmt"
	"time"
)

// yieldEvery is how often the cache looks whether others need its room.
const yieldEvery = time.Second

// Keep has the cache leave room on its disk to others, who cannot fetch again what they
// have: missing says how many bytes have to be freed before n more may be written, and is
// asked again and again, with 0 too, as the others may need more at any time. Call it once,
// before the first request.
func (c *Cloud) Keep(missing func(n int64) int64) {
	c.cache.missing = missing
	c.mu.Lock()
	defer c.mu.Unlock()
	c.beginLocked(func() {
		tick := time.NewTicker(yieldEvery)
		defer tick.Stop()
		for {
			c.cache.yield()
			select {
			case <-tick.C:
			case <-c.ctx.Done():
				return
			}
		}
	})
}

// diskBlock is what the disk gives to a file at a time, as most do.
const diskBlock = 4 << 10

// yield makes as much room as others need, as far as there is anything to remove.
func (c *Cache) yield() {
	if c.size() > 0 {
		_ = c.makeRoom(0) // what is not there cannot be in their way
	}
}

// makeRoom removes what was not used for the longest time until so many bytes more may be
// written. When all is gone and they may not, nothing is to be written.
func (c *Cache) makeRoom(n int64) error {
	if c.missing == nil {
		return nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	short := c.missing(n)
	for short > 0 && c.order.Len() > 0 { // by what it takes: some disks tell what is free a little later
		oldest := c.order.Back().Value.(*cached)
		short -= (oldest.size + diskBlock - 1) / diskBlock * diskBlock
		c.removeLocked(oldest.key)
	}
	if short > 0 {
		return fmt.Errorf("its disk is as full as messages and files of devices leave it: %d MiB more have to be free", (short+1<<20-1)>>20)
	}
	return nil
}

// fits is how many bytes the cache can have, with those that it has.
func (c *Cache) fits() int64 {
	if c.missing == nil {
		return c.max
	}
	return max(c.max-c.missing(c.max-c.size()), 0)
}

// cached is how many bytes of the cache a stream needs.
func (s *Stream) cached() (n int64) {
	for i := range s.Files {
		n += s.Files[i].Size + s.Files[i].chunks()*4
	}
	return n
}
