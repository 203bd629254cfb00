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
	Kind         Kind
	Made         string // of what is Batched: how, see Does
	Sizes        sizes.Histogram
	Days         int   // on which there was some
	Hours        int   // in which there was some
	Answers      int64 // units of the answers over HTTPS

	share         float64 // of what the ledger has at its topic and route; 0: all
	alone         int64   // messages beside it that go alone, and close the open batch of their topic
	device, thing int     // bytes of their names, on average

	ahead     time.Duration // of the last of Hours, what is still to come
	stretches []stretch
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
			by[p] = &Traffic{Route: p.route, Topic: p.prefix, HTTP: p.http, Kind: p.kind, Made: p.made}
		}
		by[p].Sizes.Merge(h)
		by[p].Days++
		return true
	})
	if err != nil {
		return nil, fmt.Errorf("billing: reading the recorded sizes: %w", err)
	}
	hours, err := l.hours(upstream, from, to)
	if err != nil {
		return nil, err
	}
	recorded, requested := map[shelf]int64{}, map[shelf]int64{}
	for p, t := range by {
		n, at := t.Sizes.Messages(), shelf{p.prefix, p.route}
		if recorded[at] += n; p.http {
			requested[at] += n
		}
	}
	for p, t := range by {
		for o, beside := range by {
			if p.kind != Alone && o.kind == Alone && p.route == o.route && p.prefix == o.prefix && t.Sizes.MayShareTopics(&beside.Sizes) {
				t.alone += beside.Sizes.Messages()
			}
		}
		if h := hours[shelf{p.prefix, p.route}]; h != nil {
			t.Hours, t.stretches = len(h.seen), h.stretches
			t.device, t.thing = int(h.device/max(1, h.messages)), int(h.thing/max(1, h.messages))
			at, n := shelf{p.prefix, p.route}, t.Sizes.Messages()
			t.share = float64(n) / float64(max(1, recorded[at]))
			if t.HTTP {
				t.Answers = portion(h.answers, n, requested[at])
			}
			if last := to.Truncate(ledgerHour); last.Before(to) && h.seen[last] {
				t.ahead = last.Add(ledgerHour).Sub(to)
			}
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
		return cmp.Or(cmp.Compare(a.Route, b.Route), cmp.Compare(a.Topic, b.Topic), compareBool(a.HTTP, b.HTTP), cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Made, b.Made))
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

// paced is when a route sent something under a prefix.
type paced struct {
	seen      map[time.Time]bool // hours with some
	stretches []stretch
	answers   int64 // units

	messages, device, thing int64 // and bytes of the names of their devices and things
}

// hours finds the hours in which each route sent something under each prefix, what
// each device did, and the units of the answers.
func (l *Ledger) hours(upstream string, from, to time.Time) (map[shelf]*paced, error) {
	out := map[shelf]*paced{}
	for month, _ := Month(from); month.Before(to); month = month.AddDate(0, 1, 0) {
		err := l.scan(month.Format(monthLayout), func(start time.Time, _ bool, s series, c Counts) {
			if l.part(s.upstream).of != upstream || s.direction != Up || start.Before(from) || !start.Before(to) {
				return
			}
			at := shelf{s.prefix, s.route}
			p := out[at]
			if p == nil {
				p = &paced{seen: map[time.Time]bool{}}
				out[at] = p
			}
			p.answers += c.Answers
			p.messages += c.Messages
			p.device += c.Messages * int64(len(s.device))
			p.thing += c.Messages * int64(len(s.thing))
			if c.Messages > 0 {
				p.seen[start] = true
				p.stretches = append(p.stretches, stretch{s.device, start, c.Messages})
			}
		})
		if err != nil {
			return nil, err
		}
	}
	return out, nil
}

// MeanPayload is the average payload in bytes.
func (t Traffic) MeanPayload() int { return t.mean(func(c sizes.Cell) int64 { return c.Payload }) }

// MeanTopic is the average length of the topics, as they were sent.
func (t Traffic) MeanTopic() int { return t.mean(func(c sizes.Cell) int64 { return c.Topic }) }

func (t Traffic) mean(of func(sizes.Cell) int64) int {
	var bytes, messages int64
	for _, c := range t.Sizes.Cells() {
		bytes += of(c)
		messages += c.Messages
	}
	return int(bytes / max(1, messages))
}
