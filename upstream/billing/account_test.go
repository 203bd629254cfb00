package billing

import (
	"math/big"
	"slices"
	"strings"
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
		short, err := l.Totals(day, func(string) Pace { return Pace{} })
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

// AWS's free tier is one for all regions of an account but GovCloud: what one region
// has used of it the others do not have.
func TestTheFreeTierIsOneForAllRegions(t *testing.T) {
	day := time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)
	in := func(region, account string) Options {
		o := DefaultOptions()
		o.Region, o.Account, o.FreeTier = region, account, region == "us-east-1"
		return o
	}
	told := in("us-east-1", "1")
	told.OtherUsage.Messages = 200_000
	for _, c := range []struct {
		name string
		of   map[string]Options
		want map[string]string // a month of 300,000 messages of each
	}{
		{"two regions", map[string]Options{"a": in("us-east-1", "1"), "b": in("eu-central-1", "1")}, map[string]string{"a": "0.000000", "b": "0.120000"}},
		{"two accounts", map[string]Options{"a": in("us-east-1", "1"), "b": in("eu-central-1", "2")}, map[string]string{"a": "0.000000", "b": "0.360000"}},
		{"what else is used there", map[string]Options{"a": told, "b": in("eu-central-1", "1")}, map[string]string{"a": "0.000000", "b": "0.360000"}},
		{"none is left", map[string]Options{"a": in("us-east-1", "1"), "b": in("us-west-2", "1"), "c": in("eu-central-1", "1")},
			map[string]string{"a": "0.000000", "b": "0.100000", "c": "0.360000"}},
	} {
		spool := newMemory()
		for name := range c.of {
			for n, at := range []time.Time{day.AddDate(0, 0, -1), day} { // a third yesterday
				spool.counters[series{upstream: name, direction: Up, device: "pump", prefix: "dt/a"}.key(hourOf(at, true))+string(kindUnits)] = int64(100_000 * (n + 1))
			}
		}
		l := newLedger(t, spool, c.of)
		month, err := l.Bill(Month(day))
		if err != nil {
			t.Fatal(err)
		}
		short, err := l.Totals(day, func(string) Pace { return Pace{} })
		if err != nil {
			t.Fatal(err)
		}
		paid, days := new(big.Rat), new(big.Rat)
		for _, total := range month.Totals {
			if total.USD != c.want[total.Upstream] || Dollars(short[total.Upstream].USDMonth) != total.USD {
				t.Errorf("%s: %s costs $%s, and in short $%s, want $%s", c.name, total.Upstream, total.USD, Dollars(short[total.Upstream].USDMonth), c.want[total.Upstream])
			}
			paid.Add(paid, rat(t, total.USD))
		}
		for _, at := range []time.Time{day.AddDate(0, 0, -1), day} {
			b, err := l.Bill(Today(at))
			if err != nil {
				t.Fatal(err)
			}
			for _, total := range b.Totals {
				days.Add(days, rat(t, total.USD))
			}
		}
		// Which region's messages are the free ones nobody says: at most they are those
		// of the dearest.
		if off := new(big.Rat).Sub(days, paid); off.Abs(off).Cmp(big.NewRat(1, 10)) > 0 {
			t.Errorf("%s: the days cost $%s, the month $%s", c.name, Dollars(days), Dollars(paid))
		}
	}
}

func TestGovCloudHasNoFreeTier(t *testing.T) {
	if a := (account{region: "us-gov-west-1"}); a.hasFree() {
		t.Error("GovCloud has one")
	}
	l := newLedger(t, newMemory(), map[string]Options{"gov": {Region: "us-gov-west-1", FreeTier: true}, "a": {Region: "us-east-1", FreeTier: true}})
	if got := l.freeTier("gov"); got != (Usage{}) {
		t.Errorf("%+v", got)
	}
	used := shared{account{region: "us-gov-west-1"}: {Messages: 400_000}}
	if got := l.freeTier("a", used); got.Messages != 500_000 {
		t.Errorf("%+v is left of it beside GovCloud, want all", got)
	}
}

// What is declared is paid after all that is metered: the days' estimates are the
// month's, and the free rules of an account are there once.
func TestEstimatesOfDaysAreThoseOfTheMonth(t *testing.T) {
	day := time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)
	o := DefaultOptions()
	o.Region, o.FreeTier = "us-east-1", true
	o.DeclaredRules = []DeclaredRule{{Topic: "dt/#", Rules: 1, Actions: 1, Subscribers: 1, QoS: "0"}}
	spool := newMemory()
	for _, name := range []string{"a", "b"} {
		for n := range 5 {
			spool.counters[series{upstream: name, direction: Up, device: "pump", prefix: "dt/a"}.key(hourOf(day.AddDate(0, 0, -n), true))+string(kindUnits)] = 100_000
		}
	}
	l := newLedger(t, spool, map[string]Options{"a": o, "b": o})
	estimates := func(from, to time.Time) *big.Rat {
		b, err := l.Bill(from, to)
		if err != nil {
			t.Fatal(err)
		}
		all := new(big.Rat)
		for i, total := range b.Totals {
			all.Add(all, total.estimated.Rat())
			lines := new(big.Rat)
			for _, n := range b.Lines {
				if n.Upstream == total.Upstream {
					lines.Add(lines, n.estimate)
				}
			}
			if lines.Cmp(total.estimated.Rat()) != 0 {
				t.Errorf("%s of %s: the lines' estimates are $%s, the total $%s", b.Totals[i].Upstream, b.From, Dollars(lines), total.Estimated)
			}
		}
		return all
	}
	days := new(big.Rat)
	for n := range 5 {
		days.Add(days, estimates(Today(day.AddDate(0, 0, -n))))
	}
	// A million messages metered and one delivered, half a million of them free (the
	// metered ones first); 1,000,000 rules and actions, 250,000 free of each.
	month := estimates(Month(day))
	if want := "1.225000"; Dollars(month) != want || Dollars(days) != want {
		t.Errorf("the month $%s, its days $%s, want $%s", Dollars(month), Dollars(days), want)
	}
}

// What is free or used up is the account's: the explanation tells it of every
// upstream, whichever of them says it.
func TestExplainTellsWhatTheAccountHas(t *testing.T) {
	spool := newMemory()
	write(spool, "2026112000", "pump", 10)
	here, there := frankfurt(), withOther(frankfurt())
	there.FreeTier = true
	l := newLedger(t, spool, map[string]Options{"aws": here, "other": there})
	bill, err := l.Bill(Month(time.Date(2026, 11, 20, 0, 0, 0, 0, time.UTC)))
	if err != nil {
		t.Fatal(err)
	}
	steps, err := l.Explain(bill, "aws", bill.Lines)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"the first 500000 messages and 2250000 minutes", "after 1000000000 messages"} {
		if !slices.ContainsFunc(steps, func(s Step) bool { return strings.Contains(s.Text, want) }) {
			t.Errorf("no %q in %+v", want, steps)
		}
	}
}
