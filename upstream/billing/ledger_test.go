package billing

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"math/big"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ebbgate/ebbgate/bridge"
)

// write puts units of one device into the ledger at an hour of November 2026.
func write(spool *memory, hour, device string, units int64) {
	spool.counters[series{upstream: "aws", direction: Up, device: device, prefix: "dt/a"}.key(hour)+string(kindUnits)] += units
}

func TestTodayCostsWhatItAddsToTheMonth(t *testing.T) {
	spool := newMemory()
	write(spool, "2026111905", "pump", 1_000_000_000-1_000_000) // the first tier ends a million into today
	write(spool, "2026112013", "pump", 1_500_000)
	write(spool, "2026112014", "fan", 500_000)
	write(spool, "2026120100", "pump", 7)
	l := newLedger(t, spool, map[string]Options{"aws": frankfurt()})
	now := time.Date(2026, 11, 20, 15, 0, 0, 0, time.UTC)
	today, err := l.Bill(Today(now))
	if err != nil {
		t.Fatal(err)
	}
	if got := today.Totals[0].USD; got != "2.160000" { // 1 M × 1.20 + 1 M × 0.96
		t.Errorf("today $%s, want $2.160000", got)
	}
	if today.Lines[0].Device != "fan" || today.Lines[0].USD != "0.540000000" || today.Lines[1].USD != "1.620000000" {
		t.Errorf("shares %+v", today.Lines)
	}
	month, err := l.Bill(Month(now))
	if err != nil {
		t.Fatal(err)
	}
	if got := month.Totals[0]; got.Units != 1_001_000_000 || got.USD != "1200.960000" {
		t.Errorf("month %d units, $%s", got.Units, got.USD)
	}
}

func TestTotalsAgreeWithTheBill(t *testing.T) {
	spool := newMemory()
	l := newLedger(t, spool, map[string]Options{"aws": frankfurt(), "site": DefaultOptions()})
	none := func(string) Pace { return Pace{} }
	start := time.Date(2026, 11, 29, 22, 30, 0, 0, time.UTC)
	for step := range 40 { // over a day's and a month's end
		now := start.Add(time.Duration(step) * time.Hour)
		write(spool, hourOf(now, step%3 != 0), "pump", int64(step+1))
		got, err := l.Totals(now, none)
		if err != nil {
			t.Fatal(err)
		}
		today, _ := l.Bill(Today(now))
		month, _ := l.Bill(Month(now))
		a := got["aws"]
		if a.UnitsToday != today.Totals[0].Units || Dollars(a.USDToday) != today.Totals[0].USD ||
			a.UnitsMonth != month.Totals[0].Units || Dollars(a.USDMonth) != month.Totals[0].USD {
			t.Fatalf("%s: totals %+v, today %+v, month %+v", now, a, today.Totals[0], month.Totals[0])
		}
	}
}

// A status page reads the sums of today and this month every few seconds: over the
// ends of months and years and leap day they are what was metered since the day and the
// month began by UTC, never what the hour before has left, and a budget is whole again
// with the first second of the next.
func TestTotalsOverTheEndsOfMonths(t *testing.T) {
	for _, span := range []struct{ from, to string }{
		{"2028-02-28 21:07", "2028-03-01 03:00"}, {"2027-02-28 21:07", "2027-03-01 03:00"}, {"2026-12-31 21:07", "2027-01-01 03:00"}, {"2026-11-30 21:07", "2026-12-01 03:00"},
	} {
		spool, clock := newMemory(), &wallClock{}
		clock.set(span.to)
		end := clock.Wall
		clock.set(span.from)
		o := DefaultOptions()
		o.Budgets = []Budget{{Name: "day", Period: PerDay, Messages: 10, WarnAt: 80, BatchAt: 90}, {Name: "month", Period: PerMonth, Messages: 60, WarnAt: 80, BatchAt: 90}}
		m := newMeter(t, spool, o, clock)
		l := newLedger(t, spool, map[string]Options{"aws": o})
		var day, month int64
		for last := clock.Wall; clock.Wall.Before(end); clock.Wall = clock.Wall.Add(10 * time.Minute) {
			if clock.Wall.Day() != last.Day() {
				day = 0
			}
			if clock.Wall.Month() != last.Month() {
				month = 0
			}
			last = clock.Wall
			check := func() {
				t.Helper()
				all, err := l.Totals(clock.Wall, func(string) Pace { return Pace{} })
				if err != nil {
					t.Fatal(err)
				}
				got := all["aws"]
				if got.UnitsToday != day || got.UnitsMonth != month {
					t.Fatalf("%v: %d today and %d this month, want %d and %d", clock.Wall, got.UnitsToday, got.UnitsMonth, day, month)
				}
				for _, v := range o.Judge(got) {
					if want := v.Period == PerDay && day >= 10 || v.Period == PerMonth && month >= 60; v.Over != want {
						t.Fatalf("%v: budget of a %s used up %v with %s", clock.Wall, v.Period, v.Over, v.Text)
					}
				}
			}
			check() // before anything is delivered in the hour
			var b bridge.Batch
			m.Delivered(&b, "aws", to("dt/a", 300), bridge.Outcome{Wire: 330})
			spool.Commit(&b, nil)
			day, month = day+1, month+1
			check()
		}
	}
}

