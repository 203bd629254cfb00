package billing

import (
	"fmt"
	"slices"
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
	m.Refused(&b, "aws", to("dt/a", 6000), bridge.Outcome{Wire: 6100})
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
	has := func(of *Bill, want string) {
		t.Helper()
		steps, err := l.Explain(of, "aws", of.Lines)
		if err != nil || !slices.ContainsFunc(steps, func(s Step) bool { return strings.Contains(s.Text, want) }) {
			t.Errorf("no %q in %v, %v", want, steps, err)
		}
	}
	clock.set("2026-11-20 14:00")
	var later, lost bridge.Batch
	m.Delivered(&later, "aws", to("dt/a", 10), bridge.Outcome{HTTP: true, Body: 30})
	spool.Commit(&later, nil)
	m.writeSizes(nil)
	hour, err := l.Bill(Hour(clock.Wall))
	if err != nil {
		t.Fatal(err)
	}
	has(hour, "8 of these are of other hours")
	has(hour, "of the units 1 are the cloud's answers to requests over HTTPS (M18)")
	has(hour, "topic in the URL, free")
	m.Delivered(&lost, "aws", to("dt/a", 10), bridge.Outcome{})
	spool.Commit(&lost, nil)
	day, err := l.Bill(Today(clock.Wall))
	if err != nil {
		t.Fatal(err)
	}
	has(day, "1 more, whose sizes are not recorded")
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
		write(spool, day+"00", "pump", units)
	}
	write(spool, "2026112100", "pump", 1)
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
	if err != nil || first[0].Low != 15_000_001 || first[0].Likely != 15_000_001 { // nothing to go by
		t.Errorf("%+v, %v", first, err)
	}
	none := newMemory()
	write(none, "2026110100", "pump", 1000)
	young, err := newLedger(t, none, map[string]Options{"aws": frankfurt()}).Forecast(time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC))
	if err != nil || young[0].Likely != 1000+2000*59/2 || young[0].Low != 1000 {
		t.Errorf("half a day of a month: %+v, %v", young, err)
	}
}

// A month is not told from the first hours of a gateway, nor from a day of which it
// saw the end alone.
func TestForecastOfAYoungLedger(t *testing.T) {
	at := func(text string) time.Time {
		now, err := time.Parse("2006-01-02 15:04", text)
		if err != nil {
			t.Fatal(err)
		}
		return now
	}
	forecast := func(spool *memory, now string) Forecast {
		all, err := newLedger(t, spool, map[string]Options{"aws": frankfurt()}).Forecast(at(now))
		if err != nil {
			t.Fatal(err)
		}
		return all[0]
	}
	spool := newMemory()
	if f := forecast(spool, "2026-11-20 22:10"); !f.Unknown {
		t.Errorf("of nothing: %+v", f)
	}
	write(spool, "2026112021", "pump", 60_000)
	if f := forecast(spool, "2026-11-20 22:10"); !f.Unknown || f.USD != "" || f.Likely != 60_000 {
		t.Errorf("of an hour: %+v", f)
	}
	for hour := range 24 {
		if write(spool, fmt.Sprintf("20261121%02d", hour), "pump", 60_000); hour != 17 {
			continue
		}
		// 19 hours at 60,000 an hour in the last 21, and 9 days and 6 hours are left.
		if f := forecast(spool, "2026-11-21 18:00"); f.Unknown || f.Likely != 19*60_000+1_302_857*37/4 || f.Low != 19*60_000 {
			t.Errorf("of 21 hours: %+v", f)
		}
	}
	write(spool, "2026112200", "pump", 1)
	// The 21st was a full day, and the last three hours of the 20th none.
	if f := forecast(spool, "2026-11-22 00:00"); f.Unknown || f.Likely != 25*60_000+1+9*24*60_000 || f.Low != f.Top {
		t.Errorf("of a full day: %+v", f)
	}
}

