package metered

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// window is open on some days of the week, from and to minutes after midnight. to
// may be the next day's.
type window struct {
	days     [7]bool // by time.Weekday
	from, to int
}

const minutesADay = 24 * 60

var weekdays = []string{"sun", "mon", "tue", "wed", "thu", "fri", "sat"}

// parseWindow reads "mon-fri 22:00-06:00". A window whose end is not after its
// beginning ends on the next day.
func parseWindow(text string) (window, error) {
	var w window
	days, times, ok := strings.Cut(strings.TrimSpace(text), " ")
	from, to, both := strings.Cut(strings.TrimSpace(times), "-")
	if !ok || !both {
		return w, fmt.Errorf("%q is not a window", text)
	}
	for _, part := range strings.Split(strings.ToLower(days), ",") {
		first, last, span := strings.Cut(part, "-")
		if part == "daily" {
			first, last, span = "sun", "sat", true
		}
		if !span {
			last = first
		}
		a, b := slices.Index(weekdays, first), slices.Index(weekdays, last)
		if a < 0 || b < 0 {
			return w, fmt.Errorf("%q is not a day or a span of days", part)
		}
		for d := a; ; d = (d + 1) % 7 {
			if w.days[d] = true; d == b {
				break
			}
		}
	}
	var okFrom, okTo bool
	w.from, okFrom = parseMinute(from)
	w.to, okTo = parseMinute(to)
	if !okFrom || !okTo || w.from == minutesADay {
		return w, fmt.Errorf("%q is not a span of time", times)
	}
	if w.to <= w.from {
		w.to += minutesADay
	}
	return w, nil
}

// parseMinute reads "05:30", up to "24:00".
func parseMinute(text string) (int, bool) {
	h, m, ok := strings.Cut(text, ":")
	hour, err1 := strconv.ParseUint(h, 10, 8)
	minute, err2 := strconv.ParseUint(m, 10, 8)
	n := int(hour)*60 + int(minute)
	return n, ok && len(h) == 2 && len(m) == 2 && err1 == nil && err2 == nil && minute < 60 && n <= minutesADay
}

// span is [from, to).
type span struct{ from, to time.Time }

// lookAhead is enough to find the next window when that of this week falls into
// the hour which is left out.
const lookAhead = 15

// spans are the times around now at which a window is open: those that began
// yesterday, and those of the next two weeks. They are in order and disjoint.
func spans(windows []window, now time.Time, loc *time.Location) (out []span) {
	y, m, d := now.In(loc).Date()
	for day := -2; day <= lookAhead; day++ { // from -1, and a zone that skipped a day
		midnight := time.Date(y, m, d+day, 0, 0, 0, 0, time.UTC)
		for _, w := range windows {
			if !w.days[midnight.Weekday()] {
				continue
			}
			s := span{first(midnight, w.from, loc), first(midnight, w.to, loc)}
			if s.from.Before(s.to) {
				out = append(out, s)
			}
		}
	}
	slices.SortFunc(out, func(a, b span) int { return a.from.Compare(b.from) })
	merged := out[:0]
	for _, s := range out {
		if n := len(merged); n > 0 && !s.from.After(merged[n-1].to) {
			if s.to.After(merged[n-1].to) {
				merged[n-1].to = s.to
			}
			continue
		}
		merged = append(merged, s)
	}
	return merged
}

// first is the first moment at which clocks at loc show a minute of a day, given
// as if it were UTC, or are past it.
func first(midnight time.Time, minute int, loc *time.Location) time.Time {
	wall := midnight.Add(time.Duration(minute) * time.Minute)
	shown := func(around time.Time) (t time.Time, exact bool) {
		_, offset := around.In(loc).Zone()
		t = wall.Add(-time.Duration(offset) * time.Second)
		_, there := t.In(loc).Zone()
		return t, there == offset
	}
	// Zones change less often than once in two days: what holds a day before and
	// a day after are the candidates.
	before, okBefore := shown(wall.Add(-36 * time.Hour))
	after, okAfter := shown(wall.Add(36 * time.Hour))
	switch {
	case okBefore && okAfter && after.Before(before):
		return after
	case okBefore:
		return before
	case okAfter:
		return after
	}
	// It is left out: clocks jump over it, at the beginning of what holds after.
	begin, _ := before.In(loc).ZoneBounds()
	return begin
}
