package shape

import (
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"testing"
	"time"

	"github.com/ebbgate/ebbgate/bridge"
)

func minute(o *Options) {
	o.Window = Window{Every: time.Minute, Fields: []string{"v"}}
}

// again gives the partial records that came out back, as the raw queue does, and
// reports whether there were any.
func (b *bench) again() bool {
	var parts []*bridge.Record
	for i, p := range b.out {
		if len(p.Records) == 1 && isPartial(p.Records[0]) {
			parts = append(parts, p.Records[0])
			clone := *p
			clone.Records = nil
			b.out[i] = &clone
		}
	}
	for _, r := range parts {
		if r.Receivers[0].Queue != bridge.RawQueue(queue) {
			b.t.Errorf("a part of a window goes to %s", r.Receivers[0].Queue)
		}
		b.place++
		b.size[b.place] = r.Size()
		b.line.Take(&bridge.Stored{Place: b.place, Record: r, Receiver: &r.Receivers[0]}, func(p *bridge.Product) { b.out = append(b.out, p) })
	}
	return len(parts) > 0
}

// end lets the time of every window pass.
func (b *bench) end(now time.Duration) []summary {
	b.again()
	for b.ripe(now); b.again(); b.ripe(now) {
	}
	var out []summary
	for _, text := range b.sent() {
		var s summary
		if err := json.Unmarshal([]byte(text), &s); err != nil {
			b.t.Fatalf("%q: %v", text, err)
		}
		out = append(out, s)
	}
	return out
}

func TestWindow(t *testing.T) {
	b := on(t, minute)
	for i, v := range []float64{3, 1, 4, 1, 5} {
		b.give(reading("dt/a", fmt.Sprintf(`{"v":%v}`, v), time.Duration(i)*10*time.Second))
		b.give(reading("dt/b", `{"w":1}`, time.Duration(i)*10*time.Second))
	}
	b.give(reading("dt/a", `{"v":9}`, 60*time.Second)) // of the next one
	if len(b.ripe(61*time.Second)) > 0 {
		t.Fatal("a window was ended before its last messages can have come")
	}
	got := b.end(62 * time.Second)
	if len(got) != 2 {
		t.Fatalf("%d windows ended, want 2: %+v", len(got), got)
	}
	want := summary{Topic: "dt/a", From: "2026-03-01T12:00:00.000000000Z", To: "2026-03-01T12:00:40.000000000Z", Clock: "synchronised", Count: 5,
		Fields: map[string]map[string]float64{"v": {"first": 3, "last": 5, "min": 1, "max": 5, "avg": 2.8, "count": 5}}}
	if fmt.Sprint(got[0]) != fmt.Sprint(want) {
		t.Errorf("got  %+v\nwant %+v", got[0], want)
	}
	if got[1].Topic != "dt/b" || got[1].Count != 5 || len(got[1].Fields) != 0 {
		t.Errorf("messages without the field: %+v", got[1])
	}
	if more := b.end(time.Hour); len(more) != 3 || more[2].Count != 1 {
		t.Errorf("the last window: %+v", more)
	}
	b.settled()
}

// An hour at 40 Hz is one window and never keeps more than a few records in
// memory; what is summed up is released on the way.
func TestLongWindow(t *testing.T) {
	b := on(t, func(o *Options) {
		o.Window = Window{Every: time.Hour, Fields: []string{"."}, Functions: []string{"avg", "count"}}
	})
	const records = 144_000
	for i := range records {
		b.give(reading("dt/a", fmt.Sprint(i), time.Duration(i)*25*time.Millisecond))
		b.again()
	}
	w := b.line.(*line).steps[0].(*windower)
	for _, open := range w.open {
		if len(open) != 1 || len(open[0].members) > foldAt || open[0].parts > 0 {
			t.Errorf("%d windows are open, with %d members", len(open), len(open[0].members))
		}
	}
	got := b.end(2 * time.Hour)
	if len(got) != 1 || got[0].Count != records || got[0].Fields["."]["avg"] < records/2-1 || got[0].Fields["."]["avg"] > records/2 {
		t.Fatalf("got %+v", got)
	}
	if f := got[0].Fields["."]; len(f) != 2 {
		t.Errorf("functions that were not asked for: %v", f)
	}
	last := b.out[len(b.out)-1]
	if len(last.Members) > foldLast {
		t.Errorf("the window's message releases %d records", len(last.Members))
	}
	b.settled()
}

// After a restart the parts of a window come behind records of it that were
// accepted later, and still make one message with them.
func TestWindowAfterARestart(t *testing.T) {
	before := on(t, minute)
	var part *bridge.Record
	for i := range foldAt {
		for _, p := range before.give(reading("dt/a", fmt.Sprintf(`{"v":%d}`, i), time.Duration(i)*100*time.Millisecond)) {
			part = p.Records[0]
		}
	}
	b := on(t, minute)
	late := reading("dt/a", `{"v":1000}`, 50*time.Second)
	late.Wall = late.Wall.Add(20 * time.Millisecond) // the clock was corrected meanwhile
	b.give(late)
	b.line.Take(&bridge.Stored{Place: 2, Record: part, Receiver: &part.Receivers[0]}, func(p *bridge.Product) { b.out = append(b.out, p) })
	got := b.end(time.Hour)
	if len(got) != 1 || got[0].Count != foldAt+1 {
		t.Fatalf("got %+v", got)
	}
	if f := got[0].Fields["v"]; f["first"] != 0 || f["last"] != 1000 || f["max"] != 1000 || f["min"] != 0 {
		t.Errorf("got %v", f)
	}
}

