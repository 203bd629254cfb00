package billing

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// A forecast looks at the days before, those of last month among them, and at nothing
// that a clock which ran ahead has told.
func TestTheDaysThatAForecastGoesBy(t *testing.T) {
	at := func(text string) time.Time {
		at, err := time.Parse("2006-01-02 15", text)
		if err != nil {
			t.Fatal(err)
		}
		return at
	}
	type run struct {
		from  string
		hours int
		each  int64
	}
	for _, c := range []struct {
		name   string
		runs   []run
		now    string
		likely int64 // besides what there is
	}{
		// 6 days of 48,000 and one of 24,000; 28.5 days are left.
		{"days of last month", []run{{"2026-10-20 00", 12 * 24, 2000}, {"2026-11-01 00", 36, 1000}}, "2026-11-02 12", 44_571 * 57 / 2},
		// 24,000 a day since the month began, 29.75 days are left.
		{"it began in the last evening of last month", []run{{"2026-10-31 18", 6, 2000}, {"2026-11-01 00", 6, 1000}}, "2026-11-01 06", 24_000 * 119 / 4},
		// 6 of 7 days of 24,000, 11 days are left.
		{"a day off between others", []run{{"2026-11-13 00", 4 * 24, 1000}, {"2026-11-18 00", 48, 1000}}, "2026-11-20 00", 20_571 * 11},
		// 12 hours of 1,000 today, 10.5 days are left: what stands ahead tells nothing.
		{"a clock that ran ahead", []run{{"2026-11-20 00", 12, 1000}, {"2026-11-21 10", 5, 9000}}, "2026-11-20 12", 24_000 * 21 / 2},
	} {
		spool, have := newMemory(), int64(0)
		for _, r := range c.runs {
			for i := range r.hours {
				hour := at(r.from).Add(time.Duration(i) * time.Hour)
				if write(spool, hour.Format(hourLayout), "pump", r.each); hour.Month() == time.November {
					have += r.each
				}
			}
		}
		all, err := newLedger(t, spool, map[string]Options{"aws": frankfurt()}).Forecast(at(c.now))
		if err != nil || all[0].Now != have || all[0].Likely-have != c.likely {
			t.Errorf("%s: %+v, want %d more than %d, %v", c.name, all, c.likely, have, err)
		}
	}
}

// The connection's minutes go on as the messages do: from full days, from the pace of
// today, and not at all of an upstream that has gone.
func TestForecastOfMinutes(t *testing.T) {
	minutes := func(of map[string]Options, now string, hours ...string) Forecast {
		t.Helper()
		spool, clock := newMemory(), &wallClock{}
		clock.set("2026-11-01 00:00")
		started(t, spool, clock, map[string]Options{"aws": in("eu-central-1", "")})
		for _, hour := range hours {
			spool.counters[series{upstream: "aws", direction: Link, device: "gw"}.key(hour)+string(kindMinutes)] = 60_000_000
		}
		at, err := time.Parse("2006-01-02 15", now)
		if err != nil {
			t.Fatal(err)
		}
		all, err := newLedger(t, spool, of).Forecast(at)
		if err != nil || len(all) != 1 {
			t.Fatalf("%+v, %v", all, err)
		}
		return all[0]
	}
	here := map[string]Options{"aws": in("eu-central-1", "")}
	var today, days []string
	for i := range 12 {
		today = append(today, fmt.Sprintf("20261120%02d", i))
	}
	for i := 13; i <= 19; i++ {
		days = append(days, fmt.Sprintf("202611%02d00", i))
	}
	for _, c := range []struct {
		name  string
		of    map[string]Options
		now   string
		hours []string
		want  string
	}{
		{"by the pace of today", here, "2026-11-20 12", today, "1520.640000"},          // 720 M, and 1,440 M a day for 10.5 days × $0.096
		{"by full days", here, "2026-11-20 00", days, "103.680000"},                    // 420 M, and 60 M for 11 days
		{"when it has gone", map[string]Options{}, "2026-11-20 00", days, "40.320000"}, // 420 M
	} {
		if f := minutes(c.of, c.now, c.hours...); f.USD != c.want {
			t.Errorf("%s: %+v, want $%s", c.name, f, c.want)
		}
	}
}

// What an upstream was metered in a place that it has left uses up the tiers there of who
// is in that account now.
func TestForecastAfterOneThatHasLeft(t *testing.T) {
	spool, clock := newMemory(), &wallClock{}
	clock.set("2026-11-10 10:00")
	was := map[string]Options{"a": in("us-east-1", "1"), "b": in("us-east-1", "1")}
	m := started(t, spool, clock, was)
	give(m, spool, "a", 900_000_000)
	give(m, spool, "b", 200_000_000)
	now := map[string]Options{"a": in("eu-central-1", "1"), "b": in("us-east-1", "1")}
	started(t, spool, clock, now)
	all, err := newLedger(t, spool, now).Forecast(time.Date(2026, 12, 1, 0, 0, 0, -1, time.UTC))
	if err != nil || len(all) != 2 {
		t.Fatalf("%+v, %v", all, err)
	}
	bill, err := newLedger(t, spool, now).Bill(Month(clock.Wall))
	if err != nil {
		t.Fatal(err)
	}
	got := []string{}
	for _, f := range all {
		got = append(got, f.Upstream+" "+f.USD)
	}
	// 900 M × $1.00; 100 M × $1.00 and 100 M × $0.80
	if want := "a 900.000000 b 180.000000"; strings.Join(got, " ") != want {
		t.Errorf("%q, want %s; the bill has %q", got, want, shown(bill))
	}
}
