package billing

import (
	"maps"
	"math/big"
	"slices"
	"sync"
	"time"
)

// Totals is the short bill of one upstream, cheap enough for a status page.
type Totals struct {
	UnitsToday     int64
	UncertainToday int64
	UnitsMonth     int64
	USDToday       *big.Rat
	USDMonth       *big.Rat
	USDProjected   *big.Rat // a month of 30 days at the pace given
}

// closedHours remembers the sums of the hours that no longer change, so that a
// status page reads two hours and not a month.
type closedHours struct {
	mu   sync.Mutex
	upTo string // hours before this one are in; empty: nothing
	sums map[string]closedSum
}

type closedSum struct{ day, dayUncertain, month, dayMinutes, minutes int64 }

// Totals sums today and this month, and projects the pace (units an hour, by
// upstream: [Meter.Pace]) to a month.
func (l *Ledger) Totals(now time.Time, pace func(upstream string) int64) (map[string]Totals, error) {
	closed, open, err := l.upToHour(now.UTC())
	if err != nil {
		return nil, err
	}
	out := map[string]Totals{}
	before, earlier, ahead := shared{}, shared{}, shared{} // in the month by those of the account before it; before today by all of them; projected
	for name := range l.upstreams {
		c, live := closed[name], open[name]
		earlier.add(l.accountOf(name), Usage{Messages: c.month + live.month - c.day - live.day, Minutes: c.minutes + live.minutes - c.dayMinutes - live.dayMinutes})
	}
	today := shared{}
	for _, name := range slices.Sorted(maps.Keys(l.upstreams)) {
		o, mine, c := l.upstreams[name], l.accountOf(name), closed[name]
		live := open[name]
		t := Totals{UnitsToday: c.day + live.day, UncertainToday: c.dayUncertain + live.dayUncertain, UnitsMonth: c.month + live.month}
		cost := func(after shared, u Usage) *big.Rat {
			a, _ := l.prices[name].Added(o.Region, l.otherUsage(name).Plus(after[mine]), u, l.freeTier(name))
			after.add(mine, u)
			return a.Rat()
		}
		if _, begun := today[mine]; !begun {
			today[mine] = earlier[mine]
		}
		t.USDMonth = cost(before, Usage{Messages: t.UnitsMonth, Minutes: c.minutes + live.minutes})
		t.USDToday = cost(today, Usage{Messages: t.UnitsToday, Minutes: c.dayMinutes + live.dayMinutes})
		t.USDProjected = cost(ahead, Usage{Messages: pace(name) * 24 * 30, Minutes: projected(c.dayMinutes+live.dayMinutes, now)})
		out[name] = t
	}
	return out, nil
}

// projected is what the minutes of today make in 30 days at the same pace.
func projected(minutes int64, now time.Time) int64 {
	start, _ := Today(now)
	return minutes * 30 * 86_400 / max(60, int64(now.Sub(start)/time.Second))
}

// upToHour splits this month: hours before the previous one from memory, the
// previous and the present one from the spool (a commit may come late).
func (l *Ledger) upToHour(now time.Time) (closed, open map[string]closedSum, err error) {
	monthStart, _ := Month(now)
	dayStart, _ := Today(now)
	border := now.Truncate(time.Hour).Add(-time.Hour)
	collect := func(into map[string]closedSum, want func(time.Time) bool) func(time.Time, bool, series, Counts) {
		return func(start time.Time, _ bool, s series, c Counts) {
			if !want(start) {
				return
			}
			sum := into[s.upstream]
			sum.month += c.Units
			sum.minutes += c.Minutes
			if !start.Before(dayStart) {
				sum.day += c.Units
				sum.dayUncertain += c.Uncertain
				sum.dayMinutes += c.Minutes
			}
			into[s.upstream] = sum
		}
	}
	l.closed.mu.Lock()
	defer l.closed.mu.Unlock()
	if id := now.Format(hourLayout); l.closed.upTo != id {
		sums := map[string]closedSum{}
		if err := l.scan(monthStart.Format(monthLayout), collect(sums, border.After)); err != nil {
			return nil, nil, err
		}
		l.closed.upTo, l.closed.sums = id, sums
	}
	open = map[string]closedSum{}
	for _, hour := range []time.Time{border, border.Add(time.Hour)} {
		if hour.Before(monthStart) {
			continue
		}
		if err := l.scan(hour.Format(hourLayout), collect(open, func(time.Time) bool { return true })); err != nil {
			return nil, nil, err
		}
	}
	return l.closed.sums, open, nil
}
