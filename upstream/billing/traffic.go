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
	HTTP         bool   // over HTTPS: topics were not metered, and answers were (M18)
	Sizes        sizes.Histogram
	Days         int   // on which there was some
	Hours        int   // in which there was some
	Answers      int64 // units of the answers over HTTPS
}

// Traffic reads the sizes that were recorded of an upstream on the days from
// (inclusive) to to (exclusive), by route and topic prefix.
func (l *Ledger) Traffic(upstream string, from, to time.Time) ([]Traffic, error) {
	from, _ = Today(from)
	by := map[pile]*Traffic{}
	err := l.spool.Scan(SizesNamespace, "", func(key string, value []byte) bool {
		day, p, ok := parseSizesKey(key)
		if !ok || p.upstream != upstream || day.Before(from) || !day.Before(to) {
			return true
		}
		h, err := sizes.Decode(value)
		if err != nil {
			return true // damaged: the bill does not hang on it
		}
		if by[p] == nil {
			by[p] = &Traffic{Route: p.route, Topic: p.prefix, HTTP: p.http}
		}
		by[p].Sizes.Merge(h)
		by[p].Days++
		return true
	})
	if err != nil {
		return nil, fmt.Errorf("billing: reading the recorded sizes: %w", err)
	}
	hours, answers, err := l.hours(upstream, from, to)
	if err != nil {
		return nil, err
	}
	for p, t := range by {
		t.Hours = hours[shelf{p.prefix, p.route}]
		if t.HTTP {
			t.Answers = answers[shelf{p.prefix, p.route}]
		}
		if t.Hours == 0 { // they are told by days only, by now
			t.Hours = 24 * t.Days
		}
	}
	out := make([]Traffic, 0, len(by))
	for _, t := range by {
		out = append(out, *t)
	}
	slices.SortFunc(out, func(a, b Traffic) int {
		return cmp.Or(cmp.Compare(a.Route, b.Route), cmp.Compare(a.Topic, b.Topic), compareBool(a.HTTP, b.HTTP))
	})
	return out, nil
}

func compareBool(a, b bool) int {
	switch {
	case a == b:
		return 0
	case a:
		return 1
	}
	return -1
}

// hours counts the hours in which each route sent something under each prefix, and
// the units of the answers.
func (l *Ledger) hours(upstream string, from, to time.Time) (count map[shelf]int, answers map[shelf]int64, err error) {
	type hour struct {
		shelf
		start time.Time
	}
	seen := map[hour]bool{}
	count, answers = map[shelf]int{}, map[shelf]int64{}
	for month, _ := Month(from); month.Before(to); month = month.AddDate(0, 1, 0) {
		err := l.scan(month.Format(monthLayout), func(start time.Time, _ bool, s series, c Counts) {
			if s.upstream != upstream || s.direction != Up || start.Before(from) || !start.Before(to) {
				return
			}
			at := hour{shelf{s.prefix, s.route}, start}
			answers[at.shelf] += c.Answers
			if c.Messages > 0 && !seen[at] {
				seen[at] = true
				count[at.shelf]++
			}
		})
		if err != nil {
			return nil, nil, err
		}
	}
	return count, answers, nil
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
