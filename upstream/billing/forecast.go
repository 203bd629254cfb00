package billing

import (
	"fmt"
	"slices"
	"time"
)

// Forecast is what a month is going to cost, and why.
type Forecast struct {
	Upstream         string
	Now              int64 // metered messages so far
	Low, Likely, Top int64 // at the end of the month
	Unknown          bool  // too little has been seen: there is nothing but Now
	USD, From, To    string
	Reasons          []string
}

// forecastDays is how many full days a forecast looks back at: a week, so that
// every weekday is in it once.
const forecastDays = 7

// forecastLeast is how long there must have been traffic before a month is told
// from it.
const forecastLeast = 3 * time.Hour

// Forecast says what the month of now is going to cost each upstream: what there
// is, and for the rest of the month the average of the last full days; between
// the least and the most of them. A UTC day that has just begun says nothing yet
// and is filled up at the average; nor does the day on which the gateway began, or
// came back after it was off for a day and more, unless it is all there is. What is
// still to come goes to where the upstream is now, and nothing comes of one that has gone.
func (l *Ledger) Forecast(now time.Time) ([]Forecast, error) {
	now = now.UTC()
	monthStart, monthEnd := Month(now)
	dayStart, _ := Today(now)
	bill, err := l.Bill(monthStart, monthEnd)
	if err != nil {
		return nil, err
	}
	recent := map[string]map[time.Time]Usage{} // by upstream and hour
	first := dayStart.AddDate(0, 0, -forecastDays-1)
	months := []string{monthStart.Format(monthLayout)}
	if before := first.Format(monthLayout); before != months[0] {
		months = append(months, before)
	}
	for _, month := range months {
		err := l.scan(month, func(start time.Time, _ bool, s series, c Counts) {
			if start.Before(first) || start.After(now) {
				return
			}
			of := l.part(s.upstream).of
			if recent[of] == nil {
				recent[of] = map[time.Time]Usage{}
			}
			recent[of][start] = recent[of][start].Plus(Usage{Messages: c.Units, Minutes: c.Minutes})
		})
		if err != nil {
			return nil, err
		}
	}
	var out []Forecast
	before := shared{}
	for all := bill.Totals; len(all) > 0; { // those of an upstream stand together, where it is now first
		n := slices.IndexFunc(all, func(t Total) bool { return t.Name() != all[0].Name() })
		if n < 0 {
			n = len(all)
		}
		out = append(out, l.forecast(all[:n], lately(recent[all[0].Name()], now), before, now, monthEnd))
		all = all[n:]
	}
	return out, nil
}

// past is what an upstream did in the days that a forecast looks back at.
type past struct {
	full  []Usage       // by the day: those that tell what a day is like
	since time.Duration // that is how long, of this month, there is something without a day off between
	usage Usage         // in that time
}

// lately looks at the hours in which there was something. A day without any is one on
// which the gateway was off: of one that is on its connection's minutes are there.
// The day after one like that is a full one only when it has its first hour.
func lately(hours map[time.Time]Usage, now time.Time) (p past) {
	days, begins := map[time.Time]Usage{}, map[time.Time]time.Time{}
	for hour, u := range hours {
		day, _ := Today(hour)
		days[day] = days[day].Plus(u)
		if b, ok := begins[day]; !ok || hour.Before(b) {
			begins[day] = hour
		}
	}
	today, _ := Today(now)
	back := time.Time{} // when it came back, or began
	for day := today.AddDate(0, 0, -forecastDays); !day.After(today); day = day.AddDate(0, 0, 1) {
		began, on := begins[day]
		_, before := begins[day.AddDate(0, 0, -1)]
		if on && !before {
			back = began
		}
		switch {
		case day.Equal(today) || on && !before && began.After(day): // it is not a full one
		case on || len(p.full) > 0: // a still day counts, once there was traffic
			p.full = append(p.full, days[day])
		}
	}
	if back.IsZero() {
		return p
	}
	if monthStart, _ := Month(now); back.Before(monthStart) { // before that is another month's
		back = monthStart
	}
	p.since = now.Sub(back)
	for hour, u := range hours {
		if !hour.Before(back) {
			p.usage = p.usage.Plus(u)
		}
	}
	return p
}

