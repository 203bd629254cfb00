package delivery

import (
	"bytes"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ebbgate/ebbgate/bridge"
)

// disk is one that the cache shares with others.
type disk struct {
	mu     sync.Mutex
	size   int64
	others int64
	cache  *Cache // nil: it has nothing on it
}

// missing is what Keep takes. The cache holds its lock while it asks.
func (d *disk) missing(n int64) int64 {
	d.mu.Lock()
	defer d.mu.Unlock()
	free := d.size - d.others
	if d.cache != nil {
		free -= int64(len(d.cache.byKey)) * (chunkSize + diskBlock)
	}
	return max(n-free, 0)
}

// take has others take so many chunks' room.
func (d *disk) take(chunks int64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.others = chunks * (chunkSize + diskBlock)
}

// TestCacheMakesRoom: the cache goes when others need its room, what was not used for the
// longest time first, and takes none that they need; its streams are served all the same,
// and somebody is told.
func TestCacheMakesRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAWS(t)
		file := bytes.Repeat([]byte("firmware"), 20*chunkSize/8)
		a.put("fw", 1, file)
		health := &bridge.Health{}
		cache := openTestCache(t, t.TempDir(), "a", 1<<30)
		c := NewCloud(DefaultOptions().Cloud, a.client, cache, health, slog.New(slog.DiscardHandler))
		defer c.Close()
		d := &disk{size: 10 * (chunkSize + diskBlock), cache: cache}
		d.take(2)
		c.Keep(d.missing)
		s, err := c.stream(t.Context(), "d", "fw")
		if err != nil {
			t.Fatal(err)
		}
		serve := func() {
			t.Helper()
			for n := range int64(20) {
				if got, err := c.chunk(t.Context(), s, &s.Files[0], n); err != nil || !bytes.Equal(got, file[n*chunkSize:(n+1)*chunkSize]) {
					t.Fatalf("chunk %d: %v", n, err)
				}
			}
		}
		kept := func(want int, oldest int64) {
			t.Helper()
			if n := len(cache.byKey); n != want {
				t.Errorf("%d chunks are kept, not %d", n, want)
			}
			for n := range int64(20) {
				if has := cache.has(s.key(0, n)); has != (n >= oldest) {
					t.Errorf("chunk %d is kept: %v", n, has)
				}
			}
		}
		warned := func() bool {
			for _, w := range health.Warnings() {
				if w.Code == cacheWarning && strings.Contains(w.Text, "1 MiB more have to be free") {
					return true
				}
			}
			return false
		}
		serve()
		kept(8, 12)
		if warned() {
			t.Error(health.Warnings())
		}
		d.take(7) // nobody asks for anything meanwhile
		time.Sleep(yieldEvery)
		synctest.Wait()
		kept(3, 17)
		d.take(12)
		time.Sleep(yieldEvery)
		synctest.Wait()
		kept(0, 20)
		c.recent = newRecent()
		serve()
		kept(0, 20)
		if !warned() {
			t.Error(health.Warnings())
		}
		d.take(0)
		c.recent = newRecent()
		serve()
		kept(10, 10)
		if warned() {
			t.Error(health.Warnings())
		}
	})
}

// TestPrefetchFits: of a stream that the disk has no room for what fits is fetched ahead,
// and nothing of it goes for the rest of it.
func TestPrefetchFits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAWS(t)
		a.put("fw", 1, bytes.Repeat([]byte("firmware"), 20*chunkSize/8))
		cache := openTestCache(t, t.TempDir(), "a", 1<<30)
		var log lockedBuffer
		c := NewCloud(DefaultOptions().Cloud, a.client, cache, &bridge.Health{}, slog.New(slog.NewTextHandler(&log, nil)))
		defer c.Close()
		d := &disk{size: 10 * (chunkSize + diskBlock), cache: cache}
		c.Keep(d.missing)
		c.Prefetch("fw")
		time.Sleep(time.Minute)
		synctest.Wait()
		if n := a.count(verbGet); n != 10 || len(cache.byKey) != 10 {
			t.Errorf("%d chunks are asked for, and %d kept; 10 fit", n, len(cache.byKey))
		}
		for _, says := range []string{"larger than the cache can be", "a part of a stream of the cloud is here"} {
			if strings.Count(log.text(), says) != 1 {
				t.Errorf("no %q in\n%s", says, log.text())
			}
		}
		if strings.Contains(log.text(), "msg=\"a stream of the cloud is here") {
			t.Error(log.text())
		}
	})
}

// lockedBuffer is a log that several write to.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

// Write implements io.Writer.
func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) text() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}
