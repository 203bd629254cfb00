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
	out := make([]Traffic, 0, len(by))
	for _, t := range by {
		out = append(out, *t)
	}
	slices.SortFunc(out, func(a, b Traffic) int { return cmp.Or(cmp.Compare(a.Route, b.Route), cmp.Compare(a.Topic, b.Topic)) })
	return out, nil
}
