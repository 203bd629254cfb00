package policy

import "sync"

// maxPrograms is how many compiled programs of one snapshot are kept beside
// those in use: enough for every device of a site that asks for nothing of its
// own, and a bound where each device has a program of its own.
const maxPrograms = 1024

// cache keeps what was asked for last. What was not asked for while limit
// others were is forgotten.
type cache[K comparable, V any] struct {
	mu         sync.Mutex
	limit      int
	young, old map[K]V
}

func newCache[K comparable, V any](limit int) *cache[K, V] {
	return &cache[K, V]{limit: max(limit/2, 1), young: map[K]V{}}
}

// get is what was put last, or the zero V.
func (c *cache[K, V]) get(key K) V {
	c.mu.Lock()
	defer c.mu.Unlock()
	v, ok := c.young[key]
	if ok {
		return v
	}
	if v, ok = c.old[key]; ok {
		c.add(key, v)
	}
	return v
}

func (c *cache[K, V]) put(key K, v V) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.add(key, v)
}

func (c *cache[K, V]) add(key K, v V) {
	if len(c.young) >= c.limit {
		c.old, c.young = c.young, map[K]V{}
	}
	c.young[key] = v
}
