package spool

import (
	"log/slog"
	"os"
	"testing"
	"time"

	"github.com/ebbgate/ebbgate/bridge"
)

// At its bound the spool refuses with Full, loses nothing, and takes again by
// itself once the cloud has taken something.
func TestFullIsBackPressure(t *testing.T) {
	t.Parallel()
	o := DefaultOptions()
	o.Dir, o.MaxSize = t.TempDir(), 256<<10
	h := new(bridge.Health)
	s, err := open(o, Deps{Log: slog.New(slog.DiscardHandler), Health: h}, smallSizes(), time.Now)
	if err != nil {
		t.Fatal(err)
	}
	defer closeTest(t, s)
	try := func(i int) error {
		var b bridge.Batch
		b.Append(record(i, up))
		return ended(s, &b)
	}
	n := 0
	for ; ; n++ {
		if err = try(n); err != nil {
			break
		}
	}
	if bridge.KindOf(err) != bridge.Full {
		t.Fatalf("refused with %v", err)
	}
	if w := h.Warnings(); len(w) != 1 || w[0].Code != "spool-full" {
		t.Fatalf("warnings %+v", w)
	}
	expectRange(t, drain(t, s, up, true), 0, n)
	deadline := time.Now().Add(20 * time.Second)
	for try(n) != nil {
		if time.Now().After(deadline) {
			t.Fatal("no room again after draining")
		}
		time.Sleep(10 * time.Millisecond)
	}
	if w := h.Warnings(); len(w) != 0 {
		t.Fatalf("warnings after recovery %+v", w)
	}
}

// A spool that is full of what waits for a route's steps takes what they make of
// it, or it would be full for ever; what comes from devices is refused as before.
func TestFullTakesWhatRelieves(t *testing.T) {
	t.Parallel()
	o := DefaultOptions()
	o.Dir, o.MaxSize = t.TempDir(), 256<<10
	s, err := open(o, Deps{Log: slog.New(slog.DiscardHandler), Health: new(bridge.Health)}, smallSizes(), time.Now)
	if err != nil {
		t.Fatal(err)
	}
	defer closeTest(t, s)
	try := func(b *bridge.Batch) error {
		return ended(s, b)
	}
	raw := bridge.RawQueue(up)
	n := 0
	for ; err == nil; n++ {
		b := new(bridge.Batch)
		b.Append(record(n, raw))
		err = try(b)
	}
	c := s.Cursor(raw)
	defer c.Close()
	left := n - 1
	for b := new(bridge.Batch); left > 0; b = new(bridge.Batch) {
		for range min(left, 4) {
			r, err := c.Next()
			if err != nil || r == nil {
				t.Fatalf("the raw queue ends with %d left: %v", left, err)
			}
			b.Release(r)
			left--
		}
		b.Append(record(left, up))
		if err := try(b); err != nil {
			t.Fatalf("what relieves is refused with %d of %d left: %v", left, n, err)
		}
	}
	s.settle()
	if d := s.Depth(raw); d.Records != 0 {
		t.Errorf("%d records are left", d.Records)
	}
}

func TestOneProcessPerFolder(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := openTest(t, dir)
	defer closeTest(t, s)
	o := DefaultOptions()
	o.Dir = dir
	_, err := Open(o, Deps{Log: slog.New(slog.DiscardHandler), Health: new(bridge.Health)})
	if bridge.KindOf(err) != bridge.Unavailable {
		t.Fatalf("a second one opens, or says %v", err)
	}
}

// The first commit begins the log: a start on a full disk only reads.
func TestOpeningWritesNoGeneration(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := openTest(t, dir)
	fill(t, s, 0, 10, up)
	closeTest(t, s)
	for range 2 {
		s = openTest(t, dir)
		expectRange(t, drain(t, s, up, false), 0, 10)
		closeTest(t, s)
	}
	if e, err := os.ReadDir(s.logDir()); err != nil || len(e) != 1 {
		t.Fatalf("%d generations after reopening, %v", len(e), err)
	}
}

func TestAgeClock(t *testing.T) {
	t.Parallel()
	day := 24 * time.Hour
	start := time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)
	for name, c := range map[string]struct {
		restart time.Time // the wall clock when the spool opens again
		want    time.Duration
	}{
		"a pause counts":                           {start.Add(2 * day), 3 * day},
		"a clock that ran back counts nothing":     {start.Add(-9 * day), day},
		"a clock that begins in 1970":              {time.Unix(0, 0), day},
		"a clock that jumped years counts a month": {start.AddDate(10, 0, 0), day + maxPause},
	} {
		t.Run(name, func(t *testing.T) {
			now := start
			c1 := newAgeClock(nil, func() time.Time { return now })
			now = now.Add(day)
			if c1.age() != day {
				t.Fatalf("age %v after a day", c1.age())
			}
			restart := c.restart
			if restart.After(start) {
				restart = restart.Add(day)
			}
			c2 := newAgeClock(c1.encode(), func() time.Time { return restart })
			if got := c2.age(); got != c.want {
				t.Fatalf("age %v after the restart, want %v", got, c.want)
			}
		})
	}
}

func TestDurabilityLevels(t *testing.T) {
	t.Parallel()
	for _, level := range []Durability{Disk, OS, Memory} {
		t.Run(string(level), func(t *testing.T) {
			o := DefaultOptions()
			o.Dir, o.Durability = t.TempDir(), level
			s, err := Open(o, Deps{Log: slog.New(slog.DiscardHandler), Health: new(bridge.Health)})
			if err != nil {
				t.Fatal(err)
			}
			fill(t, s, 0, 200, up)
			closeTest(t, s)
			if s, err = Open(o, Deps{Log: slog.New(slog.DiscardHandler), Health: new(bridge.Health)}); err != nil {
				t.Fatal(err)
			}
			defer closeTest(t, s)
			expectRange(t, drain(t, s, up, true), 0, 200)
		})
	}
}

func TestValidate(t *testing.T) {
	t.Parallel()
	if ps := DefaultOptions().Validate(); len(ps) > 0 {
		t.Fatalf("the defaults: %+v", ps)
	}
	bad := Options{Durability: "tape", CommitDelay: -1, MaxSize: 5, Headroom: 5}
	seen := map[string]bool{}
	for _, p := range bad.Validate() {
		seen[p.Path] = p.Text != "" && p.Remedy != ""
	}
	for _, path := range []string{"dir", "durability", "commit_delay", "max_size", "headroom"} {
		if !seen[path] {
			t.Errorf("%s is not reported", path)
		}
	}
}
