package billing

import (
	"strings"
	"testing"
	"time"

	"github.com/ebbgate/ebbgate/bridge"
)

func TestExplainAddsUpToTheLine(t *testing.T) {
	spool, clock := newMemory(), &wallClock{}
	clock.set("2026-11-20 13:00")
	m := newMeter(t, spool, frankfurt(), clock)
	var b bridge.Batch
	for range 7 {
		m.Delivered(&b, "aws", to("dt/a", 240-4-hopsSize), bridge.Outcome{})
	}
	m.Delivered(&b, "aws", to("dt/a", 6000), bridge.Outcome{})
	m.Uncertain(&b, "aws", to("dt/a", 6000), bridge.Outcome{})
	m.Refused(&b, "aws", to("dt/a", 6000), bridge.Outcome{})
	spool.Commit(&b, nil)
	m.writeSizes(nil)
	l := newLedger(t, spool, map[string]Options{"aws": frankfurt()})
	bill, err := l.Bill(Today(clock.Wall))
	if err != nil {
		t.Fatal(err)
	}
	steps, err := l.Explain(bill, "aws", bill.Lines)
	if err != nil {
		t.Fatal(err)
	}
	var text strings.Builder
	lines, sum := int64(0), int64(0)
	for _, s := range steps {
		text.WriteString(s.Text + "\n")
		if s.Sum && s.Units > 0 {
			sum = s.Units
		} else if sum == 0 {
			lines += s.Units
		}
	}
	if lines != 9 || sum != 9 {
		t.Errorf("the lines make %d, the sum says %d, want 9", lines, sum)
	}
	for _, want := range []string{"7 of about 240 B", "1 of about 6013 B", "2 metered each", "$1.20 per million from 0 to 1000000000", "$0.000011, as its part", "1 refused for now"} {
		if !strings.Contains(text.String(), want) {
			t.Errorf("no %q in\n%s", want, text.String())
		}
	}
}

func TestForecastFromTheLastFullDays(t *testing.T) {
	spool := newMemory()
	for day, units := range map[string]int64{"20261118": 1_000_000, "20261119": 2_000_000, "20261120": 3_000_000, "20261105": 9_000_000} {
		write(spool, day+"13", "pump", units)
	}
	write(spool, "2026112101", "pump", 1)
	l := newLedger(t, spool, map[string]Options{"aws": frankfurt(), "site": DefaultOptions()})
	all, err := l.Forecast(time.Date(2026, 11, 21, 0, 0, 0, 0, time.UTC)) // ten days are left
	if err != nil {
		t.Fatal(err)
	}
	f := all[0]
	if f.Now != 15_000_001 || f.Low != 25_000_001 || f.Likely != 35_000_001 || f.Top != 45_000_001 {
		t.Errorf("%+v", f)
	}
	if f.USD != "42.000001" || f.From != "30.000001" || f.To != "54.000001" {
		t.Errorf("$%s, from %s to %s", f.USD, f.From, f.To)
	}
	if site := all[1]; site.USD != "" || site.Likely != 0 {
		t.Errorf("%+v", site)
	}
	first, err := l.Forecast(time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC))
	if err != nil || first[0].Low != 15_000_001 { // nothing to go by
		t.Errorf("%+v, %v", first, err)
	}
	none := newMemory()
	write(none, "2026110100", "pump", 1000)
	young, err := newLedger(t, none, map[string]Options{"aws": frankfurt()}).Forecast(time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC))
	if err != nil || young[0].Likely != 1000+2000*59/2 || young[0].Low != 1000 {
		t.Errorf("half a day of a month: %+v, %v", young, err)
	}
}
