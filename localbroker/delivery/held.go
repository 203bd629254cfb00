package delivery

import (
	"os"
	"slices"
	"strings"
)

// Held is how much of a stream of the cloud is in the cache.
type Held struct {
	ID       string `json:"stream"`
	Version  int    `json:"version"`
	Files    int    `json:"files"`
	Size     int64  `json:"size"`               // of all its files
	Bytes    int64  `json:"cached"`             // of them that are here
	Fetching bool   `json:"fetching,omitempty"` // it is being prefetched
	Unknown  bool   `json:"unknown,omitempty"`  // it is being prefetched, and the cloud has not said yet what it is
}

// mostHeld bounds the list of Held.
const mostHeld = 1000

// Held lists the streams of the cloud that are known here, and how far each is here;
// those that are being prefetched as well. more is whether there are others.
func (c *Cloud) Held() (list []Held, more bool) {
	c.mu.Lock()
	streams := map[string]*Stream{}
	for id := range c.queued {
		streams[id] = nil
	}
	for id, k := range c.known {
		if k.stream != nil {
			streams[id] = k.stream
		}
	}
	queued := map[string]bool{}
	for id := range c.queued {
		queued[id] = true
	}
	c.mu.Unlock()
	remembered, most := c.cache.remembered(mostHeld)
	for _, id := range remembered { // of an earlier start
		if s := streams[id]; s == nil {
			streams[id] = c.cache.recall(id)
		}
	}
	held := c.cache.held()
	for id, s := range streams {
		h := Held{ID: id, Fetching: queued[id], Unknown: s == nil}
		if s == nil && !queued[id] {
			continue // its description cannot be read
		}
		if s != nil {
			h.Version, h.Files, h.Size, h.Bytes = s.Version, len(s.Files), s.Size(), held[editionKey{id, s.Version, s.edition()}]
		}
		list = append(list, h)
	}
	slices.SortFunc(list, func(a, b Held) int { return strings.Compare(a.ID, b.ID) })
	if len(list) > mostHeld {
		list, most = list[:mostHeld], true
	}
	return list, most
}

// editionKey is one edition of a stream.
type editionKey struct {
	stream  string
	version int
	edition string
}

// held sums what is kept of each edition, without the checksums.
func (c *Cache) held() map[editionKey]int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	sums := map[editionKey]int64{}
	for k, e := range c.byKey {
		sums[editionKey{k.stream, k.version, k.edition}] += e.Value.(*cached).size - 4
	}
	return sums
}

// remembered lists streams whose description is kept, up to so many.
func (c *Cache) remembered(limit int) (ids []string, more bool) {
	all, err := os.ReadDir(c.dir)
	if err != nil {
		return nil, false // nothing is kept
	}
	for _, e := range all {
		if !e.IsDir() || !ValidID(e.Name()) {
			continue
		}
		if len(ids) == limit {
			return ids, true
		}
		ids = append(ids, e.Name())
	}
	return ids, false
}
