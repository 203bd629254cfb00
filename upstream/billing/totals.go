package billing

import (
	"fmt"
	"maps"
	"math/big"
	"sync"
	"time"
)

// Totals is the short bill of one upstream, wherever it was, cheap enough for a status page.
type Totals struct {
	UnitsToday     int64
	UncertainToday int64
	UnitsMonth     int64
	USDToday       *big.Rat
	USDMonth       *big.Rat
	Projected      Projection
	Gone           bool // the configuration has no such upstream any more
}

// Projection is what a month of 30 days costs at the pace of the last hour.
type Projection struct {
	Window         time.Duration // that was seen
	Why            string        // there is none, when it is not empty
	USD, Low, High *big.Rat      // from the quietest and the busiest sixth of the window, and what is uncertain of the prices
}

// closedHours remembers the sums of the hours that no longer change, so that a
// status page reads two hours and not a month.
type closedHours struct {
	mu   sync.Mutex
	upTo string // hours before this one are in; empty: nothing
	move string // how often hours had been put right
	sums map[string]closedSum
}

type closedSum struct {
	day, dayUncertain, month, dayMinutes, minutes int64

	earlier Usage // of the month, before the day
}

// Totals sums today and this month, and projects the pace ([Meter.Pace]) to a
// month.
func (l *Ledger) Totals(now time.Time, pace func(upstream string) Pace) (map[string]Totals, error) {
	closed, open, err := l.upToHour(now.UTC())
	if err != nil {
		return nil, err
	}
	out := map[string]Totals{}
	before, earlier, ahead := shared{}, shared{}, shared{} // in the month by those of the account before it; before today by all of them; projected
	for _, name := range l.parts.names {
		c, live := closed[name], open[name]
		earlier.add(l.accountOf(name), c.earlier.Plus(live.earlier))
	}
	today := maps.Clone(earlier)
	for _, name := range l.parts.names {
		part, mine, c, live := l.part(name), l.accountOf(name), closed[name], open[name]
		t, seen := out[part.of]
		day := Usage{Messages: c.day + live.day, Minutes: c.dayMinutes + live.dayMinutes}
		month := Usage{Messages: c.month + live.month, Minutes: c.minutes + live.minutes}
		if part.gone && !seen && month == (Usage{}) && c.dayUncertain+live.dayUncertain == 0 {
			continue
		}
		t.Gone = part.gone
		t.UnitsToday, t.UnitsMonth = t.UnitsToday+day.Messages, t.UnitsMonth+month.Messages
		t.UncertainToday += c.dayUncertain + live.dayUncertain
		cost := func(after shared, u Usage) Amount {
			a, _ := part.prices.Added(part.options.Region, l.otherUsage(name).Plus(after[mine]), u, l.freeTier(name, after))
			return a
		}
		t.USDMonth = sum(t.USDMonth, cost(before, month).Rat())
		before.add(mine, month)
		t.USDToday = sum(t.USDToday, cost(today, day).Rat())
		today.add(mine, day)
		if part.now {
			p := pace(name)
			likely := func(units int64) Usage {
				return Usage{Messages: p.in(units, monthOf), Minutes: p.in(p.Minutes, monthOf)}
			}
			t.Projected.Window = p.Window
			t.Projected.Why, _ = p.Enough()
			t.Projected.USD = cost(ahead, likely(p.Units)).Rat()
			t.Projected.Low, t.Projected.High = known(cost(ahead, likely(p.Low)).Low), known(cost(ahead, likely(p.High)).High)
			ahead.add(mine, likely(p.Units))
		}
		out[part.of] = t
	}
	return out, nil
}

// upToHour splits this month: the previous and the present hour from the spool (a
// commit may come late), all others from memory.
func (l *Ledger) upToHour(now time.Time) (before, open map[string]closedSum, err error) {
	monthStart, _ := Month(now)
	dayStart, dayEnd := Today(now)
	border := now.Truncate(time.Hour).Add(-time.Hour)
	// What a clock that ran ahead has told of is in the month as well, as in the bill.
	closed := func(start time.Time) bool { return start.Before(border) || start.After(now) }
	collect := func(into map[string]closedSum, want func(time.Time) bool) func(time.Time, bool, series, Counts) {
		return func(start time.Time, _ bool, s series, c Counts) {
			if !want(start) {
				return
			}
			sum := into[s.upstream]
			sum.month += c.Units
			sum.minutes += c.Minutes
			switch {
			case start.Before(dayStart):
				sum.earlier = sum.earlier.Plus(Usage{Messages: c.Units, Minutes: c.Minutes})
			case start.Before(dayEnd):
				sum.day += c.Units
				sum.dayUncertain += c.Uncertain
				sum.dayMinutes += c.Minutes
			}
			into[s.upstream] = sum
		}
	}
	l.closed.mu.Lock()
	defer l.closed.mu.Unlock()
	moves := ""
	if err := l.spool.Scan(Namespace, keyMoves, func(_ string, n []byte) bool { moves = string(n); return false }); err != nil {
		return nil, nil, fmt.Errorf("billing: reading the ledger: %w", err)
	}
	if id := now.Format(hourLayout); l.closed.upTo != id || l.closed.move != moves {
		sums := map[string]closedSum{}
		if err := l.scan(monthStart.Format(monthLayout), collect(sums, closed)); err != nil {
			return nil, nil, err
		}
		l.closed.upTo, l.closed.move, l.closed.sums = id, moves, sums
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
