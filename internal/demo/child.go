package demo

import (
	"context"
	"fmt"
	"os"
	"sync"
	"time"
)

// Times for children: a gateway with much in its spool starts within 2 s.
const (
	startTime = 15 * time.Second
	stopTime  = 15 * time.Second
)

// child is a contender: a broker that stands between devices and the cloud,
// runs as a process and can be killed and started again on the same files.
// Its methods are safe for concurrent use.
type child struct {
	name    string
	space   *workspace
	listen  string // host:port for devices
	program string
	args    []string

	mu  sync.Mutex
	log *os.File
	run *process // nil when it does not run
}

// start starts it and returns once devices can connect, and how long it took.
func (c *child) start(ctx context.Context) (time.Duration, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	began := time.Now()
	if c.log == nil {
		log, err := c.space.log()
		if err != nil {
			return 0, err
		}
		c.log = log
	}
	p, err := startProcess(c.log, c.program, c.args...)
	if err != nil {
		return 0, err
	}
	ctx, cancel := context.WithTimeout(ctx, startTime)
	defer cancel()
	if err := p.listening(ctx, c.listen); err != nil {
		p.kill()
		return 0, fmt.Errorf("start %s: %w\n%s", c.name, err, tail(c.space.path("log")))
	}
	c.run = p
	return time.Since(began), nil
}

// kill ends it with SIGKILL.
func (c *child) kill() { c.end((*process).kill) }

// stop ends it in its own way.
func (c *child) stop() { c.end(func(p *process) { p.stop(stopTime) }) }

func (c *child) end(how func(*process)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.run != nil {
		how(c.run)
		c.run = nil
	}
}

// alive reports whether it runs.
func (c *child) alive() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.run != nil && c.run.running()
}

// close stops it and gives back its folder, unless the folder is to be kept.
func (c *child) close(keep bool) error {
	c.stop()
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.log != nil {
		_ = c.log.Close() // written by the child, not by us
		c.log = nil
	}
	if keep {
		return nil
	}
	return c.space.remove()
}
