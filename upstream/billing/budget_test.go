package billing

import (
	"math/big"
	"testing"
	"time"
)

func TestJudge(t *testing.T) {
	totals := Totals{UnitsToday: 100, UnitsMonth: 900, USDToday: big.NewRat(1, 1), USDMonth: big.NewRat(8, 1)}
	for _, c := range []struct {
		name       string
		budget     Budget
		warn, over bool
		text       string
	}{
		{"below", Budget{Period: PerMonth, USD: "10.01", WarnAt: 80}, false, false, "$8.00 of $10.01 of this month"},
		{"at the warning", Budget{Period: PerMonth, USD: "10", WarnAt: 80}, true, false, "$8.00 of $10.00 of this month"},
		{"at the limit", Budget{Period: PerMonth, USD: "8", WarnAt: 100}, true, true, "$8.00 of $8.00 of this month"},
		{"a day's messages", Budget{Period: PerDay, Messages: 99, WarnAt: 80}, true, true, "100 of 99 metered messages of this day"},
		{"the tighter of two", Budget{Period: PerMonth, Messages: 1000, USD: "100", WarnAt: 80}, true, false, "900 of 1000 metered messages of this month"},
		{"nothing at all is allowed", Budget{Period: PerDay, USD: "0", WarnAt: 80}, true, true, "$1.00 of $0.00 of this day"},
	} {
		v := Options{Budgets: []Budget{c.budget}}.Judge(totals)[0]
		if v.Warn != c.warn || v.Over != c.over || v.Text != c.text {
			t.Errorf("%s: %+v", c.name, v)
		}
	}
	full := Budget{Period: PerMonth, USD: "10", WarnAt: 100, BatchAt: 80, BatchAge: time.Minute}
	if v := (Options{Budgets: []Budget{full}}).Judge(totals)[0]; v.Warn || !v.Batch {
		t.Errorf("batches are to fill up before the warning: %+v", v)
	}
	full.BatchAge = 0
	if v := (Options{Budgets: []Budget{full}}).Judge(totals)[0]; v.Batch {
		t.Errorf("batches are to fill up, and nobody said for how long: %+v", v)
	}
	moment := time.Date(2026, 11, 30, 20, 0, 0, 0, time.FixedZone("UTC-5", -5*3600)) // December in UTC
	if day, month := (Budget{Period: PerDay}).At(moment), full.At(moment); day != "2026-12-01" || month != "2026-12" {
		t.Errorf("%s, %s", day, month)
	}
	if v := (Options{Budgets: []Budget{{Period: PerMonth, USD: "1", WarnAt: 1}}}).Judge(Totals{})[0]; v.Warn || v.Over {
		t.Errorf("nothing spent, no prices: %+v", v)
	}
}
