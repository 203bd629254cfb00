package spool

import (
	"log/slog"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ebbgate/ebbgate/bridge"
)

// TestAgeOfAFirstStart: a kill in the first seconds of a spool, before the age
// clock has been saved by itself, does not set it back: what was kept to expire
// would live longer.
func TestAgeOfAFirstStart(t *testing.T) {
	t.Parallel()
	began := time.Now()
	var passed atomic.Int64
	now := func() time.Time { return began.Add(time.Duration(passed.Load())) }
	start := func(dir string) *Spool {
		o := DefaultOptions()
		o.Dir = dir
		s, err := open(o, Deps{Log: slog.New(slog.DiscardHandler), Health: new(bridge.Health)}, smallSizes(), now)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	dir := t.TempDir()
	s := start(dir)
	defer closeTest(t, s)
	passed.Store(int64(3 * time.Second))
	var b bridge.Batch
	b.Put(bridge.ShelfPrefix+"retained", "t", []byte("x"))
	commitAll(t, s, &b)
	kept := s.Age()
	image := killed(t, dir)
	passed.Store(int64(8 * time.Second))
	again := start(image)
	defer closeTest(t, again)
	if got := again.Age(); got < kept+4*time.Second {
		t.Errorf("age %v after a pause of 5s, it was %v", got, kept)
	}
}
