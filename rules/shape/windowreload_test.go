package shape

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/ebbgate/ebbgate/bridge"
)

// A window that is changed, or taken out, while more is in it than memory keeps ends: what
// went back into the raw queue goes as the message of a window, as it was to be summed up,
// and what comes is by the new steps at once. Who changes nothing of it cuts nothing.
func TestAWindowThatIsChanged(t *testing.T) {
	before := Window{Every: time.Hour, Fields: []string{"v"}, Functions: []string{"max", "count"}}
	with := func(edit func(*Window)) func(*Options) {
		return func(o *Options) {
			o.Window = before
			edit(&o.Window)
		}
	}
	const later = 3
	for _, c := range []struct {
		name string
		then func(*Options)
		cut  bool
		want string // of what comes later
	}{
		{"nothing", with(func(*Window) {}), false, ""},
		{"its length", with(func(w *Window) { w.Every = 2 * time.Second }), true, `"count":3,"fields":{"v":{"count":3,"max":9}}`},
		{"its fields", with(func(w *Window) { w.Fields = []string{"w"} }), true, `"count":3,"fields":{}`},
		{"its functions", with(func(w *Window) { w.Functions = []string{"min"} }), true, `"count":3,"fields":{"v":{"min":9}}`},
		{"it is out", func(*Options) {}, true, `{"v":9}`},
		{"a deadband is there", func(o *Options) { o.Deadband.Field = "v" }, true, `{"v":9}`},
		{"batches are there", func(o *Options) { o.Batch.Format = JSON }, true, `[{"v":9},{"v":9},{"v":9}]`},
	} {
		t.Run(c.name, func(t *testing.T) {
			first := on(t, with(func(*Window) {}))
			var part *bridge.Record
			for i := range foldAt {
				for _, p := range first.give(reading("dt/a", fmt.Sprintf(`{"v":%d}`, i), time.Duration(i)*time.Second)) {
					part = p.Records[0]
				}
			}
			id := first.out[0].Into
			o := DefaultOptions()
			c.then(&o)
			b := &bench{t: t, line: New(o, true, queue, Terms{Unit: Unit}), size: map[bridge.Place]int{1: part.Size()}, place: 1}
			b.line.Take(&bridge.Stored{Place: 1, Record: part, Receiver: &part.Receivers[0]}, func(p *bridge.Product) { b.out = append(b.out, p) })
			if cut := len(b.out) == 1; cut != c.cut {
				t.Fatalf("%d products at once", len(b.out))
			}
			if c.cut {
				r := b.out[0].Records[0]
				if r.ID != id || b.out[0].Members[0].ID != id || r.ContentType != typeJSON || r.Receivers[0].Queue != queue || r.Device != "d1" {
					t.Errorf("%+v, of %+v", r, b.out[0].Members)
				}
				const want = `{"topic":"dt/a","from":"2026-03-01T12:00:00.000000000Z","to":"2026-03-01T12:04:15.000000000Z","clock":"synchronised","count":256,"fields":{"v":{"count":256,"max":255}}}`
				if string(r.Payload) != want {
					t.Errorf("%s, want %s", r.Payload, want)
				}
			}
			for i := range later {
				b.give(reading("dt/a", `{"v":9}`, 5*time.Minute+time.Duration(i)*300*time.Millisecond))
			}
			due := 2 * time.Hour
			if o.Window.Every == 2*time.Second {
				due = 5*time.Minute + 5*time.Second // and no later than the new windows end
			}
			b.ripe(due)
			b.settled()
			var counts int64
			for _, text := range b.sent() {
				var s summary
				if json.Unmarshal([]byte(text), &s) == nil {
					counts += s.Count
				}
			}
			all := b.sent()
			last := all[len(all)-1]
			switch {
			case !strings.Contains(last, c.want):
				t.Errorf("%s, want %s", last, c.want)
			case o.Window.on() && counts != foldAt+later:
				t.Errorf("%d messages are summed up, want %d: %s", counts, foldAt+later, b.sent())
			}
		})
	}
}

// A part that an earlier version has written does not say how it is summed up: it goes on
// in the window that there is, and without one with all functions.
func TestAPartOfAnEarlierVersion(t *testing.T) {
	text := `{"topic":"dt/a","start":0,"end":60000000000,"count":2,"id":[9],"from":{"wall":1772366400000000000,"age":0},"to":{"wall":1772366410000000000,"age":10000000000},` +
		`"first_age":0,"fields":{"v":{"first":1,"last":3,"min":1,"max":3,"mean":2,"count":2,"last_age":10000000000}}}`
	for _, windows := range []bool{true, false} {
		o := DefaultOptions()
		if windows {
			minute(&o)
		}
		b := &bench{t: t, line: New(o, false, queue, Terms{Unit: Unit}), size: map[bridge.Place]int{}}
		s := reading("dt/a", text, 10*time.Second)
		s.ContentType = typePartial
		s.Place = 1
		b.line.Take(s, func(p *bridge.Product) { b.out = append(b.out, p) })
		if len(b.out) > 0 == windows {
			t.Fatalf("windows %v: %d products at once", windows, len(b.out))
		}
		b.ripe(time.Hour)
		if got := b.sent(); len(got) != 1 || !strings.Contains(got[0], `"count":2,"fields":{"v":{"avg":2,"count":2,"first":1,"last":3,"max":3,"min":1}}`) {
			t.Errorf("windows %v: %q", windows, got)
		}
	}
}
