package delivery

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"time"
)

// attempts is how often a chunk is asked for before those who wait are left to
// ask again.
const attempts = 3

// chunk implements source: from memory, from the cache, or from the cloud, once for
// all who want it at the same time (F80).
func (c *Cloud) chunk(ctx context.Context, s *Stream, f *File, n int64) ([]byte, error) {
	return c.chunkFor(ctx, s, f, n, nil)
}

// chunkFor fetches by way of a gate besides the slots, nil for none.
func (c *Cloud) chunkFor(ctx context.Context, s *Stream, f *File, n int64, gate chan struct{}) ([]byte, error) {
	key := s.key(f.ID, n)
	if data := c.recent.get(key); data != nil {
		c.cache.use(key)
		return data, nil
	}
	if data := c.cache.get(key, f.chunkLen(n)); data != nil {
		c.recent.put(key, data)
		return data, nil
	}
	c.mu.Lock()
	w := c.flights[key]
	if err := c.refusedLocked(key); w == nil && err != nil {
		c.mu.Unlock()
		return nil, err
	}
	if w == nil {
		w = &flight{done: make(chan struct{})}
		if !c.client.via.Up() || !c.beginLocked(func() { c.fetch(w, key, s, f, gate) }) {
			c.mu.Unlock()
			return nil, errAway // F81
		}
		c.flights[key] = w
	}
	c.mu.Unlock()
	select {
	case <-w.done:
		return w.data, w.err
	case <-ctx.Done():
		return nil, errAway
	}
}

// fetch fetches one chunk and keeps it.
func (c *Cloud) fetch(w *flight, key chunkKey, s *Stream, f *File, gate chan struct{}) {
	data := c.recent.get(key) // the flight before may have landed since
	var err error
	if data == nil {
		data, err = c.ask(s, f, key.number, gate)
	}
	if err == nil {
		kept := c.cache.put(key, data)
		c.recent.put(key, data)
		c.mu.Lock()
		c.notedLocked(kept)
		c.mu.Unlock()
	}
	err = c.judge(key, s, err)
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.flights, key)
	w.data, w.err = data, err
	close(w.done)
}

// errLength is that the cloud has sent another length than it had described.
var errLength = errors.New("another length than it describes")

// ask asks the cloud for a chunk: a block of its size, of that version. What it refuses
// is a [Fault].
func (c *Cloud) ask(s *Stream, f *File, n int64, gate chan struct{}) ([]byte, error) {
	for _, way := range []chan struct{}{gate, c.slots} {
		if way == nil {
			continue
		}
		select {
		case way <- struct{}{}:
			defer func() { <-way }()
		case <-c.ctx.Done():
			return nil, errAway
		}
	}
	var err error
	for range attempts {
		if !c.client.via.Up() || c.ctx.Err() != nil {
			return nil, errAway
		}
		if c.pace != nil && c.pace.Wait(c.ctx, f.chunkLen(n)) != nil {
			return nil, errAway
		}
		var got map[int][]byte
		ctx, cancel := context.WithTimeout(c.ctx, c.o.Timeout)
		got, err = c.client.Blocks(ctx, Get{s.ID, s.Version, f.ID, chunkSize, []int{int(n)}})
		cancel()
		data := got[int(n)]
		fault, refused := errors.AsType[*Fault](err)
		switch {
		case err == nil && len(data) == f.chunkLen(n):
			return data, nil
		case err == nil:
			return nil, fmt.Errorf("%w: %d bytes came, not %d", errLength, len(data), f.chunkLen(n))
		case refused && fault.Code != InternalError:
			return nil, fault
		}
	}
	if fault, refused := errors.AsType[*Fault](err); refused {
		return nil, fault
	}
	c.log.Warn("a part of a stream could not be fetched", "stream", s.ID, "version", s.Version, "file", f.ID, "chunk", n, "error", err)
	return nil, errAway
}

// prefetcher takes turns with the devices.
const prefetcher = ""

// Bounds of prefetching: how many streams at once, and how long it waits for a
// cloud that is away.
const (
	maxPrefetch  = 16
	prefetchWait = 5 * time.Second
)

// Prefetch fetches a whole stream into the cache, before devices ask for it. It
// goes on through outages, in half of the requests that may be under way, and says
// in the log when it is done. It reports false when so many are being fetched that
// there is no room for one more.
func (c *Cloud) Prefetch(id string) bool {
	if !ValidID(id) {
		return false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.queued[id] {
		return true
	}
	if len(c.queued) >= maxPrefetch || !c.beginLocked(func() { c.prefetch(id) }) {
		return false
	}
	c.queued[id] = true
	return true
}

func (c *Cloud) prefetch(id string) {
	defer func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		delete(c.queued, id)
	}()
	pause := time.NewTimer(0)
	defer pause.Stop()
	for {
		select {
		case <-pause.C:
		case <-c.ctx.Done():
			return
		}
		s, err := c.stream(c.ctx, prefetcher, id)
		if err == nil {
			err = c.prefetchAll(s)
		}
		switch {
		case err == nil:
			if s.cached() > c.cache.fits() {
				c.log.Warn("a part of a stream of the cloud is here, as much as the cache can hold: each device fetches the rest", "stream", id, "version", s.Version, "bytes", s.Size())
				return
			}
			c.log.Info("a stream of the cloud is here", "stream", id, "version", s.Version, "bytes", s.Size())
			return
		case errors.Is(err, errNoStream):
			c.log.Warn("a stream that was to be fetched is not there", "stream", id)
			return
		}
		pause.Reset(prefetchWait)
	}
}

// prefetchAll fetches what is not in the cache.
func (c *Cloud) prefetchAll(s *Stream) error {
	for f, n := range c.missing(s) {
		if _, err := c.chunkFor(c.ctx, s, f, n, c.ahead); err != nil {
			return err
		}
	}
	return nil
}

// missing are the chunks of a stream that are not in the cache, one after the other. Of
// a stream that is larger than the cache, or than what the disk has room for, they are
// those that fit.
func (c *Cloud) missing(s *Stream) iter.Seq2[*File, int64] {
	return func(yield func(*File, int64) bool) {
		left := c.cache.fits()
		for i := range s.Files {
			f := &s.Files[i]
			for n := range f.chunks() {
				if left -= int64(f.chunkLen(n)) + 4; left < 0 {
					return
				}
				if !c.cache.has(s.key(f.ID, n)) && !yield(f, n) {
					return
				}
			}
		}
	}
}
