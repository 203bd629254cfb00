package spool

import (
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ebbgate/ebbgate/bridge"
)

func openBench(b *testing.B) *Spool {
	o := DefaultOptions()
	o.Dir = b.TempDir()
	s, err := Open(o, Deps{Log: slog.New(slog.DiscardHandler), Health: new(bridge.Health)})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { closeTest(b, s) })
	return s
}

func benchRecord() *bridge.Record {
	r := record(1, up)
	r.Payload = make([]byte, 256)
	return r
}

// BenchmarkFill appends with 5,000 messages in flight: durable messages a
// second.
func BenchmarkFill(b *testing.B) {
	s := openBench(b)
	window := make(chan struct{}, 5000)
	var wg sync.WaitGroup
	b.ResetTimer()
	for range b.N {
		window <- struct{}{}
		wg.Add(1)
		var batch bridge.Batch
		batch.Append(benchRecord())
		s.Commit(&batch, func(_ bridge.Seq, err error) {
			if err != nil {
				b.Error(err)
			}
			<-window
			wg.Done()
		})
	}
	wg.Wait()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "msg/s")
}

// BenchmarkReplay reads and releases a backlog.
func BenchmarkReplay(b *testing.B) {
	s := openBench(b)
	var pending atomic.Int64
	for range b.N {
		var batch bridge.Batch
		batch.Append(benchRecord())
		pending.Add(1)
		s.Commit(&batch, func(bridge.Seq, error) { pending.Add(-1) })
		for pending.Load() > 5000 {
			time.Sleep(time.Millisecond)
		}
	}
	for pending.Load() > 0 {
		time.Sleep(time.Millisecond)
	}
	b.ResetTimer()
	c := s.Cursor(up)
	defer c.Close()
	var batch bridge.Batch
	for range b.N {
		r, err := c.Next()
		if err != nil || r == nil {
			b.Fatal(r, err)
		}
		if batch.Release(r); len(batch.Releases) == 256 {
			out := batch
			s.Commit(&out, nil)
			batch = bridge.Batch{}
		}
	}
	commitAll(b, s, &batch)
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "msg/s")
}

// BenchmarkLatency is one message at a time: the price of its sync.
func BenchmarkLatency(b *testing.B) {
	s := openBench(b)
	for b.Loop() {
		var batch bridge.Batch
		batch.Append(benchRecord())
		commitAll(b, s, &batch)
	}
}

// BenchmarkMark is what a commit pays for marking the end of the log, with ten
// queues.
func BenchmarkMark(b *testing.B) {
	f := tailFile{dir: b.TempDir(), spool: 7}
	defer f.close()
	if err := f.begin(tailMark{generation: 1, first: 1, end: 1}); err != nil {
		b.Fatal(err)
	}
	h := &commitHeader{first: 1, records: 1}
	for i := range 10 {
		h.table = append(h.table, queueSpan{name: fmt.Sprintf("up/cloud/%d", i), first: 1})
	}
	if err := f.take(h.table); err != nil {
		b.Fatal(err)
	}
	h.table = h.table[:1]
	for b.Loop() {
		h.first++
		if err := f.take(h.table); err != nil {
			b.Fatal(err)
		}
		f.note(h)
	}
}
