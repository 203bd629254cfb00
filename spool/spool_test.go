package spool

import (
	"flag"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/ebbgate/ebbgate/bridge"
)

func TestMain(m *testing.M) {
	_ = flag.Set("test.parallel", "4") // they wait for syncs more than they compute; who says -parallel is heard
	flag.Parse()
	if os.Getenv("EBBGATE_SOAK") == "" { // a check of the model takes two seconds of real syncs
		_ = flag.Set("rapid.checks", "4")
	}
	// Badger leaves these behind when an Open fails, as on damaged files.
	goleak.VerifyTestMain(m,
		goleak.IgnoreAnyFunction("github.com/dgraph-io/badger/v4/y.(*WaterMark).process"),
		goleak.IgnoreAnyFunction("github.com/dgraph-io/badger/v4.(*DB).updateSize"),
		goleak.IgnoreAnyFunction("github.com/dgraph-io/badger/v4.(*DB).monitorCache"),
		goleak.IgnoreAnyFunction("github.com/dgraph-io/ristretto/v2/z.(*AllocatorPool).freeupAllocators"))
}

const up = "up/cloud/all"

// smallSizes make a few hundred records span several generations.
func smallSizes() sizes {
	return sizes{generation: 64 << 10, valueLog: 1 << 20, memtable: 1 << 20, commit: 8 << 10, ballast: 1 << 20, tray: 16 << 10, trayAge: 50 * time.Millisecond}
}

func openTest(t testing.TB, dir string) *Spool {
	t.Helper()
	return openSized(t, dir, smallSizes())
}

func openSized(t testing.TB, dir string, z sizes) *Spool {
	t.Helper()
	o := DefaultOptions()
	o.Dir = dir
	s, err := open(o, Deps{Log: slog.New(slog.DiscardHandler), Health: new(bridge.Health)}, z, time.Now)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func closeTest(t testing.TB, s *Spool) {
	t.Helper()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

func record(i int, queues ...string) *bridge.Record {
	r := &bridge.Record{
		Message: bridge.Message{Topic: "dt/press/temp", Payload: fmt.Appendf(nil, "payload %06d of a plausible length", i), QoS: 1},
		Origin:  bridge.Origin{Device: fmt.Sprintf("press-%d", i%7), Instant: bridge.Instant{Wall: time.Unix(1e9, int64(i)), Boot: 7}},
	}
	for _, q := range queues {
		r.Receivers = append(r.Receivers, bridge.Receiver{Queue: q, Topic: r.Topic, QoS: 1})
	}
	return r
}

// ended commits a batch and returns how that ends.
func ended(s *Spool, b *bridge.Batch) error {
	end := make(chan error, 1)
	s.Commit(b, func(_ bridge.Seq, err error) { end <- err })
	return <-end
}

// commitAll commits and waits.
func commitAll(t testing.TB, s *Spool, b *bridge.Batch) {
	t.Helper()
	if err := ended(s, b); err != nil {
		t.Fatal(err)
	}
}

// fill appends records from to up to (excluded), a commit each.
func fill(t testing.TB, s *Spool, from, to int, queues ...string) {
	t.Helper()
	var wg sync.WaitGroup
	for i := from; i < to; i++ {
		var b bridge.Batch
		b.Append(record(i, queues...))
		wg.Add(1)
		s.Commit(&b, func(_ bridge.Seq, err error) {
			defer wg.Done()
			if err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
}

// drain reads a queue to its end, releasing or not, and returns the payloads.
func drain(t testing.TB, s *Spool, queue string, release bool) (out []string) {
	t.Helper()
	c := s.Cursor(queue)
	defer c.Close()
	var b bridge.Batch
	for {
		r, err := c.Next()
		if err != nil {
			t.Fatal(err)
		}
		if r == nil {
			break
		}
		out = append(out, string(r.Payload))
		if release {
			b.Release(r)
		}
	}
	if release {
		commitAll(t, s, &b)
	}
	return out
}

func expectRange(t testing.TB, got []string, from, to int) {
	t.Helper()
	if len(got) != to-from {
		t.Fatalf("got %d records, want %d", len(got), to-from)
	}
	for i, p := range got {
		if want := string(record(from + i).Payload); p != want {
			t.Fatalf("record %d is %q, want %q", i, p, want)
		}
	}
}

func TestAppendedRecordsComeBackInOrder(t *testing.T) {
	t.Parallel()
	s := openTest(t, t.TempDir())
	defer closeTest(t, s)
	fill(t, s, 0, 3000, up)
	if n := len(s.gens); n < 2 {
		t.Fatalf("%d generations: the test should span several", n)
	}
	if d := s.Depth(up); d.Records != 3000 {
		t.Fatalf("depth %+v", d)
	}
	expectRange(t, drain(t, s, up, true), 0, 3000)
	if d := s.Depth(up); d != (bridge.Depth{}) {
		t.Fatalf("depth after draining %+v", d)
	}
	if got := drain(t, s, up, false); len(got) != 0 {
		t.Fatalf("%d records after the release", len(got))
	}
}

func TestReopening(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := openTest(t, dir)
	fill(t, s, 0, 1000, up, "up/cloud/other")
	c := s.Cursor(up)
	var b bridge.Batch
	for i := range 500 {
		r, err := c.Next()
		if err != nil {
			t.Fatal(err)
		}
		if i != 100 {
			b.Release(r)
		}
	}
	c.Close()
	b.Add("meter", "units", 499)
	b.Put("ns", "k", []byte("v"))
	commitAll(t, s, &b)
	for range 3 {
		closeTest(t, s)
		s = openTest(t, dir)
		got := drain(t, s, up, false)
		expectRange(t, got[:1], 100, 101)
		expectRange(t, got[1:], 500, 1000)
		expectRange(t, drain(t, s, "up/cloud/other", false), 0, 1000)
		if d := s.Depth(up); d.Records != 501 {
			t.Fatalf("depth %+v", d)
		}
	}
	if n, err := s.Count("meter", "units"); n != 499 || err != nil {
		t.Fatalf("counter %d, %v", n, err)
	}
	if v, _ := s.Get("ns", "k"); string(v) != "v" {
		t.Fatalf("value %q", v)
	}
	fill(t, s, 1000, 1100, up)
	got := drain(t, s, up, true)
	expectRange(t, got[1:], 500, 1100)
	drain(t, s, "up/cloud/other", true)
	closeTest(t, s)
}