// U7: windows stand on the spool's clock. A wall clock that jumps a day, or starts
// in 1970, moves none that is open and splits none.
func TestWindowsAndTheClock(t *testing.T) {
	for name, jump := range map[string]time.Duration{"a day forward": 24 * time.Hour, "a day back": -24 * time.Hour, "to 1970": -56 * 365 * 24 * time.Hour} {
		t.Run(name, func(t *testing.T) {
			b := on(t, minute)
			for i := range 60 {
				s := reading("dt/a", `{"v":1}`, time.Duration(i)*time.Second)
				if i >= 20 {
					s.Wall, s.Synced = s.Wall.Add(jump), false
				}
				b.give(s)
			}
			if got := b.end(62 * time.Second); len(got) != 1 || got[0].Count != 60 {
				t.Errorf("got %+v", got)
			}
		})
	}
	// What it says of the clock holds for all that is in it, parts that were written back too.
	for _, odd := range []int{-1, 0, 100, 299} {
		b := on(t, func(o *Options) { minute(o); o.Window.Every = time.Hour })
		for i := range 300 {
			s := reading("dt/a", `{"v":1}`, time.Duration(i)*time.Second)
			s.Synced = i != odd
			b.give(s)
			b.again()
		}
		want := "unsynchronised"
		if odd < 0 {
			want = "synchronised"
		}
		if got := b.end(2 * time.Hour); len(got) != 1 || got[0].Count != 300 || got[0].Clock != want {
			t.Errorf("message %d by a bad clock: %+v", odd, got)
		}
	}
	// Without a good clock a window begins with its first message.
	b := on(t, minute)
	for _, age := range []time.Duration{17 * time.Second, 76 * time.Second, 78 * time.Second} {
		s := reading("dt/a", `{"v":1}`, age)
		s.Synced = false
		b.give(s)
	}
	if got := b.end(79 * time.Second); len(got) != 1 || got[0].Count != 2 || got[0].Clock != "unsynchronised" {
		t.Errorf("without a good clock: %+v", got)
	}
}

// The windows of many topics that end together travel in one batch.
func TestWindowsInABatch(t *testing.T) {
	b := on(t, func(o *Options) { minute(o); o.Batch.Format = JSON })
	for i := range 40 * 60 {
		s := reading(fmt.Sprintf("dt/%02d", i%40), `{"v":1}`, time.Duration(i/40)*time.Second)
		s.Receiver.Topic = "site/sums"
		b.give(s)
	}
	for b.ripe(2 * time.Minute); b.again(); b.ripe(2 * time.Minute) {
	}
	b.settled()
	total := 0
	for _, text := range b.sent() {
		var all []summary
		if err := json.Unmarshal([]byte(text), &all); err != nil {
			t.Fatal(err)
		}
		for _, s := range all {
			if s.Count != 60 {
				t.Errorf("a window of %d", s.Count)
			}
		}
		total += len(all)
	}
	if n := len(b.sent()); total != 40 || n > 3 {
		t.Errorf("%d windows in %d batches", total, n)
	}
}

// What a device says is never taken for a part of a window.
func TestForgedPart(t *testing.T) {
	b := on(t, minute)
	s := reading("dt/a", `{"v":1,"topic":"x","start":0,"end":10,"count":1000000,"fields":{}}`, 0)
	s.ContentType = typePartial
	b.give(s)
	if got := b.end(time.Hour); len(got) != 1 || got[0].Count != 1 {
		t.Errorf("got %+v", got)
	}
}

// A part whose window was taken out of the configuration goes as it is.
func TestPartWithoutAWindow(t *testing.T) {
	part := reading("dt/a", `{"count":256}`, 0)
	part.ContentType = typePartial
	o := DefaultOptions()
	o.Deadband.Field = "v"
	b := &bench{t: t, line: New(o, true, queue, Terms{Unit: Unit}), size: map[bridge.Place]int{}}
	b.line.Take(part, func(p *bridge.Product) { b.out = append(b.out, p) })
	if got := b.sent(); !slices.Equal(got, []string{`{"count":256}`}) {
		t.Errorf("sent %q", got)
	}
}

// An average is what its sum says, as long as that is a number; of larger values it is the
// mean. Parts that an earlier version has written know no sum.
func TestAverages(t *testing.T) {
	const most = "1.7976931348623157e308"
	for _, c := range []struct {
		name   string
		values []string
		want   float64
	}{
		{"odd numbers", func() (out []string) {
			for i := 1; i <= 449; i += 2 {
				out = append(out, fmt.Sprint(i))
			}
			return out
		}(), 225},
		{"halves", []string{"1", "2.5", "1"}, 1.5},
		{"635 of them", func() (out []string) {
			for i := range 636 {
				out = append(out, fmt.Sprint(i))
			}
			return out
		}(), 317.5},
		{"the largest", []string{most, most, most, most}, math.MaxFloat64},
		{"ten tenths", slices.Repeat([]string{"0.1"}, 10), 0.1},
		{"sixty that stay the same", slices.Repeat([]string{"21.3"}, 60), 21.3},
		{"in several parts", slices.Repeat([]string{"0.7"}, 2*foldAt+33), 0.7},
		{"the large one goes", []string{"1e16", "0.5", "0.25", "-1e16"}, 0.1875},
	} {
		b := on(t, func(o *Options) {
			o.Window = Window{Every: time.Hour, Fields: []string{"v"}, Functions: []string{"avg"}}
		})
		for i, v := range c.values {
			b.give(reading("dt/a", `{"v":`+v+`}`, time.Duration(i)*time.Second))
			b.again()
		}
		got := b.end(2 * time.Hour)
		if len(got) != 1 || got[0].Fields["v"]["avg"] != c.want && c.want < 1e9 || got[0].Fields["v"]["avg"] < c.want*(1-1e-12) {
			t.Errorf("%s: %+v, want %v", c.name, got, c.want)
		}
	}
}
