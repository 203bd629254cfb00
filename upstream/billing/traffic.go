package billing

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/ebbgate/ebbgate/upstream/billing/sizes"
)

// Traffic is what one route sent under one topic prefix, as it was recorded.
type Traffic struct {
	Route, Topic string // Topic is a prefix
	Sizes        sizes.Histogram
	Days         int // on which there was some
	Hours        int // in which there was some
}

// Traffic reads the sizes that were recorded of an upstream on the days from
// (inclusive) to to (exclusive), by route and topic prefix.
func (l *Ledger) Traffic(upstream string, from, to time.Time) ([]Traffic, error) {
	from, _ = Today(from)
	by := map[shelf]*Traffic{}
	err := l.spool.Scan(SizesNamespace, "", func(key string, value []byte) bool {
		day, s, ok := parseSizesKey(key)
		if !ok || s.upstream != upstream || day.Before(from) || !day.Before(to) {
			return true
		}
		h, err := sizes.Decode(value)
		if err != nil {
			return true // damaged: the bill does not hang on it
		}
		id := shelf{s.prefix, s.route}
		if by[id] == nil {
			by[id] = &Traffic{Route: s.route, Topic: s.prefix}
		}
		by[id].Sizes.Merge(h)
		by[id].Days++
		return true
	})
	if err != nil {
		return nil, fmt.Errorf("billing: reading the recorded sizes: %w", err)
	}
	hours, err := l.hours(upstream, from, to)
	if err != nil {
		return nil, err
	}
	for id, t := range by {
		t.Hours = hours[id]
		if t.Hours == 0 { // they are told by days only, by now
			t.Hours = 24 * t.Days
		}
	}
	out := make([]Traffic, 0, len(by))
	for _, t := range by {
		out = append(out, *t)
	}
	slices.SortFunc(out, func(a, b Traffic) int { return cmp.Or(cmp.Compare(a.Route, b.Route), cmp.Compare(a.Topic, b.Topic)) })
	return out, nil
}

// hours counts the hours in which each route sent something under each prefix.
func (l *Ledger) hours(upstream string, from, to time.Time) (map[shelf]int, error) {
	type hour struct {
		shelf
		start time.Time
	}
	seen, count := map[hour]bool{}, map[shelf]int{}
	for month, _ := Month(from); month.Before(to); month = month.AddDate(0, 1, 0) {
		err := l.scan(month.Format(monthLayout), func(start time.Time, _ bool, s series, c Counts) {
			at := hour{shelf{s.prefix, s.route}, start}
			if s.upstream == upstream && s.direction == Up && c.Messages > 0 && !start.Before(from) && start.Before(to) && !seen[at] {
				seen[at] = true
				count[at.shelf]++
			}
		})
		if err != nil {
			return nil, err
		}
	}
	return count, nil
}

// MeanPayload is the average payload in bytes.
func (t Traffic) MeanPayload() int {
	var bytes, messages int64
	for _, c := range t.Sizes.Cells() {
		bytes += c.Payload
		messages += c.Messages
	}
	return int(bytes / max(1, messages))
}
