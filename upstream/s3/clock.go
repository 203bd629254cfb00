package s3

import (
	"context"
	"net/http"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/s3"
)

// storeClock is what time it is at the store, by the Date of its answers. The clock of
// this machine may be wrong by years; all that is asked of it is how much time goes by.
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

// timeThere is what time it is at the store, which is asked when nothing has been heard
// of it lately: whatever it answers has a date. Zero when it does not say.
func (t *Target) timeThere(ctx context.Context) time.Time {
	now := t.clock.now()
	if now.IsZero() {
		_, _ = t.client.HeadBucket(ctx, &s3.HeadBucketInput{Bucket: &t.o.Bucket}) // a refusal has a date too
		now = t.clock.now()
	}
	return now
}