// A gateway that was off for weeks goes on as before it was off, or as since it is
// back: what it did before that, or not, tells nothing of the time that is left.
func TestForecastAfterWeeksOff(t *testing.T) {
	now := func(text string) time.Time {
		at, err := time.Parse("2006-01-02 15", text)
		if err != nil {
			t.Fatal(err)
		}
		return at
	}
	for name, c := range map[string]struct {
		write map[string]int // first hour, and how many hours of 1,000 from then on
		now   string
		rest  int64 // messages that are forecast besides
		none  bool  // nothing is told
	}{
		"back this morning, off since the 2nd":      {map[string]int{"2026-11-01 00": 24, "2026-11-20 06": 6}, "2026-11-20 12", 252 * 1000, false},
		"back in the new month, off since the last": {map[string]int{"2026-10-20 00": 24, "2026-11-03 06": 6}, "2026-11-03 12", 660 * 1000, false},
		"back for an hour":                          {map[string]int{"2026-11-01 00": 24, "2026-11-20 11": 1}, "2026-11-20 12", 0, true},
		"back for a day and a half":                 {map[string]int{"2026-11-01 00": 24, "2026-11-18 18": 42}, "2026-11-20 12", 252 * 1000, false},
		"back yesterday evening":                    {map[string]int{"2026-11-01 00": 24, "2026-11-19 18": 18}, "2026-11-20 12", 252 * 1000, false},
		"off for more than a week":                  {map[string]int{"2026-11-01 00": 24}, "2026-11-20 12", 0, false},
		"not off at all":                            {map[string]int{"2026-10-20 00": 31*24 + 12}, "2026-11-20 12", 252 * 1000, false},
		"off for half a day in the last seven":      {map[string]int{"2026-11-10 00": 9*24 + 12, "2026-11-20 00": 12}, "2026-11-20 12", 22_285 * 21 / 2, false},
	} {
		spool, have := newMemory(), int64(0)
		for from, hours := range c.write {
			for i := range hours {
				at := now(from).Add(time.Duration(i) * time.Hour)
				if write(spool, at.Format(hourLayout), "pump", 1000); at.Month() == time.November {
					have += 1000
				}
			}
		}
		all, err := newLedger(t, spool, map[string]Options{"aws": frankfurt()}).Forecast(now(c.now))
		if err != nil {
			t.Fatal(err)
		}
		f := all[0]
		if f.Unknown != c.none || f.Now != have || f.Likely-f.Now != c.rest || f.Top < f.Likely || f.Low > f.Likely {
			t.Errorf("%s: %+v, want %d more than %d", name, f, c.rest, have)
		}
	}
}

// Traffic at week-ends only, of a gateway that is always on: its connection's minutes
// tell a still day from one that it was off.
func TestForecastOfWeekEnds(t *testing.T) {
	for day := 16; day <= 22; day++ { // Monday to Sunday
		spool := newMemory()
		for d := 1; d <= day; d++ {
			hour := fmt.Sprintf("202611%02d00", d)
			spool.counters[series{upstream: "aws", direction: Link, device: "gw"}.key(hour)+string(kindMinutes)] = 1440
			if weekday := time.Date(2026, 11, d, 0, 0, 0, 0, time.UTC).Weekday(); weekday == time.Saturday || weekday == time.Sunday {
				write(spool, hour, "pump", 70_000)
			}
		}
		at := time.Date(2026, 11, day, 0, 0, 0, 0, time.UTC)
		all, err := newLedger(t, spool, map[string]Options{"aws": frankfurt()}).Forecast(at)
		if err != nil {
			t.Fatal(err)
		}
		if f := all[0]; f.Likely-f.Now != int64(20_000*(31-day)) || f.Low != f.Now || f.Top-f.Now != int64(70_000*(31-day)) {
			t.Errorf("%s: %+v", at.Weekday(), f)
		}
	}
}

// The forecast's range holds what the bill's does: 5 KB read as the other number.
func TestForecastSpansTheOtherReading(t *testing.T) {
	spool := newMemory()
	for _, day := range []string{"20261119", "20261120"} {
		write(spool, day+"00", "pump", 1_000_000)
		spool.counters[series{upstream: "aws", direction: Up, device: "pump", prefix: "dt/a"}.key(day+"00")+string(kindOther)] = 500_000
	}
	all, err := newLedger(t, spool, map[string]Options{"aws": frankfurt()}).Forecast(time.Date(2026, 11, 21, 0, 0, 0, 0, time.UTC))
	if err != nil {
		t.Fatal(err)
	}
	if f := all[0]; f.USD != "14.400000" || f.From != "14.400000" || f.To != "21.600000" {
		t.Errorf("$%s, from %s to %s", f.USD, f.From, f.To)
	}
}