func TestProjectionAndUnpricedUpstreams(t *testing.T) {
	l := newLedger(t, newMemory(), map[string]Options{"aws": frankfurt(), "site": DefaultOptions()})
	got, err := l.Totals(time.Date(2026, 11, 20, 0, 0, 0, 0, time.UTC), func(string) Pace {
		return Pace{Window: time.Hour, Units: 3600, Minutes: 120, Low: 1800, High: 7200}
	})
	if err != nil {
		t.Fatal(err)
	}
	// 2,592,000 × 1.20 and 86,400 × 0.096 per million, and the same of a half and the double
	p := got["aws"].Projected
	if have := []string{Dollars(p.USD), Dollars(p.Low), Dollars(p.High)}; !slices.Equal(have, []string{"3.118694", "1.563494", "6.229094"}) || p.Why != "" {
		t.Errorf("projected %v (%s)", have, p.Why)
	}
	if got["site"].Projected.USD.Sign() != 0 {
		t.Error("an upstream without a region has a price")
	}
}

func TestBillRefusesSpansOverMonths(t *testing.T) {
	l := newLedger(t, newMemory(), nil)
	at := time.Date(2026, 11, 30, 0, 0, 0, 0, time.UTC)
	if _, err := l.Bill(at, at.AddDate(0, 0, 2)); err == nil {
		t.Error("accepted")
	}
}

func TestFoldKeepsEverySum(t *testing.T) {
	spool := newMemory()
	now := time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)
	for h := range 24 * 500 { // 500 days of hours, some unsynchronised
		at := now.Add(-time.Duration(h) * time.Hour)
		if at.Year() >= firstRelease {
			write(spool, hourOf(at, h%7 != 0), "pump", 1)
		}
	}
	hours, sum := len(spool.counters), int64(0)
	for _, n := range spool.counters {
		sum += n
	}
	before, _ := newLedger(t, spool, nil).Bill(Month(now.AddDate(0, -6, 0)))
	if err := foldOnce(t.Context(), spool, now); err != nil {
		t.Fatal(err)
	}
	after, _ := newLedger(t, spool, nil).Bill(Month(now.AddDate(0, -6, 0)))
	left := int64(0)
	for _, n := range spool.counters {
		left += n
	}
	if left != sum || before.Totals[0].Units != after.Totals[0].Units {
		t.Errorf("%d units, want %d; in the month %d, want %d", left, sum, after.Totals[0].Units, before.Totals[0].Units)
	}
	if len(spool.counters) > hours/3 {
		t.Errorf("%d counters left of %d", len(spool.counters), hours)
	}
}

func TestFoldStops(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := Fold(ctx, newMemory(), func() bridge.Instant { return bridge.Instant{Synced: true} }); err != nil {
		t.Error(err)
	}
}

