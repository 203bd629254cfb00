package metered

import (
	"fmt"
	"testing"
	"time"
)

// zones are places east and west of Greenwich, with and without daylight saving:
// some change their clocks at midnight (Cairo, Beirut, Havana, Santiago, Asuncion),
// by half an hour (Lord Howe) or by two hours (Troll), around a month of fasting
// (Casablanca), or have left out a whole day (Apia in 2011).
var zones = []string{
	"UTC", "Europe/Berlin", "Europe/Lisbon", "America/New_York", "America/St_Johns", "America/Los_Angeles", "Pacific/Honolulu",
	"Pacific/Kiritimati", "Pacific/Pago_Pago", "Asia/Kathmandu", "Asia/Tokyo", "Africa/Cairo", "Asia/Beirut", "America/Havana",
	"America/Santiago", "America/Asuncion", "America/Nuuk", "Australia/Lord_Howe", "Antarctica/Troll", "Africa/Casablanca",
	"Pacific/Apia", "Pacific/Auckland", "Pacific/Chatham", "Pacific/Easter", "Australia/Adelaide", "Asia/Tehran", "America/Sao_Paulo",
}

// located calls fn for each zone.
func located(t *testing.T, fn func(t *testing.T, loc *time.Location)) {
	t.Helper()
	for _, name := range zones {
		loc, err := time.LoadLocation(name)
		if err != nil {
			t.Fatal(err)
		}
		t.Run(name, func(t *testing.T) { fn(t, loc) })
	}
}

// changes are the moments between two years at which a place's clocks change.
func changes(loc *time.Location, from, to int) (out []time.Time) {
	end := time.Date(to, 1, 1, 0, 0, 0, 0, time.UTC)
	for t := time.Date(from, 1, 1, 0, 0, 0, 0, time.UTC); ; {
		_, next := t.In(loc).ZoneBounds()
		if next.IsZero() || next.After(end) {
			return out
		}
		out = append(out, next)
		t = next
	}
}

// shown is what the clocks of a place show, as if it were UTC.
func shown(t time.Time, loc *time.Location) time.Time {
	_, offset := t.In(loc).Zone()
	return t.Add(time.Duration(offset) * time.Second).UTC()
}

// Around every change of a place's clocks windows and days begin at the first
// minute in which clocks show their beginning or are past it, found by looking at
// every minute.
func TestEveryMinuteAroundEveryChange(t *testing.T) {
	located(t, func(t *testing.T, loc *time.Location) {
		moments := append(changes(loc, 2011, 2012), changes(loc, 2027, 2028)...)
		for _, d := range []string{"2028-02-29", "2026-12-31", "2027-02-28"} {
			day, err := time.Parse(time.DateOnly, d)
			if err != nil {
				t.Fatal(err)
			}
			moments = append(moments, day)
		}
		for _, change := range moments {
			from := change.Truncate(time.Minute).Add(-40 * time.Hour)
			firstAt := map[time.Time]time.Time{} // by what clocks show
			highest := shown(from, loc).Truncate(time.Minute)
			for m := from; m.Before(change.Add(40 * time.Hour)); m = m.Add(time.Minute) {
				for at := shown(m, loc); !highest.After(at); highest = highest.Add(time.Minute) {
					firstAt[highest] = m
				}
			}
			wrong := 0
			for wall, want := range firstAt {
				midnight := wall.Truncate(24 * time.Hour)
				if wall.Sub(shown(from, loc)) < 3*time.Hour {
					continue // the oracle may have begun after the first
				}
				if got := first(midnight, int(wall.Sub(midnight)/time.Minute), loc); !got.Equal(want) {
					if wrong++; wrong < 3 {
						t.Errorf("clocks show %s first at %s, got %s", wall.Format("2006-01-02 15:04"), want.UTC().Format(time.RFC3339), got.UTC().Format(time.RFC3339))
					}
				}
			}
		}
	})
}

