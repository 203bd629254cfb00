package metered

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func berlin(t *testing.T) *time.Location {
	t.Helper()
	loc, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		t.Fatal(err)
	}
	return loc
}

func parsed(t *testing.T, texts ...string) (out []window) {
	t.Helper()
	for _, text := range texts {
		w, err := parseWindow(text)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, w)
	}
	return out
}

// What is open around a moment, in UTC, on the days on which Berlin's clocks
// change (29 March and 25 October 2026) and on others.
func TestSpans(t *testing.T) {
	loc := berlin(t)
	for _, c := range []struct {
		windows string
		at      string
		want    string // the span that is open, or the next
	}{
		{"daily 01:00-05:00", "2026-11-21T02:00Z", "2026-11-21T00:00Z 2026-11-21T04:00Z"},
		{"daily 22:00-06:00", "2026-11-21T02:00Z", "2026-11-20T21:00Z 2026-11-21T05:00Z"},
		{"mon-fri 22:00-06:00", "2026-11-21T12:00Z", "2026-11-23T21:00Z 2026-11-24T05:00Z"}, // a Saturday
		{"sat,sun 00:00-24:00", "2026-11-21T12:00Z", "2026-11-20T23:00Z 2026-11-22T23:00Z"},
		{"fri-mon 12:00-13:00", "2026-11-23T13:00Z", "2026-11-27T11:00Z 2026-11-27T12:00Z"},
		{"mon 08:00-10:00|mon 09:00-12:00", "2026-11-23T08:00Z", "2026-11-23T07:00Z 2026-11-23T11:00Z"},
		{"sat 23:00-23:00", "2026-11-21T22:30Z", "2026-11-21T22:00Z 2026-11-22T22:00Z"},
		// Spring: 02:00 is 03:00.
		{"daily 01:00-04:00", "2026-03-29T00:30Z", "2026-03-29T00:00Z 2026-03-29T02:00Z"},
		{"daily 02:30-04:00", "2026-03-29T00:30Z", "2026-03-29T01:00Z 2026-03-29T02:00Z"},
		{"daily 02:10-02:50", "2026-03-29T00:30Z", "2026-03-30T00:10Z 2026-03-30T00:50Z"},
		{"sun 02:10-02:50", "2026-03-28T00:30Z", "2026-04-05T00:10Z 2026-04-05T00:50Z"},
		{"sat 22:00-06:00", "2026-03-29T03:00Z", "2026-03-28T21:00Z 2026-03-29T04:00Z"},
		// Autumn: 02:00 to 03:00 comes twice.
		{"daily 01:00-04:00", "2026-10-25T00:30Z", "2026-10-24T23:00Z 2026-10-25T03:00Z"},
		{"daily 02:00-03:00", "2026-10-25T01:30Z", "2026-10-25T00:00Z 2026-10-25T02:00Z"},
		{"daily 02:10-02:50", "2026-10-25T00:30Z", "2026-10-25T00:10Z 2026-10-25T00:50Z"},
		{"daily 02:10-02:50", "2026-10-25T01:30Z", "2026-10-26T01:10Z 2026-10-26T01:50Z"},
	} {
		now, err := time.Parse("2006-01-02T15:04Z07:00", c.at)
		if err != nil {
			t.Fatal(err)
		}
		list := spans(parsed(t, strings.Split(c.windows, "|")...), now, loc)
		i := slices.IndexFunc(list, func(s span) bool { return s.to.After(now) })
		if i < 0 {
			t.Errorf("%s at %s: none", c.windows, c.at)
			continue
		}
		const layout = "2006-01-02T15:04Z"
		if got := list[i].from.UTC().Format(layout) + " " + list[i].to.UTC().Format(layout); got != c.want {
			t.Errorf("%s at %s: %s, want %s", c.windows, c.at, got, c.want)
		}
	}
}

// On days on which no clock changes, a window is open exactly when the clocks
// show a time in it.
func TestSpansShowWhatClocksShow(t *testing.T) {
	loc := berlin(t)
	rapid.Check(t, func(r *rapid.T) {
		var windows []window
		for range rapid.IntRange(1, 3).Draw(r, "windows") {
			day := rapid.SampledFrom(weekdays).Draw(r, "day") + "-" + rapid.SampledFrom(weekdays).Draw(r, "to day")
			minute := func(what string) string {
				m := rapid.IntRange(0, minutesADay-1).Draw(r, what)
				return fmt.Sprintf("%02d:%02d", m/60, m%60)
			}
			w, err := parseWindow(day + " " + minute("from") + "-" + minute("to"))
			if err != nil {
				r.Fatal(err)
			}
			windows = append(windows, w)
		}
		begin := time.Date(2026, 6, 1, 0, 0, 0, 0, time.UTC)
		now := begin.Add(time.Duration(rapid.IntRange(0, 90*minutesADay).Draw(r, "minute")) * time.Minute)
		local := now.In(loc)
		want := showsOpen(windows, local)
		list := spans(windows, now, loc)
		got := slices.ContainsFunc(list, func(s span) bool { return !now.Before(s.from) && now.Before(s.to) })
		if got != want {
			r.Fatalf("%+v at %v: open %v, want %v", windows, local, got, want)
		}
		for i := 1; i < len(list); i++ {
			if !list[i-1].to.Before(list[i].from) {
				r.Fatalf("%v and %v are one", list[i-1], list[i])
			}
		}
	})
}

func TestBadWindows(t *testing.T) {
	for _, text := range []string{
		"", "daily", "daily 1:00-2:00", "daily 01:00", "monday 01:00-02:00", "mon-xyz 01:00-02:00", "daily 24:00-02:00",
		"daily 01:60-02:00", "daily 01:00-24:01", "daily 01:00-02:00 UTC", "mon,,tue 01:00-02:00", "daily +1:00-02:00",
	} {
		if w, err := parseWindow(text); err == nil {
			t.Errorf("%q is taken for %+v", text, w)
		}
	}
}

func FuzzWindow(f *testing.F) {
	f.Add("mon-fri 22:00-06:00")
	f.Add("sat,sun 00:00-24:00")
	f.Fuzz(func(t *testing.T, text string) {
		w, err := parseWindow(text)
		if err == nil && (w.from < 0 || w.from >= minutesADay || w.to <= w.from || w.to > 2*minutesADay || w.days == [7]bool{}) {
			t.Fatalf("%q is %+v", text, w)
		}
	})
}
