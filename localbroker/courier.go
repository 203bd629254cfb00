package localbroker

import "sync"

// courier does things in the order in which they were asked, on a goroutine of
// its own that lives as long as there are any. Whoever asks does not wait: it
// may be the goroutine that completes commits.
type courier struct {
	guard func(func())

	mu      sync.Mutex
	list    []func()
	running bool
}

// do asks for one thing.
func (c *courier) do(fn func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.list = append(c.list, fn)
	if !c.running {
		c.running = true
		go c.run()
	}
}

func (c *courier) run() {
	for {
		c.mu.Lock()
		list := c.list
		c.list = nil
		if len(list) == 0 {
			c.running = false
			c.mu.Unlock()
			return
		}
		c.mu.Unlock()
		for _, fn := range list {
			c.guard(fn)
		}
	}
}