// The sizes that explain a line are those of its day, and what of them is not the
// line's is said with its reason: they add up to what the line has.
func TestExplainSaysWhichSizesAreOfOtherLines(t *testing.T) {
	o := frankfurt()
	o.MaxPrefixes = 2
	spool, clock := newMemory(), &wallClock{}
	m := newMeter(t, spool, o, clock)
	for _, s := range []struct {
		at, topic string
		n         int
	}{
		{"2026-11-19 13:00", "dt/a", 1},
		{"2026-11-20 13:00", "dt/a", 2}, {"2026-11-20 14:00", "dt/a", 4},
		{"2026-11-21 13:00", "dt/b", 8}, {"2026-11-21 14:00", "dt/c", 1}, {"2026-11-21 14:00", "dt/d", 1}, {"2026-11-21 14:00", "dt/b", 16}, // above the bound
		{"2026-11-22 13:00", "dt/e", 32},
	} {
		clock.set(s.at)
		var b bridge.Batch
		for range s.n {
			m.Delivered(&b, "aws", to(s.topic, 100), bridge.Outcome{})
		}
		spool.Commit(&b, nil)
		m.writeSizes(nil)
	}
	for key := range spool.counters {
		if hour, _, kind, ok := parseKey(key); ok && hour == "2026112213" && kind == kindMessages {
			spool.counters[key] -= 2 // what a crash kept from the ledger
		}
	}
	l := newLedger(t, spool, map[string]Options{"aws": o})
	month := func(now time.Time) (time.Time, time.Time) { return Month(now) }
	for _, c := range []struct {
		name  string
		span  func(time.Time) (time.Time, time.Time)
		at    string
		step  time.Duration
		start string // of the lines; empty: all
		topic string
		want  string // of what stands below the line: how many, and what is said of them
	}{
		{"a month", month, "2026-11-20 00", 0, "", "dt/a", "7"},
		{"a day of it", Today, "2026-11-20 00", 0, "", "dt/a", "6"},
		{"an hour of it", Hour, "2026-11-20 13", 0, "", "dt/a", "6; sizes are recorded by the day: 4 of these are of other hours"},
		{"the month by days", month, "2026-11-20 00", 24 * time.Hour, "2026-11-20 00", "dt/a", "6"},
		{"the month by hours", month, "2026-11-20 00", time.Hour, "2026-11-20 14", "dt/a", "6; sizes are recorded by the day: 2 of these are of other hours"},
		{"the day by hours", Today, "2026-11-20 00", time.Hour, "2026-11-20 13", "dt/a", "6; sizes are recorded by the day: 4 of these are of other hours"},
		{"above the bound", Today, "2026-11-21 00", 0, "", "dt/b", "24; sizes are recorded by the day: 16 of these are on the bill as (other)"},
		{"above the bound, by hours", Today, "2026-11-21 00", time.Hour, "2026-11-21 13", "dt/b", "24; sizes are recorded by the day: 16 of these are on the bill as (other)"},
		{"above the bound, the rest", Today, "2026-11-21 00", 0, "", other, "; all devices: 16 in all, above what is told apart; their sizes are recorded at the topics that they had"},
		{"above the bound, of another day", month, "2026-11-20 00", time.Hour, "2026-11-20 13", "dt/a", "6; sizes are recorded by the day: 4 of these are of other hours"},
		{"after a crash", Today, "2026-11-22 00", 0, "", "dt/e", "32; 2 of these are not on this bill: they were sent again after a crash, or of hours that were put right since"},
	} {
		at := func(text string) time.Time {
			at, err := time.Parse("2006-01-02 15", text)
			if err != nil {
				t.Fatal(err)
			}
			return at
		}
		from, to := c.span(at(c.at))
		bill, err := l.Detail(from, to, c.step)
		if err != nil {
			t.Fatal(err)
		}
		lines := slices.DeleteFunc(slices.Clone(bill.Lines), func(n Line) bool {
			return n.Topic != c.topic || c.start != "" && !n.Start.Equal(at(c.start))
		})
		steps, err := l.Explain(bill, "aws", lines)
		if err != nil {
			t.Fatal(err)
		}
		got := ""
		for _, s := range steps {
			text, below := strings.CutPrefix(s.Text, "  ")
			if n, ok := strings.CutPrefix(text, "all devices: "); ok && strings.Contains(n, " of about ") {
				got, _, _ = strings.Cut(n, " ")
			} else if below {
				got += "; " + text
			}
		}
		if got != c.want {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
}

// What has no metered messages says what it is instead.
func TestExplainWhatHasNoMessages(t *testing.T) {
	spool, clock := newMemory(), &wallClock{}
	clock.set("2026-11-20 13:00")
	m := newMeter(t, spool, frankfurt(), clock)
	m.Opened("aws", "plant7", Connection{})
	m.Carrier("aws")(muchCarried)
	m.Requested("aws", "PutObject")
	m.countMinutes()
	l := newLedger(t, spool, map[string]Options{"aws": frankfurt()})
	bill, err := l.Bill(Today(clock.Wall))
	if err != nil {
		t.Fatal(err)
	}
	steps, err := l.Explain(bill, "aws", bill.Lines)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, s := range steps[:min(4, len(steps))] {
		got = append(got, s.Text)
	}
	if want := []string{
		"the sockets: 65536 bytes, which the link's price is of; no metered messages",
		"the store of files: 1 requests PutObject; no metered messages, and priced beside them",
		"connection plant7: 1 minutes, each one begun counts (M01)",
		"connection plant7: 1 CONNECT packets (M04, M05)",
	}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}
