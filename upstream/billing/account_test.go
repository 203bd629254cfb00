package billing

import (
	"math/big"
	"testing"
	"time"

	"github.com/ebbgate/ebbgate/bridge"
)

// M28: tiers and free tier are the account's, whichever of its upstreams uses them
// up: together they cost what one would.
func TestUpstreamsOfOneAccountShareItsTiers(t *testing.T) {
	const units = 600_000_000
	day := time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)
	options := func(account string, free bool) Options {
		o := DefaultOptions()
		o.Region, o.Account, o.FreeTier = "us-east-1", account, free
		return o
	}
	for _, c := range []struct {
		name string
		of   map[string]Options
		each map[string]string // this month
	}{
		{"one account", map[string]Options{"a": options("1", false), "b": options("1", false)},
			map[string]string{"a": "600.000000", "b": "560.000000"}}, // the 401 millionth of b costs 0.80
		{"two accounts", map[string]Options{"a": options("1", false), "b": options("2", false)},
			map[string]string{"a": "600.000000", "b": "600.000000"}},
		{"the free tier is there once", map[string]Options{"a": options("", true), "b": options("", true)},
			map[string]string{"a": "599.500000", "b": "560.100000"}},
		{"what else is used is said twice and counts once", map[string]Options{"a": withOther(options("1", false)), "b": withOther(options("1", false))},
			map[string]string{"a": "480.000000", "b": "480.000000"}},
	} {
		spool := newMemory()
		for name := range c.of {
			for _, at := range []time.Time{day, day.AddDate(0, 0, -1)} { // a half today, a half yesterday
				var b bridge.Batch
				s := series{upstream: name, direction: Up, device: "pump", prefix: "dt/a"}
				b.Add(Namespace, s.key(hourOf(at, true))+string(kindUnits), units/2)
				spool.Commit(&b, nil)
			}
		}
		l := newLedger(t, spool, c.of)
		bill, err := l.Bill(Month(day))
		if err != nil {
			t.Fatal(err)
		}
		today, err := l.Bill(Today(day))
		if err != nil {
			t.Fatal(err)
		}
		short, err := l.Totals(day, func(string) int64 { return 0 })
		if err != nil {
			t.Fatal(err)
		}
		for i, total := range bill.Totals {
			if total.USD != c.each[total.Upstream] || Dollars(short[total.Upstream].USDMonth) != total.USD {
				t.Errorf("%s: %s costs $%s a month and in short $%s, want $%s", c.name, total.Upstream, total.USD, Dollars(short[total.Upstream].USDMonth), c.each[total.Upstream])
			}
			if have := today.Totals[i].USD; Dollars(short[total.Upstream].USDToday) != have {
				t.Errorf("%s: %s costs $%s today and in short $%s", c.name, total.Upstream, have, Dollars(short[total.Upstream].USDToday))
			}
		}
		yesterday, err := l.Bill(Today(day.AddDate(0, 0, -1)))
		if err != nil {
			t.Fatal(err)
		}
		days, month := new(big.Rat), new(big.Rat)
		for i := range bill.Totals {
			days.Add(days, rat(t, today.Totals[i].USD)).Add(days, rat(t, yesterday.Totals[i].USD))
			month.Add(month, rat(t, bill.Totals[i].USD))
		}
		if days.Cmp(month) != 0 {
			t.Errorf("%s: the days cost $%s, the month $%s", c.name, Dollars(days), Dollars(month))
		}
		forecasts, err := l.Forecast(time.Date(2026, 11, 30, 23, 59, 59, 999_999_999, time.UTC))
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range forecasts {
			if off := new(big.Rat).Sub(rat(t, f.USD), rat(t, c.each[f.Upstream])); off.Abs(off).Cmp(big.NewRat(1, 100)) > 0 {
				t.Errorf("%s: the last moment of the month forecasts $%s for %s, want $%s", c.name, f.USD, f.Upstream, c.each[f.Upstream])
			}
		}
	}
}

func rat(t *testing.T, usd string) *big.Rat {
	t.Helper()
	r, ok := new(big.Rat).SetString(usd)
	if !ok {
		t.Fatalf("%q is no amount", usd)
	}
	return r
}

func withOther(o Options) Options {
	o.OtherUsage.Messages = 1_000_000_000
	return o
}
