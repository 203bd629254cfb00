package spool

import (
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ebbgate/ebbgate/bridge"
)

const shelfBody = bridge.ShelfPrefix + "body"

// shelfLoad puts n messages of 256 bytes on the shelf, a body and an entry each,
// with 5,000 under way; after is told of each that is done.
func shelfLoad(b testing.TB, s *Spool, from, n int, after func(i int)) {
	window := make(chan struct{}, 5000)
	var wg sync.WaitGroup
	var failed atomic.Bool
	for i := from; i < from+n; i++ {
		window <- struct{}{}
		wg.Add(1)
		var batch bridge.Batch
		batch.Put(shelfBody, bodyKey(i), make([]byte, 256))
		batch.Put(shelfQueue, entryKey(i), []byte{1})
		s.Commit(&batch, func(_ bridge.Seq, err error) {
			if err != nil && !failed.Swap(true) {
				b.Error(err)
			}
			after(i)
			<-window
			wg.Done()
		})
	}
	wg.Wait()
}

func bodyKey(i int) string  { return fmt.Sprintf("%016x", i) }
func entryKey(i int) string { return fmt.Sprintf("device-%04d/%016x", i%1000, i) }

// written is what this process has had written to the disk.
func written() int64 {
	b, _ := os.ReadFile("/proc/self/io")
	for line := range strings.SplitSeq(string(b), "\n") {
		if v, ok := strings.CutPrefix(line, "write_bytes: "); ok {
			n, _ := strconv.ParseInt(v, 10, 64)
			return n
		}
	}
	return 0
}

// anonymous is RssAnon in bytes.
func anonymous() int64 {
	b, _ := os.ReadFile("/proc/self/status")
	for line := range strings.SplitSeq(string(b), "\n") {
		if v, ok := strings.CutPrefix(line, "RssAnon:"); ok {
			n, _ := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(v), " kB"), 10, 64)
			return n << 10
		}
	}
	return 0
}

// rest waits until nothing is left to write or to merge.
func (s *Spool) rest(b testing.TB) {
	eventually(b, "the shelf is at rest", func() bool {
		s.shelf.force()
		before := s.shelf.store.Stats()
		time.Sleep(300 * time.Millisecond)
		return !s.shelf.unwritten() && before == s.shelf.store.Stats()
	})
}

// BenchmarkShelfOnline is a session that is there: each message is forgotten as
// soon as it is committed.
func BenchmarkShelfOnline(b *testing.B) {
	s := openBench(b)
	before := written()
	b.ResetTimer()
	shelfLoad(b, s, 0, b.N, func(i int) {
		s.Forget(shelfBody, bodyKey(i))
		s.Forget(shelfQueue, entryKey(i))
	})
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "msg/s")
	b.StopTimer()
	s.rest(b)
	b.ReportMetric(float64(written()-before)/float64(b.N)/256, "written/payload")
	b.ReportMetric(float64(s.shelf.store.Stats().Bytes), "shelf-bytes")
}

// BenchmarkShelfOffline is a session that is away: its messages stay, are listed
// and read at a start, and forgotten then.
func BenchmarkShelfOffline(b *testing.B) {
	s := openBench(b)
	before := written()
	b.ResetTimer()
	shelfLoad(b, s, 0, b.N, func(int) {})
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "put/s")
	b.StopTimer()
	s.rest(b)
	b.ReportMetric(float64(written()-before)/float64(b.N)/256, "written/payload")
	b.ReportMetric(float64(usedBytes(s.opts.Dir))/float64(b.N), "disk-bytes/msg")
	runtime.GC()
	debug.FreeOSMemory()
	b.ReportMetric(float64(anonymous())/1e6, "RssAnon-MB")

	if err := s.Close(); err != nil {
		b.Fatal(err)
	}
	o := s.opts
	began := time.Now()
	s, err := Open(o, s.deps)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { closeTest(b, s) })
	b.ReportMetric(time.Since(began).Seconds(), "s-open")
	began = time.Now()
	n := 0
	if err := s.Keys(shelfQueue, "", func(string) bool { n++; return true }); err != nil || n != b.N {
		b.Fatal(n, err)
	}
	b.ReportMetric(time.Since(began).Seconds(), "s-Keys")
	b.ReportMetric(float64(anonymous())/1e6, "RssAnon-Keys-MB")

	before, began = written(), time.Now()
	var pages atomic.Int64
	for d := range 1000 {
		var keys []string
		if err := s.Keys(shelfQueue, fmt.Sprintf("device-%04d/", d), func(k string) bool { keys = append(keys, k); return true }); err != nil {
			b.Fatal(err)
		}
		pages.Add(int64(len(keys)))
		for _, k := range keys {
			_, id, _ := strings.Cut(k, "/")
			if v, err := s.Get(shelfBody, id); len(v) != 256 || err != nil {
				b.Fatal(len(v), err)
			}
			s.Forget(shelfBody, id)
			s.Forget(shelfQueue, k)
		}
	}
	b.ReportMetric(float64(pages.Load())/time.Since(began).Seconds(), "read+forget/s")
	b.ReportMetric(float64(anonymous())/1e6, "RssAnon-drain-MB")
	s.rest(b)
	b.ReportMetric(float64(written()-before)/float64(b.N)/256, "drain-written/payload")
	b.ReportMetric(float64(usedBytes(s.shelfDir())), "shelf-disk-after")
}