func TestHandler(t *testing.T) {
	spool := newMemory()
	write(spool, hourOf(time.Now(), true), "pump", 3)
	l := newLedger(t, spool, map[string]Options{"aws": frankfurt()})
	for query, want := range map[string]int{"": 200, "?period=today": 200, "?period=month": 200, "?period=year": 400} {
		w := httptest.NewRecorder()
		l.ServeHTTP(w, httptest.NewRequest("GET", "/api/v1/bill"+query, nil))
		if w.Code != want {
			t.Errorf("%q: status %d, want %d", query, w.Code, want)
			continue
		}
		var b Bill
		if err := json.Unmarshal(w.Body.Bytes(), &b); want == 200 && (err != nil || b.Totals[0].Units != 3) {
			t.Errorf("%q: %s (%v)", query, w.Body, err)
		}
	}
}

func TestPriceListRefusesWhatWouldBillWrongly(t *testing.T) {
	const start = `{"schema":"aws-iot-core-prices/1","currency":"USD","as_of":"2026-11-20","regions":{"x":{`
	const head = start + `
		"connectivity_per_million_minutes":{"usd":1,"status":"sourced"},"shadow_registry_per_million_ops":{"usd":1,"status":"sourced"},
		"rules_triggered_per_million":{"usd":1,"status":"unverified","low":0.5},"rule_actions_per_million":{"usd":1,"status":"sourced"},"messages_per_million_tiers":`
	const tier = `[{"from":0,"to":null,"usd":0.1,"status":"sourced"}]}}}`
	for name, list := range map[string]string{
		"no date":        strings.Replace(head+tier, "2026-11-20", "lately", 1),
		"unknown key":    strings.Replace(head+tier, `"currency"`, `"curency":"","currency"`, 1),
		"unknown mark":   strings.Replace(head+tier, "unverified", "guessed", 1),
		"low above":      strings.Replace(head+tier, `"low":0.5`, `"low":2`, 1),
		"high below":     strings.Replace(head+tier, `"low":0.5`, `"high":0.9`, 1),
		"no regions":     `{"schema":"aws-iot-core-prices/1","currency":"USD","as_of":"2026-11-20"}`,
		"free below 0":   strings.Replace(head+tier, `"regions"`, `"free_tier":{"messages":-1},"regions"`, 1),
		"another unit":   strings.Replace(head+tier, `"regions"`, `"metering":{"message_unit_bytes":{"value":1}},"regions"`, 1),
		"no unit":        strings.Replace(head+tier, `"regions"`, `"metering":{"message_unit_bytes":{"value":0}},"regions"`, 1),
		"hours":          strings.Replace(head+tier, `"regions"`, `"metering":{"connectivity_unit_seconds":3600},"regions"`, 1),
		"two documents":  head + tier + "{}",
		"a great power":  strings.Replace(head+tier, "0.1", "1e1000000", 1),
		"a power":        strings.Replace(head+tier, "0.1", "1e-1", 1),
		"not JSON":       `{`,
		"other currency": `{"schema":"aws-iot-core-prices/1","currency":"EUR"}`,
		"no tiers":       head + `[]}}}`,
		"gap":            head + `[{"from":0,"to":10,"usd":1,"status":"sourced"},{"from":11,"to":null,"usd":1,"status":"sourced"}]}}}`,
		"no last tier":   head + `[{"from":0,"to":10,"usd":1,"status":"sourced"}]}}}`,
		"negative":       head + `[{"from":0,"to":null,"usd":-1,"status":"sourced"}]}}}`,
		"missing price":  head + `[{"from":0,"to":null,"status":"sourced"}]}}}`,
	} {
		if _, err := ParsePrices([]byte(list)); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	for name, c := range map[string]struct{ old, again, at string }{
		"a price":              {`"usd":0.1`, `"usd":0.1,"usd":7`, "regions.x.messages_per_million_tiers[0].usd "},
		"a price in capitals":  {`"low":0.5`, `"low":0.5,"Low":0.7`, "regions.x.rules_triggered_per_million.Low "},
		"a region":             {`{"x":{`, `{"x":{},"x":{`, "regions.x "},
		"the date":             {`"as_of":"2026-11-20"`, `"as_of":"2026-11-20","as_of":"2026-11-21"`, "as_of "},
		"behind an empty list": {`"as_of":"2026-11-20"`, `"price_list_usage_types":[],"as_of":"2026-11-20","warning":"","warning":""`, "warning "},
	} {
		if _, err := ParsePrices([]byte(strings.Replace(head+tier, c.old, c.again, 1))); err == nil || !strings.Contains(err.Error(), c.at+"stands there twice") {
			t.Errorf("%s twice: %v", name, err)
		}
	}
	for _, unit := range []string{"5120", "5000"} { // by either reading, and with a mark of its coding
		if _, err := ParsePrices([]byte("\ufeff" + strings.Replace(head+tier, `"regions"`, `"metering":{"message_unit_bytes":{"value":`+unit+`,"status":"inferred"}},"regions"`, 1))); err != nil {
			t.Error(err)
		}
	}
	for _, words := range []string{`"as AWS has it"`, `{"message_unit":1}`, `{"message_unit_bytes":1}`} {
		if _, err := ParsePrices([]byte(strings.Replace(head+tier, `"regions"`, `"metering":`+words+`,"regions"`, 1))); err != nil {
			t.Errorf("%s: %v", words, err)
		}
	}
	p, err := ParsePrices([]byte(head + tier))
	if err != nil {
		t.Fatal(err)
	}
	if got := p.Regions["x"].Messages[0].PerMillion; got.Cmp(big.NewRat(1, 10)) != 0 {
		t.Errorf("0.1 became %s", got)
	}
}

func TestGroupSumsToTheTotal(t *testing.T) {
	spool := newMemory()
	for i := range 7 {
		write(spool, "2026112013", string(rune('a'+i)), int64(i+1))
	}
	l := newLedger(t, spool, map[string]Options{"aws": frankfurt()})
	bill, err := l.Bill(Today(time.Date(2026, 11, 20, 0, 0, 0, 0, time.UTC)))
	if err != nil {
		t.Fatal(err)
	}
	got := Group(bill.Lines, 3, func(n Line) string { return n.Device })
	const hidden = "rules, subscribers"
	want := []Sum{{Name: "g", Counts: Counts{Units: 7}, USD: "0.000009", Hidden: hidden}, {Name: "f", Counts: Counts{Units: 6}, USD: "0.000007", Hidden: hidden},
		{Name: "e", Counts: Counts{Units: 5}, USD: "0.000006", Hidden: hidden}, {Name: Rest, Counts: Counts{Units: 10}, USD: "0.000012", Hidden: hidden}}
	if !slices.Equal(got, want) {
		t.Errorf("%+v, want %+v", got, want)
	}
}

func TestOwnPriceList(t *testing.T) {
	own := frankfurt()
	own.PriceList = filepath.Join(t.TempDir(), "prices.json")
	list := bytes.ReplaceAll(builtIn, []byte(`"usd": 1.2,`), []byte(`"usd": 2.4,`))
	if err := os.WriteFile(own.PriceList, list, 0o600); err != nil {
		t.Fatal(err)
	}
	spool := newMemory()
	write(spool, "2026112013", "pump", 1_000_000)
	bill, err := newLedger(t, spool, map[string]Options{"aws": own}).Bill(Today(time.Date(2026, 11, 20, 0, 0, 0, 0, time.UTC)))
	if err != nil || bill.Totals[0].USD != "2.400000" {
		t.Errorf("%+v, %v", bill.Totals, err)
	}
	own.PriceList += "-gone"
	if _, err := NewLedger(spool, map[string]Options{"aws": own}); err == nil {
		t.Error("a price list that is not there was accepted")
	}
}

// Of a price list that is far too large no more is read than tells it.
func TestAHugePriceListIsRefused(t *testing.T) {
	name := filepath.Join(t.TempDir(), "prices.json")
	if err := errors.Join(os.WriteFile(name, nil, 0o600), os.Truncate(name, 1<<30)); err != nil {
		t.Fatal(err)
	}
	if _, err := (Options{PriceList: name}).Prices(); err == nil || !strings.HasSuffix(err.Error(), "price list: more than 1048576 bytes") {
		t.Errorf("%v", err)
	}
}
