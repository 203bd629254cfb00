package billing

import (
	"fmt"
	"testing"
	"time"
)

// What a status page says of today and the month is what the bill says: minutes as
// messages, beyond the free tier, of all upstreams of an account one after the other, of
// hours that a clock told which ran ahead, and of what comes late to the hour before.
func TestTotalsAreThoseOfTheBill(t *testing.T) {
	spool := newMemory()
	put := func(upstream, hour, device string, kind byte, n int64) {
		spool.counters[series{upstream: upstream, direction: Up, device: device, prefix: "dt/a"}.key(hour)+string(kind)] += n
	}
	for _, c := range []struct {
		upstream, hour            string
		units, uncertain, minutes int64
	}{
		{"a", "2026111905", 300_000, 50, 300_000},
		{"b", "2026111905", 100_000, 0, 100_000},
		{"a", "2026112005", 50_000, 3, 200_000},
		{"b", "2026112011", 10_000, 0, 100_000},
		{"a", "2026112012", 40_000, 4, 100_000},
		{"b", "2026112013", 20_000, 1, 300_000},
		{"a", "~2026112015", 7_000, 5, 50_000}, // ahead
		{"a", "~2026112104", 9_000, 6, 60_000},
	} {
		for device, part := range map[string]int64{"pump": 2, "fan": 1} {
			put(c.upstream, c.hour, device, kindUnits, c.units*part)
			put(c.upstream, c.hour, device, kindUncertain, c.uncertain*part)
			put(c.upstream, c.hour, device, kindMinutes, c.minutes*part)
		}
	}
	free := in("us-east-1", "1")
	free.FreeTier = true
	l := newLedger(t, spool, map[string]Options{"a": free, "b": in("us-east-1", "1")})
	now := time.Date(2026, 11, 20, 13, 10, 0, 0, time.UTC)
	check := func(when string) {
		t.Helper()
		short, err := l.Totals(now, func(string) Pace { return Pace{} })
		if err != nil {
			t.Fatal(err)
		}
		today, err := l.Bill(Today(now))
		if err != nil {
			t.Fatal(err)
		}
		month, err := l.Bill(Month(now))
		if err != nil {
			t.Fatal(err)
		}
		for i, name := range []string{"a", "b"} {
			s, day, all := short[name], today.Totals[i], month.Totals[i]
			got := fmt.Sprintf("%d+%d $%s, %d $%s", s.UnitsToday, s.UncertainToday, Dollars(s.USDToday), s.UnitsMonth, Dollars(s.USDMonth))
			if want := fmt.Sprintf("%d+%d $%s, %d $%s", day.Units, day.Uncertain, day.USD, all.Units, all.USD); got != want || day.Upstream != name {
				t.Errorf("%s, %s: in short %s, on the bill %s", when, name, got, want)
			}
		}
	}
	check("at first")
	put("b", "2026112012", "pump", kindUnits, 1000) // what was committed late
	put("b", "2026112013", "pump", kindMinutes, 500)
	check("a moment later")
	now = now.Add(time.Hour)
	check("in the next hour")
}

// Projections of one account's upstreams come after each other in its tiers, and the
// bounds of each are those of its prices, too.
func TestProjectionsOfOneAccount(t *testing.T) {
	const unverified = "ap-southeast-1"
	l := newLedger(t, newMemory(), map[string]Options{"a": in("us-east-1", "1"), "b": in("us-east-1", "1"), "c": in(unverified, "1")})
	got, err := l.Totals(time.Date(2026, 11, 20, 13, 10, 0, 0, time.UTC), func(string) Pace {
		return Pace{Window: time.Hour, Units: 1_000_000, Low: 500_000, High: 2_000_000}
	})
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{
		"a": "720.000000 from 360.000000 to 1352.000000", // 720 M, 360 M and 1,440 M: $1.00 up to 1,000 M, then $0.80
		"b": "632.000000 from 344.000000 to 1208.000000", // the same after 720 M
	} {
		p := got[name].Projected
		if have := fmt.Sprintf("%s from %s to %s", Dollars(p.USD), Dollars(p.Low), Dollars(p.High)); have != want {
			t.Errorf("%s: $%s, want $%s", name, have, want)
		}
	}
	cost := func(units int64) Amount {
		a, _ := BuiltIn().Cost(unverified, Usage{Messages: units}, false)
		return a
	}
	low, high := cost(360_000_000), cost(1_440_000_000)
	if p := got["c"].Projected; p.Low.Cmp(low.Low) != 0 || p.High.Cmp(high.High) != 0 || !low.Ranged() || !high.Ranged() {
		t.Errorf("from $%s to $%s, want from $%s to $%s", Dollars(p.Low), Dollars(p.High), Dollars(low.Low), Dollars(high.High))
	}
}
