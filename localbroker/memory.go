package localbroker

import (
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/ebbgate/ebbgate/bridge"
)

// Memory is a shelf that does not outlive the process: for a broker that stands
// in for a cloud, and for tests. It is safe for concurrent use.
type Memory struct {
	age func() time.Duration

	mu     sync.RWMutex
	spaces map[string]map[string]map[string][]byte // namespace, bucket, key
}

var _ Shelf = (*Memory)(nil)

// NewMemory makes an empty one on a clock that only grows; nil is the time since
// now.
func NewMemory(age func() time.Duration) *Memory {
	if age == nil {
		began := time.Now()
		age = func() time.Duration { return time.Since(began) + 1 }
	}
	return &Memory{age: age, spaces: map[string]map[string]map[string][]byte{}}
}

// bucketSize is the length of the prefixes that the broker lists again and
// again, see blockPrefix.
const bucketSize = 15

func bucketOf(key string) string { return key[:min(len(key), bucketSize)] }

// Commit implements Shelf: it is done when it returns.
func (m *Memory) Commit(b *bridge.Batch, done func(bridge.Seq, error)) {
	m.mu.Lock()
	for _, p := range b.Puts {
		m.putLocked(p.Namespace, p.Key, p.Value)
	}
	m.mu.Unlock()
	if done != nil {
		done(0, nil)
	}
}

func (m *Memory) putLocked(namespace, key string, value []byte) {
	space := m.spaces[namespace]
	if space == nil {
		space = map[string]map[string][]byte{}
		m.spaces[namespace] = space
	}
	name := bucketOf(key)
	bucket := space[name]
	switch {
	case value == nil:
		delete(bucket, key)
		if len(bucket) == 0 {
			delete(space, name)
		}
	case bucket == nil:
		space[name] = map[string][]byte{key: value}
	default:
		bucket[key] = value
	}
}

// Get implements Shelf.
func (m *Memory) Get(namespace, key string) ([]byte, error) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return m.spaces[namespace][bucketOf(key)][key], nil
}

// Scan implements Shelf.
func (m *Memory) Scan(namespace, prefix string, fn func(key string, value []byte) bool) error {
	type pair struct {
		key   string
		value []byte
	}
	var found []pair
	take := func(bucket map[string][]byte) {
		for k, v := range bucket {
			if strings.HasPrefix(k, prefix) {
				found = append(found, pair{k, v})
			}
		}
	}
	m.mu.RLock()
	if len(prefix) >= bucketSize {
		take(m.spaces[namespace][bucketOf(prefix)])
	} else {
		for _, bucket := range m.spaces[namespace] {
			take(bucket)
		}
	}
	m.mu.RUnlock()
	slices.SortFunc(found, func(a, b pair) int { return strings.Compare(a.key, b.key) })
	for _, p := range found {
		if !fn(p.key, p.value) {
			break
		}
	}
	return nil
}

// Keys implements Shelf.
func (m *Memory) Keys(namespace, prefix string, fn func(key string) bool) error {
	return m.Scan(namespace, prefix, func(key string, _ []byte) bool { return fn(key) })
}

// Forget implements Shelf.
func (m *Memory) Forget(namespace string, keys ...string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, k := range keys {
		m.putLocked(namespace, k, nil)
	}
}

// Age implements Shelf.
func (m *Memory) Age() time.Duration { return m.age() }
