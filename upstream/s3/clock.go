package s3

import (
	"net/http"
	"sync"
	"time"
)

// storeClock is what time it is at the store, by the Date of its answers. The clock of
// this machine may be wrong by years; all that is asked of it is how much time goes by.
// Before an upload is begun the store has been asked whose its key is, so that it is known.
type storeClock struct {
	mu    sync.Mutex
	said  time.Time // in the latest answer
	heard time.Time // when it came
}

// goodFor is how long an answer tells the time. A machine that sleeps does not count
// that.
const goodFor = 5 * time.Minute

// hear takes the time from an answer.
func (c *storeClock) hear(answer http.Header) {
	said, err := http.ParseTime(answer.Get("Date"))
	if err != nil {
		return // it does not say
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.said, c.heard = said, time.Now()
}

// now is the time, zero when it is not known.
func (c *storeClock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	if past := time.Since(c.heard); !c.said.IsZero() && past < goodFor {
		return c.said.Add(past)
	}
	return time.Time{}
}