// Every byte counts in the day or month that clocks show when it is carried, and in
// no other, over the ends of months, leap day and changes of clocks; and the
// budget is whole again at the first moment of the next, when the gate has said.
func TestBudgetsByTheClocksOfThePlace(t *testing.T) {
	spansOf := []struct{ from, to string }{
		{"2028-02-26", "2028-03-04"}, // leap day
		{"2027-02-26", "2027-03-03"},
		{"2026-12-29", "2027-01-03"},
		{"2027-03-25", "2027-04-03"},
		{"2026-10-22", "2026-11-03"},
		{"2026-04-22", "2026-05-02"}, // Cairo's Friday
	}
	located(t, func(t *testing.T, loc *time.Location) {
		for _, per := range []string{perDay, perMonth} {
			for _, span := range spansOf {
				o := DefaultOptions()
				o.Budget, o.Per, o.TimeZone = 1_000_000, per, loc.String()
				s := newSite(t, o)
				s.at(span.from + "T00:00:00Z")
				end, err := time.Parse(time.DateOnly, span.to)
				if err != nil {
					t.Fatal(err)
				}
				want := map[string]int64{}
				closed := time.Time{} // until when the gate has said that it is closed
				for ; s.now.Before(end); s.now = s.now.Add(15 * time.Minute) {
					local := s.now.In(loc)
					period := local.Format(time.DateOnly)
					if per == perMonth {
						period = local.Format("2006-01")
					}
					if open := s.Open(4); open == s.now.Before(closed) {
						t.Fatalf("%s at %s: open %v, and it has said that it is closed until %s", per, local, open, closed.In(loc))
					}
					if !s.Open(4) {
						continue
					}
					n := int64(200_000)
					if per == perMonth && local.Day() < 28 {
						n = 100
					}
					s.Carried(int(n))
					s.account()
					want[period] += n
					if st := s.State(); !st.Open {
						closed = st.Next
					}
				}
				got := map[string]int64{}
				for key, n := range s.spool.n {
					got[key[len("sat/"):]] = n
				}
				if fmt.Sprint(got) != fmt.Sprint(want) {
					t.Errorf("%s from %s: %v, want %v", per, span.from, got, want)
				}
			}
		}
	})
}

// What a gate says about when it will be otherwise is so, minute by minute, around
// every change of clocks; and three hours from it a window is open exactly when clocks
// show a time in it.
func TestWindowsKeepTheirWord(t *testing.T) {
	located(t, func(t *testing.T, loc *time.Location) {
		for _, change := range changes(loc, 2027, 2028) {
			for _, windows := range [][]string{{"daily 00:00-00:30"}, {"daily 23:30-00:30"}, {"sat 22:00-03:00", "sun 02:15-02:45"}, {"mon-fri 00:00-24:00"}, {"sun 00:00-24:00"}} {
				o := DefaultOptions()
				o.Windows, o.TimeZone = windows, loc.String()
				s := newSite(t, o)
				s.now = change.Add(-49 * time.Hour).Truncate(time.Minute)
				last := s.State()
				for ; s.now.Before(change.Add(9 * 24 * time.Hour)); s.now = s.now.Add(7 * time.Minute) {
					st := s.State()
					if st.Next.IsZero() || !st.Next.After(s.now) {
						t.Fatalf("%v at %s: %+v", windows, s.now.In(loc), st)
					}
					if s.now.Before(last.Next) != (st.Open == last.Open && st.Next.Equal(last.Next)) {
						t.Fatalf("%v at %s: %+v, and before that %+v", windows, s.now.In(loc), st, last)
					}
					last = st
					if away := s.now.Sub(change).Abs(); away > 3*time.Hour && st.Open != showsOpen(parsed(t, windows...), s.now.In(loc)) {
						t.Fatalf("%v at %s: open %v", windows, s.now.In(loc), st.Open)
					}
				}
			}
		}
	})
}

// showsOpen reports whether clocks that show local show a time in one of the windows.
func showsOpen(windows []window, local time.Time) bool {
	at := local.Hour()*60 + local.Minute()
	for _, w := range windows {
		if w.days[local.Weekday()] && at >= w.from && at < w.to || w.days[(local.Weekday()+6)%7] && at+minutesADay < w.to {
			return true
		}
	}
	return false
}
