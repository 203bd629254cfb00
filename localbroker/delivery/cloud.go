package delivery

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/ebbgate/ebbgate/bridge"
)

// Cloud is the streams of AWS, fetched when a device asks for them and kept in a
// cache. It describes a stream now and then, fetches by that version, and learns
// by a VersionMismatch that there is another one. Make one with [NewCloud] and end
// it with Close.
type Cloud struct {
	o      CloudOptions
	client *Client
	cache  *Cache
	recent *recent
	health *bridge.Health
	log    *slog.Logger

	pace     bridge.FilePace // nil: as fast as it goes
	slots    chan struct{}   // requests to the cloud under way
	ahead    chan struct{}   // of these, for prefetching
	unknown  *turns          // descriptions of streams that nobody has heard of
	ctx      context.Context
	end      context.CancelFunc
	fetchers sync.WaitGroup

	mu      sync.Mutex
	known   map[string]*described
	flights map[chunkKey]*flight
	queued  map[string]bool // streams that are being prefetched

	refusals map[chunkKey]refusal // by file
	closed   bool
}

// described is what is known of a stream.
type described struct {
	stream *Stream // nil: there is none
	asked  time.Time
	flight *flight // a description is under way; nil: none
}

// flight is something under way that several wait for.
type flight struct {
	done chan struct{} // closed once data and err are there
	data []byte
	err  error
}

// Bounds of what is asked of the cloud at once, of what is known, and of how long
// a device that asks for a known stream waits for news of it.
const (
	maxSlots  = 4
	maxAhead  = 2
	maxKnown  = 1000
	newsAfter = 5 * time.Second
)

// Pace sets when parts of streams may be fetched, over a link that messages need; a
// part that is held back is as one that the cloud does not send. Call it before the
// first request.
func (c *Cloud) Pace(p bridge.FilePace) { c.pace = p }

// NewCloud makes a source of the cloud's streams.
func NewCloud(o CloudOptions, client *Client, cache *Cache, health *bridge.Health, log *slog.Logger) *Cloud {
	c := &Cloud{
		o: o, client: client, cache: cache, recent: newRecent(), health: health, log: log,
		slots: make(chan struct{}, maxSlots), ahead: make(chan struct{}, maxAhead), unknown: newTurns(),
		known: map[string]*described{}, flights: map[chunkKey]*flight{}, queued: map[string]bool{}, refusals: map[chunkKey]refusal{},
	}
	c.ctx, c.end = context.WithCancel(context.Background())
	return c
}

// Close ends what is under way, and returns when it has.
func (c *Cloud) Close() {
	c.mu.Lock()
	c.closed = true
	c.mu.Unlock()
	c.end()
	c.fetchers.Wait()
}

// begin starts a goroutine, unless the cloud is closed.
func (c *Cloud) beginLocked(fn func()) bool {
	if c.closed {
		return false
	}
	c.fetchers.Go(fn)
	return true
}

