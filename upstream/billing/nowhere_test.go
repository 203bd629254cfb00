package billing

import (
	"slices"
	"strings"
	"testing"
	"time"
)

// Of a place without prices nothing is in the dollars of a forecast, and what other places
// have is; a report that has more than the ledger may have what was sent from there.
func TestAPlaceWithoutARegion(t *testing.T) {
	const units = 1_000_000
	nowhere, there := in("", ""), in("us-east-1", "")
	nowhere.Endpoint, there.Endpoint = "10.0.0.1:8883", "x.iot.us-east-1.amazonaws.com:8883"
	for _, c := range []struct {
		name   string
		first  Options
		now    map[string]Options // nil: the second of the two
		reason string
		cause  string
	}{
		{"left", nowhere, nil, "1000000 of the messages are those of aws (no region), which has no prices", "up to 1000000: what aws (no region) has sent: should it have been billed here, set billing.past: as_now"},
		{"where it is", there, nil, "1000000 of the messages are those of aws (us-east-1), at its prices: $1.000000\n", ""},
		{"gone", nowhere, map[string]Options{}, "1000000 of the messages are those of aws (us-east-1), at its prices: $1.000000\nthe 1000000 of aws (no region) are not in the dollars: it has no prices",
			"up to 1000000: what aws (no region) has sent, which the configuration does not have any more: put it back, with its region, to compare it"},
	} {
		t.Run(c.name, func(t *testing.T) {
			spool, clock := newMemory(), &wallClock{}
			second := there
			if c.first.Region != "" {
				second = nowhere
			}
			clock.set("2026-11-10 10:00")
			give(started(t, spool, clock, map[string]Options{"aws": c.first}), spool, "aws", units)
			clock.set("2026-11-20 10:00")
			give(started(t, spool, clock, map[string]Options{"aws": second}), spool, "aws", units)
			now := c.now
			if now == nil {
				now = map[string]Options{"aws": second}
			}
			l := newLedger(t, spool, now)
			f, err := l.Forecast(time.Date(2026, 12, 1, 0, 0, 0, -1, time.UTC))
			if err != nil || len(f) != 1 || f[0].Likely != 2*units || f[0].USD != "1.000000" {
				t.Fatalf("%+v, %v", f, err)
			}
			if all := strings.Join(f[0].Reasons, "\n") + "\n"; !strings.Contains(all, c.reason) {
				t.Errorf("%s, want %s", all, c.reason)
			}
			if c.cause == "" {
				return
			}
			all, err := l.Reconcile(report(t, "Usage,2026-11-01T00:00:00Z,2026-11-21T00:00:00Z,AWSIoT,1,USE1-Messages,2000000,2"))
			if err != nil || len(all) == 0 || !slices.Equal(all[0].Causes, []string{c.cause}) {
				t.Errorf("%+v, %v", all, err)
			}
		})
	}
}

// At a month's end its forecast has the range of the bill: what a place has by the other
// reading of "5 KB" is its own.
func TestTheRangeOfAForecastAfterAMove(t *testing.T) {
	const units, more = 100_000_000, 20_000_000
	for _, c := range []struct {
		name        string
		left, there int64  // more by the other reading
		to          string // $
	}{
		{"in the place of today", 0, more, "244.000000"}, // 100 M × $1.00 and 120 M × $1.20
		{"in the place that was left", more, 0, "240.000000"},
		{"in both", more, more, "264.000000"},
	} {
		spool, clock := newMemory(), &wallClock{}
		var of map[string]Options
		for i, s := range []struct {
			at, region string
			more       int64
		}{{"2026-11-10 10:00", "us-east-1", c.left}, {"2026-11-20 10:00", "eu-central-1", c.there}} {
			clock.set(s.at)
			of = map[string]Options{"aws": in(s.region, "")}
			give(started(t, spool, clock, of), spool, "aws", units)
			at := series{upstream: placed("aws", i), direction: Up, device: "pump", prefix: "dt/a"}.key(hourOf(clock.Wall, true))
			spool.counters[at+string(kindOther)] = s.more
		}
		f, err := newLedger(t, spool, of).Forecast(time.Date(2026, 12, 1, 0, 0, 0, -1, time.UTC))
		if err != nil || len(f) != 1 || f[0].USD != "220.000000" || f[0].From != "220.000000" || f[0].To != c.to {
			t.Errorf("%s: %+v, want to $%s, %v", c.name, f, c.to, err)
		}
	}
}
