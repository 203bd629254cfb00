package metered

import (
	"maps"
	"testing"
	"time"
)

// turn sets the site's clock, as a person (unsynchronised) or a time server does.
func (s *site) turn(text string, synced bool) *site {
	s.t.Helper()
	s.unsynced = !synced
	return s.at(text)
}

// pass lets time go by.
func (s *site) pass(by time.Duration) { s.now, s.mono = s.now.Add(by), s.mono+by }

// counted is what the spool has, without what is nothing.
func (s *site) counted() map[string]int64 {
	out := map[string]int64{}
	for key, n := range s.spool.n {
		if n != 0 {
			out[key] = n
		}
	}
	return out
}

// A budget that was used up while the clock stood years ahead, or a month, holds
// nothing back once the clock is right, by whoever says so; and what the link has
// carried meanwhile counts in the month that it was, once.
func TestBudgetOfAClockThatStoodAhead(t *testing.T) {
	for _, ahead := range []string{"2031-01-05T03:50:00Z", "2026-12-20T10:50:00Z"} {
		for _, synced := range []bool{true, false} {
			o := DefaultOptions()
			o.Budget, o.TimeZone = 5_000_000, "Pacific/Auckland"
			s := newSite(t, o).turn("2026-11-20T10:00:00Z", synced)
			s.Carried(1_000_000)
			s.account()
			wrong := s.turn(ahead, false).now.Format("2006-01")
			s.Carried(2_000_000)
			s.account()
			s.pass(2 * time.Hour)
			s.Carried(3_000_000)
			s.account()
			if s.Open(4) || s.State().Period != wrong {
				t.Fatalf("%s: %+v", ahead, s.State())
			}
			s.turn("2026-11-20T12:00:00Z", synced)
			s.want(false, 6_000_000, "2026-11-30T11:00:00Z", "used up") // 1, 2 and 3
			s.account()
			s.account()
			if want := map[string]int64{"sat/2026-11": 6_000_000}; !maps.Equal(s.counted(), want) {
				t.Errorf("%s, synchronised %v: %v", ahead, synced, s.counted())
			}
			s.start(o)
			s.want(false, 6_000_000, "2026-11-30T11:00:00Z", "used up")
			s.pass(11 * 24 * time.Hour)
			s.want(true, 0, "", "")
		}
	}
}

// A budget of a day that only the wrong day has used up.
func TestWorkGoesOnWhenTheClockIsRight(t *testing.T) {
	o := DefaultOptions()
	o.Budget, o.Per, o.TimeZone = 1_000_000, perDay, "UTC"
	s := newSite(t, o).turn("2031-01-05T03:50:00Z", false)
	s.Carried(800_000)
	s.account()
	s.pass(23 * time.Hour) // the 6th in 2031; in truth yesterday was the 20th
	s.Carried(1_000_000)
	s.account()
	s.want(false, 1_000_000, "2031-01-07T00:00:00Z", "used up")
	s.turn("2026-11-21T00:10:00Z", true)
	s.pass(20 * time.Minute)
	s.want(false, 1_000_000, "2026-11-22T00:00:00Z", "used up")
	s.account()
	if want := map[string]int64{"sat/2026-11-20": 800_000, "sat/2026-11-21": 1_000_000}; !maps.Equal(s.counted(), want) {
		t.Errorf("%v", s.counted())
	}
	s.pass(24 * time.Hour)
	s.want(true, 0, "", "")
}

// What a clock that was vouched for has told stays, and so does what somebody's
// setting ahead, or back to 1970, would move.
func TestPeriodsThatStay(t *testing.T) {
	for _, c := range []struct {
		name, from, to string
		was, is        bool
		want           string
	}{
		{"vouched for", "2026-12-20T10:00:00Z", "2026-11-20T10:00:00Z", true, true, "sat/2026-12"},
		{"put ahead by hand", "2026-11-20T10:00:00Z", "2031-11-20T10:00:00Z", false, false, "sat/2026-11"},
		{"put ahead by a time server", "2026-08-20T10:00:00Z", "2026-11-20T10:00:00Z", false, true, "sat/2026-11"},
		{"from 1970", "1970-01-01T00:02:00Z", "2026-11-20T10:00:00Z", false, true, "sat/2026-11"},
		{"to 1970", "2026-11-20T10:00:00Z", "1970-01-01T00:02:00Z", false, false, "sat/2026-11"},
		{"a minute over the month's end", "2026-11-30T23:59:30Z", "2026-12-01T00:00:30Z", false, true, "sat/2026-11"},
	} {
		t.Run(c.name, func(t *testing.T) {
			o := DefaultOptions()
			o.Budget, o.TimeZone = 5_000_000, "UTC"
			s := newSite(t, o).turn(c.from, c.was)
			s.Carried(1_000_000)
			s.account()
			s.turn(c.to, c.is)
			s.Open(4)
			s.account()
			if want := map[string]int64{c.want: 1_000_000}; !maps.Equal(s.counted(), want) {
				t.Errorf("%v, want %v", s.counted(), want)
			}
		})
	}
}
