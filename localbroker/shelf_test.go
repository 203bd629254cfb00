package localbroker

import (
	"sync"
	"testing"
	"time"

	"github.com/ebbgate/ebbgate/bridge"
)

// disk is a shelf with the faults of one. A crash leaves what was committed; what
// was forgotten a moment ago comes back.
type disk struct {
	*Memory
	order courier // commits complete one after the other, on a goroutine of their own

	mu      sync.Mutex
	fail    error // of every commit
	next    int   // fail so many more, no others
	last    int   // take so many more, and fail all others; 0: no such number
	holding bool  // commits wait for release
	held    []func()
	dead    bool // the power is gone
	lazy    bool // what is forgotten comes back with the crash
	undone  map[string]map[string][]byte
	spoiled map[string]bool // namespaces whose values cannot be read
	commits int
}

// newDisk is a disk on the clock of the houses that stand on it.
func newDisk(c *clock) *disk {
	began := c.now()
	return diskOf(NewMemory(func() time.Duration { return c.now().Sub(began) + time.Hour }))
}

func diskOf(m *Memory) *disk {
	return &disk{Memory: m, order: courier{guard: func(fn func()) { fn() }}, undone: map[string]map[string][]byte{}}
}

func (d *disk) Commit(b *bridge.Batch, done func(bridge.Seq, error)) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.commits++
	if done == nil {
		done = func(bridge.Seq, error) {}
	}
	err := d.fail
	if d.last > 0 {
		if d.last--; d.last == 0 {
			d.fail = errPowerless
		}
	}
	size := 0
	for _, p := range b.Puts {
		size += len(p.Namespace) + len(p.Key) + len(p.Value) + 8
	}
	if size > 2<<20 { // as the spool
		err = bridge.Errorf("append", bridge.TooLarge, "batch of %d bytes", size)
	}
	if d.next > 0 {
		d.next--
		err = errPowerless
	}
	if d.dead {
		err = errPowerless
	}
	apply := func() {
		if err == nil {
			d.mu.Lock()
			if d.dead {
				err = errPowerless
			}
			d.mu.Unlock()
		}
		if err != nil {
			done(0, err)
			return
		}
		d.Memory.Commit(b, done)
	}
	switch {
	case d.holding && !d.dead:
		d.held = append(d.held, apply)
	default:
		d.order.do(apply)
	}
}

// Get fails for a value that cannot be read.
func (d *disk) Get(namespace, key string) ([]byte, error) {
	v, err := d.Memory.Get(namespace, key)
	if v != nil && d.spoiled[namespace] {
		return nil, bridge.Errorf("get", bridge.Corrupt, "says the test")
	}
	return v, err
}

// Scan passes over it.
func (d *disk) Scan(namespace, prefix string, fn func(key string, value []byte) bool) error {
	if d.spoiled[namespace] {
		return nil
	}
	return d.Memory.Scan(namespace, prefix, fn)
}

func (d *disk) Forget(namespace string, keys ...string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.dead {
		return
	}
	if d.lazy {
		for _, k := range keys {
			if v, _ := d.Memory.Get(namespace, k); v != nil {
				if d.undone[namespace] == nil {
					d.undone[namespace] = map[string][]byte{}
				}
				d.undone[namespace][k] = v
			}
		}
	}
	d.Memory.Forget(namespace, keys...)
}

// hold lets commits wait, and release completes them in order.
func (d *disk) hold() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.holding = true
}

func (d *disk) release() {
	d.mu.Lock()
	held := d.held
	d.held, d.holding = nil, false
	d.mu.Unlock()
	for _, apply := range held {
		apply()
	}
}

func (d *disk) failing(err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.fail = err
}

var errPowerless = bridge.Errorf("append", bridge.Unavailable, "the power is gone")

// crash takes the power away: nothing that has not been committed ever is.
func (d *disk) crash() {
	d.mu.Lock()
	d.dead = true
	d.mu.Unlock()
	d.release()
}

// back is the disk after the crash.
func (d *disk) back() *disk {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.Memory.mu.Lock() // a reader of the old house may still be at it
	defer d.Memory.mu.Unlock()
	for namespace, keys := range d.undone {
		for k, v := range keys {
			d.putLocked(namespace, k, v)
		}
	}
	return diskOf(d.Memory)
}

// on opens a house on a disk.
func (d *disk) house(tb testing.TB, c *clock, ls ...ListenerOptions) *house {
	tb.Helper()
	return openWith(tb, people{}, func(deps *Deps) {
		deps.Shelf, deps.Now = d, c.now
	}, ls...)
}

// crashed kills a house and opens it again on what is left.
func (d *disk) crashed(tb testing.TB, h *house, c *clock, ls ...ListenerOptions) (*house, *disk) {
	tb.Helper()
	d.crash()
	h.stop()
	next := d.back()
	return next.house(tb, c, ls...), next
}
