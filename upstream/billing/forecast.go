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
	USD, From, To    string
	Reasons          []string
}

// forecastDays is how many full days a forecast looks back at: a week, so that
// every weekday is in it once.
const forecastDays = 7

// Forecast says what the month of now is going to cost each upstream: what there
// is, and for the rest of the month the average of the last full days; between
// the least and the most of them. A UTC day that has just begun says nothing yet
// and is filled up at the average.
func (l *Ledger) Forecast(now time.Time) ([]Forecast, error) {
	now = now.UTC()
	monthStart, monthEnd := Month(now)
	dayStart, _ := Today(now)
	bill, err := l.Bill(monthStart, monthEnd)
	if err != nil {
		return nil, err
	}
	perDay := map[string]map[time.Time]Usage{}
	first := dayStart.AddDate(0, 0, -forecastDays)
	months := []string{monthStart.Format(monthLayout)}
	if before := first.Format(monthLayout); before != months[0] {
		months = append(months, before)
	}
	for _, month := range months {
		err := l.scan(month, func(start time.Time, _ bool, s series, c Counts) {
			day, _ := Today(start)
			if day.Before(first) || !day.Before(dayStart) {
				return
			}
			if perDay[s.upstream] == nil {
				perDay[s.upstream] = map[time.Time]Usage{}
			}
			perDay[s.upstream][day] = perDay[s.upstream][day].Plus(Usage{Messages: c.Units, Minutes: c.Minutes})
		})
		if err != nil {
			return nil, err
		}
	}
	var out []Forecast
	before := shared{}
	for _, t := range bill.Totals {
		out = append(out, l.forecast(t, perDay[t.Upstream], before, now, monthEnd))
	}
	return out, nil
}

func (l *Ledger) forecast(t Total, perDay map[time.Time]Usage, before shared, now, monthEnd time.Time) Forecast {
	f := Forecast{Upstream: t.Upstream, Now: t.Units}
	var units, minutes []int64
	today, _ := Today(now)
	for day := today.AddDate(0, 0, -forecastDays); day.Before(today); day = day.AddDate(0, 0, 1) {
		if u, ok := perDay[day]; ok || len(units) > 0 { // a still day counts, once there was traffic
			units, minutes = append(units, u.Messages), append(minutes, u.Minutes)
		}
	}
	left := monthEnd.Sub(now)
	rest := func(perDay int64) int64 { return int64(float64(perDay) * float64(left) / float64(24*time.Hour)) }
	low, likely, top := bounds(units)
	_, connected, _ := bounds(minutes)
	f.Reasons = append(f.Reasons, fmt.Sprintf("so far this month: %d metered messages, %d minutes of connectivity", t.Units, t.Minutes))
	if len(units) > 0 {
		f.Reasons = append(f.Reasons, fmt.Sprintf("the last %d full days: %d a day on average, %d on the least, %d on the most", len(units), likely, low, top))
	} else {
		dayStart, _ := Today(now)
		monthStart, _ := Month(now)
		since := max(now.Sub(monthStart), time.Hour)
		likely = int64(float64(t.Units) * float64(24*time.Hour) / float64(since))
		connected = int64(float64(t.Minutes) * float64(24*time.Hour) / float64(since))
		low, top = 0, 2*likely
		f.Reasons = append(f.Reasons, fmt.Sprintf("no full day before %s has traffic: the pace of this month so far, from nothing to twice of it", dayStart.Format(time.DateOnly)))
	}
	f.Reasons = append(f.Reasons, fmt.Sprintf("%.1f days are left", float64(left)/float64(24*time.Hour)))
	f.Low, f.Likely, f.Top = t.Units+rest(low), t.Units+rest(likely), t.Units+rest(top)
	list, mine := l.prices[t.Upstream], l.accountOf(t.Upstream)
	if list == nil || t.USD == "" {
		return f
	}
	cost := func(messages int64) Amount {
		a, _ := list.Added(t.Region, l.otherUsage(t.Upstream).Plus(before[mine]), Usage{Messages: messages, Minutes: t.Minutes + rest(connected)}, l.freeTier(t.Upstream))
		return a
	}
	defer before.add(mine, Usage{Messages: f.Likely, Minutes: t.Minutes + rest(connected)})
	f.USD, f.From, f.To = cost(f.Likely).String(), Dollars(known(cost(f.Low).Low)), Dollars(known(cost(f.Top).High))
	f.Reasons = append(f.Reasons, fmt.Sprintf("priced by %s's list of %s, tiers over the whole month; what was estimated from declared rules is not in it", t.Region, list.AsOf))
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
