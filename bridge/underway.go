package bridge

import "sync"

// underway counts what is routed and not committed yet, so that whoever has changed
// the routes can wait until everything that went by the old ones is in its queue. It
// is safe for concurrent use.
type underway struct {
	mu  sync.RWMutex
	now *sync.WaitGroup // of those that have entered since the last settle

	settling sync.Mutex // one at a time: a later one waits for all before it as well
}

// enter counts one; leave it by Done.
func (u *underway) enter() *sync.WaitGroup {
	u.mu.RLock()
	defer u.mu.RUnlock()
	u.now.Add(1)
	return u.now
}

// settle waits until all that have entered have left.
func (u *underway) settle() {
	u.settling.Lock()
	defer u.settling.Unlock()
	u.mu.Lock()
	old := u.now
	u.now = new(sync.WaitGroup)
	u.mu.Unlock()
	old.Wait()
}
