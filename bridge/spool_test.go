package bridge_test

import (
	"log/slog"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ebbgate/ebbgate/bridge"
	"github.com/ebbgate/ebbgate/spool"
)

func openSpool(t testing.TB) *spool.Spool { return openAt(t, t.TempDir()) }

func openAt(t testing.TB, dir string) *spool.Spool {
	t.Helper()
	return openAs(t, dir, spool.Disk)
}

// openUnsynced is openSpool for tests of many small commits that no power cut ends.
func openUnsynced(t testing.TB) *spool.Spool { return openAs(t, t.TempDir(), spool.OS) }

func openAs(t testing.TB, dir string, durability spool.Durability) *spool.Spool {
	t.Helper()
	o := spool.DefaultOptions()
	o.Dir, o.Durability = dir, durability
	s, err := spool.Open(o, spool.Deps{Log: slog.New(slog.DiscardHandler), Health: new(bridge.Health)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// ended commits a batch and returns how that ends.
func ended(s bridge.Spool, b *bridge.Batch) error {
	end := make(chan error, 1)
	s.Commit(b, func(_ bridge.Seq, err error) { end <- err })
	return <-end
}

func commit(t testing.TB, s bridge.Spool, b *bridge.Batch) {
	t.Helper()
	if err := ended(s, b); err != nil {
		t.Fatal(err)
	}
}

func put(t *testing.T, s bridge.Spool, queue, device, payload string) {
	t.Helper()
	var b bridge.Batch
	b.Append(&bridge.Record{
		Message:   bridge.Message{Topic: "dt/" + device, Payload: []byte(payload), QoS: 1},
		Origin:    bridge.Origin{Device: device, Instant: bridge.Instant{Age: s.Age()}},
		Receivers: []bridge.Receiver{{Queue: queue, Topic: "dt/" + device, QoS: 1}},
	})
	commit(t, s, &b)
}

// stored are the first n records of a queue.
func stored(t *testing.T, s bridge.Spool, queue string, n int) (out []*bridge.Stored) {
	t.Helper()
	c := s.Cursor(queue)
	defer c.Close()
	for range n {
		r, err := c.Next()
		if err != nil || r == nil {
			t.Fatalf("record %d of %s is %v, %v", len(out), queue, r, err)
		}
		out = append(out, r)
	}
	return out
}

// aging is a spool whose clock runs ahead.
type aging struct {
	*spool.Spool
	ahead atomic.Int64
}

func (a *aging) Age() time.Duration { return a.Spool.Age() + time.Duration(a.ahead.Load()) }

func openAging(t testing.TB) *aging { return &aging{Spool: openSpool(t)} }
