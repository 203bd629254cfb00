package localbroker

import (
	"strings"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// keyed is a quota a second for each of many names: client ids, topics, share
// groups. A name is remembered while it is not back to nothing, a second at
// most, and only so many are: a name beyond them counts as within its quota,
// since a quota of pace protects AWS and not us.
type keyed struct {
	rate int // a second, and at once

	mu     sync.Mutex
	byName map[string]*rate.Limiter
}

const keyedNames = 100_000

// allow takes one for a name.
func (k *keyed) allow(name string, now time.Time) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	bucket := k.byName[name]
	if bucket == nil {
		if len(k.byName) >= keyedNames {
			return true
		}
		if k.byName == nil {
			k.byName = map[string]*rate.Limiter{}
		}
		bucket = perSecond(k.rate)
		k.byName[strings.Clone(name)] = bucket // the packet's bytes must not live on
	}
	return bucket.AllowN(now, 1)
}

// sweep forgets the names whose bucket is full again.
func (k *keyed) sweep(now time.Time) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for name, bucket := range k.byName {
		if bucket.TokensAt(now) >= float64(k.rate) {
			delete(k.byName, name)
		}
	}
}