// forecast is that of an upstream with its totals by place: all goes on in the first.
func (l *Ledger) forecast(all []Total, p past, before shared, now, monthEnd time.Time) Forecast {
	t, sofar := all[0], Counts{}
	for i := range all {
		sofar.add(all[i].Counts)
	}
	f := Forecast{Upstream: t.Name(), Now: sofar.Units}
	var units, minutes []int64
	for _, u := range p.full {
		units, minutes = append(units, u.Messages), append(minutes, u.Minutes)
	}
	left := monthEnd.Sub(now)
	rest := func(perDay int64) int64 { return int64(float64(perDay) * float64(left) / float64(24*time.Hour)) }
	low, likely, top := bounds(units)
	_, connected, _ := bounds(minutes)
	f.Reasons = append(f.Reasons, fmt.Sprintf("so far this month: %d metered messages, %d minutes of connectivity", sofar.Units, sofar.Minutes))
	switch {
	case t.Gone:
		low, likely, top, connected = 0, 0, 0, 0
		f.Reasons = append(f.Reasons, "the configuration has no such upstream any more: nothing more is to come")
	case len(units) > 0:
		f.Reasons = append(f.Reasons, fmt.Sprintf("the last %d full days: %d a day on average, %d on the least, %d on the most", len(units), likely, low, top))
	case p.since == 0 && sofar.Units > 0:
		monthStart, _ := Month(now)
		top = Usage{Messages: sofar.Units}.scaled(24*time.Hour, max(now.Sub(monthStart), forecastLeast)).Messages
		f.Reasons = append(f.Reasons, fmt.Sprintf("nothing in the last %d days, nor today: from nothing more to the average of the month so far, %d a day", forecastDays, top))
	default:
		if p.since < forecastLeast {
			f.Low, f.Likely, f.Top = sofar.Units, sofar.Units, sofar.Units
			f.Unknown = true
			f.Reasons = append(f.Reasons, fmt.Sprintf("too early to tell more: no full day has traffic yet, and it takes %d hours of this one", forecastLeast/time.Hour))
			return f
		}
		pace := p.usage.scaled(24*time.Hour, p.since)
		likely, connected = pace.Messages, pace.Minutes
		low, top = 0, 2*likely
		f.Reasons = append(f.Reasons, fmt.Sprintf("no full day has traffic: the pace of the last %.0f hours, since there is some, from nothing to twice of it", p.since.Hours()))
	}
	f.Reasons = append(f.Reasons, fmt.Sprintf("%.1f days are left", float64(left)/float64(24*time.Hour)))
	f.Low, f.Likely, f.Top = sofar.Units+rest(low), sofar.Units+rest(likely), sofar.Units+rest(top)
	cost := func(t *Total, messages, minutes int64) Amount {
		list, mine := l.part(t.Upstream).prices, l.accountOf(t.Upstream)
		a, _ := list.Added(t.Region, l.otherUsage(t.Upstream).Plus(before[mine]), Usage{Messages: messages, Minutes: minutes}, l.freeTier(t.Upstream, before))
		return a
	}
	var likelyUSD, least, most Amount
	priced := t.USD != ""
	if priced {
		end := t.Minutes + rest(connected)
		// By the other reading of "5 KB" there are more, or less: of what is here as many as
		// were counted, of what is to come as there were so far in all places.
		both := func(rest int64) Amount {
			n := t.Units + rest
			return cost(&t, n, end).Spanning(cost(&t, n+t.Other+portion(sofar.Other, rest, sofar.Units), end))
		}
		likelyUSD, least, most = cost(&t, t.Units+rest(likely), end), both(rest(low)), both(rest(top))
	}
	before.add(l.accountOf(t.Upstream), Usage{Messages: t.Units + rest(likely), Minutes: t.Minutes + rest(connected)})
	for i := range all[1:] {
		was := &all[1+i]
		if was.USD == "" {
			f.Reasons = append(f.Reasons, fmt.Sprintf("%d of the messages are those of %s, which has no prices", was.Units, was.Upstream))
			continue
		}
		a := cost(was, was.Units, was.Minutes)
		why := fmt.Sprintf("%d of the messages are those of %s, at its prices: $%s", was.Units, was.Upstream, a)
		if t.USD != "" && !t.Gone {
			why += "; what is to come has those of " + t.Region
		}
		f.Reasons = append(f.Reasons, why)
		priced, a = true, a.Spanning(cost(was, was.Units+was.Other, was.Minutes))
		likelyUSD, least, most = likelyUSD.Plus(a), least.Plus(a), most.Plus(a)
		before.add(l.accountOf(was.Upstream), Usage{Messages: was.Units, Minutes: was.Minutes})
	}
	if !priced {
		return f
	}
	f.USD, f.From, f.To = likelyUSD.String(), Dollars(known(least.Low)), Dollars(known(most.High))
	if t.USD == "" {
		if n := t.Units + rest(likely); n > 0 {
			f.Reasons = append(f.Reasons, fmt.Sprintf("the %d of %s are not in the dollars: it has no prices", n, t.Upstream))
		}
		return f
	}
	f.Reasons = append(f.Reasons, fmt.Sprintf("priced by %s's list of %s, tiers over the whole month; what was estimated from declared rules is not in it", t.Region, l.part(t.Upstream).prices.AsOf))
	return f
}

// bounds are the least, the average and the most of some figures.
func bounds(all []int64) (low, mean, top int64) {
	if len(all) == 0 {
		return 0, 0, 0
	}
	for _, n := range all {
		mean += n
	}
	return slices.Min(all), mean / int64(len(all)), slices.Max(all)
}
