package policy

import "sync"

// maxPrograms is how many compiled programs of one snapshot are kept beside
// those in use: enough for every device of a site that asks for nothing of its
// own, and a bound where each device has a program of its own.
const maxPrograms = 1024

// cache keeps the programs asked for last. What was not asked for while limit
// others were is forgotten.
type cache struct {
	mu         sync.Mutex
	limit      int
	young, old map[string]*program
}

func newCache(limit int) *cache {
	return &cache{limit: max(limit/2, 1), young: map[string]*program{}}
}

func (c *cache) get(key string) *program {
	c.mu.Lock()
	defer c.mu.Unlock()
	if p := c.young[key]; p != nil {
		return p
	}
	if p := c.old[key]; p != nil {
		c.add(key, p)
		return p
	}
	return nil
}

func (c *cache) put(key string, p *program) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.add(key, p)
}

func (c *cache) add(key string, p *program) {
	if len(c.young) >= c.limit {
		c.old, c.young = c.young, map[string]*program{}
	}
	c.young[key] = p
}