// stream finds the present version of a stream. News of a stream is awaited for a moment; without a
// connection, or when the cloud is silent, what was known is believed. For a stream
// that nobody has heard of, who asks takes turns with others.
func (c *Cloud) stream(ctx context.Context, who, id string) (*Stream, error) {
	up := c.client.via.Up()
	c.mu.Lock()
	if k := c.knowLocked(id); up && k.flight == nil && k.stream == nil && !k.fresh(c.o.Recheck) {
		c.mu.Unlock()
		wait, cancel := context.WithTimeout(ctx, c.o.Timeout)
		err := c.unknown.wait(wait, who)
		cancel()
		if err != nil {
			return nil, errAway
		}
		c.mu.Lock()
		if k = c.knowLocked(id); k.flight != nil || k.fresh(c.o.Recheck) {
			c.unknown.back() // another has asked since
		}
	}
	k := c.knowLocked(id)
	if k.fresh(c.o.Recheck) || !up {
		defer c.mu.Unlock()
		if !up && k.stream == nil {
			return nil, errAway // there may be one by now
		}
		return k.result()
	}
	if k.flight == nil {
		f := &flight{done: make(chan struct{})}
		if c.beginLocked(func() { c.describe(k, id, f) }) {
			k.flight = f
		}
	}
	f, wait := k.flight, patienceFor(k.stream)
	c.mu.Unlock()
	if f == nil {
		return nil, errAway
	}
	late := time.NewTimer(min(wait, c.o.Timeout))
	defer late.Stop()
	select {
	case <-f.done:
	case <-late.C:
	case <-ctx.Done():
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return k.result()
}

// patienceFor is how long a description is awaited.
func patienceFor(known *Stream) time.Duration {
	if known == nil {
		return 10 * time.Minute // as long as it may take
	}
	return newsAfter
}

// fresh reports whether what is known need not be asked for.
func (k *described) fresh(recheck time.Duration) bool {
	return !k.asked.IsZero() && time.Since(k.asked) < recheck
}

func (k *described) result() (*Stream, error) {
	switch {
	case k.stream != nil:
		return k.stream, nil
	case !k.asked.IsZero():
		return nil, errNoStream
	}
	return nil, errAway
}

// knowLocked finds what is known of a stream, from an earlier start too.
func (c *Cloud) knowLocked(id string) *described {
	if k := c.known[id]; k != nil {
		return k
	}
	for _, all := range []bool{false, true} { // names that mean nothing make room first
		if len(c.known) < maxKnown {
			break
		}
		for id, k := range c.known {
			if k.flight == nil && (all || k.stream == nil) {
				delete(c.known, id)
			}
		}
	}
	k := &described{stream: c.cache.recall(id)}
	c.known[strings.Clone(id)] = k
	return k
}

// describe asks the cloud what a stream consists of now.
func (c *Cloud) describe(k *described, id string, f *flight) {
	ctx, cancel := context.WithTimeout(c.ctx, c.o.Timeout)
	defer cancel()
	s, err := c.client.Describe(ctx, id)
	fault, refused := errors.AsType[*Fault](err)
	c.mu.Lock()
	defer c.mu.Unlock()
	defer close(f.done)
	k.flight = nil
	switch {
	case err == nil:
		k.asked = time.Now()
		if k.stream != nil && k.stream.edition() == s.edition() {
			return
		}
		if k.stream != nil && k.stream.Version == s.Version {
			c.log.Warn("a stream of the cloud is another one under the same version: it was deleted and made anew; what is kept of it here is thrown away", "stream", id, "version", s.Version)
		}
		c.log.Info("a stream of the cloud", "stream", id, "version", s.Version, "files", len(s.Files), "bytes", s.Size())
		if need, room := s.cached(), c.cache.fits(); need > room {
			c.log.Warn("a stream of the cloud is larger than the cache can be: each device costs a download of its own; raise streams.cloud.cache_size, or make room on the disk of streams.dir", "stream", id, "version", s.Version, "needs", need, "has", room)
		}
		k.stream = s
		c.cache.drop(id, s)
		c.notedLocked(c.cache.remember(id, s))
	case refused && fault.Code == ResourceNotFound:
		k.asked, k.stream = time.Now(), nil
		c.cache.drop(id, nil)
		c.notedLocked(c.cache.remember(id, nil))
	default:
		c.log.Warn("a stream of the cloud could not be described", "stream", id, "error", err)
		if k.stream != nil {
			k.asked = time.Now() // asked again in a while
		}
	}
}

// stale makes the next request ask for the stream's description, if that is still
// of this edition.
func (c *Cloud) stale(s *Stream) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if k := c.known[s.ID]; k != nil && k.stream != nil && k.stream.edition() == s.edition() {
		k.asked = time.Time{}
	}
}

// cacheWarning is the code of the warning that the cache cannot be written to.
const cacheWarning = "stream-cache"

// Unkept takes why the cache could not be opened.
func (c *Cloud) Unkept(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.notedLocked(err)
}

// notedLocked takes what became of a write to the cache: without it devices are
// served all the same, at the price of fetching again.
func (c *Cloud) notedLocked(err error) {
	if err == nil {
		c.health.Clear(cacheWarning)
		return
	}
	c.health.Raise(bridge.Warning{Code: cacheWarning, Severity: bridge.Degraded,
		Text: "the cache of streams cannot be written to, so each part is fetched again for each device: " + err.Error() + "; make room in streams.dir, and let it be the gateway's own user's"})
}
