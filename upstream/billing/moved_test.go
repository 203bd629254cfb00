package billing

import (
	"fmt"
	"math/big"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ebbgate/ebbgate/bridge"
	"github.com/ebbgate/ebbgate/upstream/billing/cur"
)

// The tiers of a month belong to an account in a region: a move in its middle begins
// anew there, and the way back goes on. To the cent, at AWS's prices.
func TestTheMonthOfAMove(t *testing.T) {
	spool, clock := newMemory(), &wallClock{}
	of := func(region, account string) map[string]Options {
		o := in(region, account)
		o.Budgets = []Budget{{Name: "m", Period: PerMonth, USD: "4000", WarnAt: 80, BatchAt: 90}, {Name: "d", Period: PerDay, Messages: 700_000_000, WarnAt: 80, BatchAt: 90}}
		return map[string]Options{"aws": o}
	}
	for _, s := range []struct {
		at, region, account string
		millions            int64
	}{
		{"2026-11-02 10:00", "us-east-1", "1", 900},
		{"2026-11-15 10:20", "us-east-1", "1", 300},
		{"2026-11-15 10:40", "eu-central-1", "1", 1200}, // in the same hour
		{"2026-11-20 10:00", "eu-central-1", "2", 500},
		{"2026-11-25 10:00", "us-east-1", "1", 200},
	} {
		clock.set(s.at)
		give(started(t, spool, clock, of(s.region, s.account)), spool, "aws", s.millions*1_000_000)
	}
	now := of("us-east-1", "1")
	l := newLedger(t, spool, now)
	bill, err := l.Bill(Month(clock.Wall))
	if err != nil {
		t.Fatal(err)
	}
	want := []string{
		"aws 1400000000+0 $1320.000000",                           // 1,000 M × $1.00 + 400 M × $0.80
		"aws (eu-central-1, account 1) 1200000000+0 $1392.000000", // 1,000 M × $1.20 + 200 M × $0.96
		"aws (eu-central-1, account 2) 500000000+0 $600.000000",   // 500 M × $1.20
	}
	if got := shown(bill); !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
	days, _ := Month(clock.Wall)
	sum := new(big.Rat)
	for day := days; day.Month() == time.November; day = day.AddDate(0, 0, 1) {
		b, err := l.Bill(Today(day))
		if err != nil {
			t.Fatal(err)
		}
		for _, total := range b.Totals {
			sum.Add(sum, rat(t, total.USD))
		}
	}
	if got := Dollars(sum); got != "3312.000000" {
		t.Errorf("the days cost $%s, want $3312", got)
	}
	short, err := l.Totals(clock.Wall, func(string) Pace { return Pace{} })
	if err != nil {
		t.Fatal(err)
	}
	if got := short["aws"]; got.UnitsMonth != 3_100_000_000 || Dollars(got.USDMonth) != "3312.000000" || got.UnitsToday != 200_000_000 || Dollars(got.USDToday) != "160.000000" || len(short) != 1 {
		t.Errorf("in short %+v", short)
	}
	month := now["aws"].Judge(short["aws"])
	if !month[0].Warn || month[0].Over || month[0].Text != "$3312.00 of $4000.00 of this month" || month[1].Warn {
		t.Errorf("budgets %+v", month)
	}
	forecasts, err := l.Forecast(time.Date(2026, 11, 30, 23, 59, 59, 999_999_999, time.UTC))
	if err != nil || len(forecasts) != 1 || forecasts[0].Now != 3_100_000_000 || forecasts[0].USD != "3312.000000" {
		t.Errorf("forecast %+v, %v", forecasts, err)
	}
	charged := []string{"USE1-Messages,1400000000,1320", "EUC1-Messages,1200000000,1392"}
	for i := range charged {
		charged[i] = "Usage,2026-11-01T00:00:00Z,2026-12-01T00:00:00Z,AWSIoT,1," + charged[i]
	}
	charged = append(charged, "Usage,2026-11-01T00:00:00Z,2026-12-01T00:00:00Z,AWSIoT,2,EUC1-Messages,500000000,600")
	all, err := l.Reconcile(report(t, charged...))
	if err != nil || len(all) != 3 {
		t.Fatalf("%+v, %v", all, err)
	}
	for _, c := range all {
		if c.AWS != c.Here || len(c.Causes) > 0 {
			t.Errorf("reconciled: %+v", c)
		}
	}
}

// The rest of a month goes on where the upstream is now.
func TestTheForecastGoesByTodaysPlace(t *testing.T) {
	spool, clock := newMemory(), &wallClock{}
	where := func(day int) map[string]Options {
		if day <= 17 {
			return map[string]Options{"aws": in("us-east-1", "")}
		}
		return map[string]Options{"aws": in("eu-central-1", "")}
	}
	for day := 1; day <= 20; day++ {
		clock.set(fmt.Sprintf("2026-11-%02d 00:00", day))
		units := int64(1_000_000)
		if day <= 17 {
			units *= 2
		}
		give(started(t, spool, clock, where(day)), spool, "aws", units)
	}
	now := time.Date(2026, 11, 21, 0, 0, 0, 0, time.UTC)
	f, err := newLedger(t, spool, where(20)).Forecast(now)
	if err != nil || len(f) != 1 {
		t.Fatalf("%+v, %v", f, err)
	}
	// 34 M × $1.00 in us-east-1, 3 M and 10 days of 11/7 M × $1.20 in eu-central-1
	if f[0].Upstream != "aws" || f[0].Now != 37_000_000 || f[0].Likely != 52_714_280 || f[0].USD != "56.457136" {
		t.Errorf("%+v", f[0])
	}
	if all := strings.Join(f[0].Reasons, "\n"); !strings.Contains(all, "34000000 of the messages are those of aws (us-east-1), at its prices: $34.000000; what is to come has those of eu-central-1") {
		t.Error(all)
	}
	at := clock.Wall
	short, err := newLedger(t, spool, where(20)).Totals(at, func(string) Pace { return Pace{Window: time.Hour, Units: 1000} })
	if err != nil || Dollars(short["aws"].Projected.USD) != "0.864000" { // 720,000 a month × $1.20
		t.Errorf("in short %+v, %v", short["aws"].Projected, err)
	}
	f, err = newLedger(t, spool, map[string]Options{"cloud": in("eu-central-1", "")}).Forecast(now)
	if err != nil || len(f) != 2 || f[0].Upstream != "aws" || f[0].Likely != 37_000_000 || f[0].USD != "37.600000" {
		t.Errorf("of one that has gone: %+v, %v", f, err)
	}
}

// The free tier is an account's in all regions, also of where it was; an account that
// the configuration has no more keeps what was said of it.
func TestTheFreeTierAfterAMove(t *testing.T) {
	free := func(region, account string, free bool) map[string]Options {
		o := in(region, account)
		o.FreeTier = free
		return map[string]Options{"aws": o}
	}
	for _, c := range []struct {
		name string
		was  map[string]Options
		now  map[string]Options
		want []string // 300,000 messages each
	}{
		{"another region", free("us-east-1", "1", true), free("us-west-2", "1", true), []string{"aws 300000+0 $0.000000", "aws (us-east-1) 300000+0 $0.100000"}},
		{"another account", free("us-east-1", "1", true), free("us-east-1", "2", false), []string{"aws 300000+0 $0.300000", "aws (us-east-1, account 1) 300000+0 $0.000000"}},
		{"another account, which has it", free("us-east-1", "1", false), free("us-east-1", "2", true), []string{"aws 300000+0 $0.000000", "aws (us-east-1, account 1) 300000+0 $0.300000"}},
		{"it is over", free("us-east-1", "1", true), free("us-west-2", "1", false), []string{"aws 300000+0 $0.300000", "aws (us-east-1) 300000+0 $0.300000"}},
	} {
		spool, clock := newMemory(), &wallClock{}
		clock.set("2026-11-20 13:10")
		for _, of := range []map[string]Options{c.was, c.now} {
			give(started(t, spool, clock, of), spool, "aws", 300_000)
		}
		l := newLedger(t, spool, c.now)
		bill, err := l.Bill(Month(clock.Wall))
		if err != nil || !slices.Equal(shown(bill), c.want) {
			t.Errorf("%s: %q, want %q, %v", c.name, shown(bill), c.want, err)
		}
		usd := new(big.Rat)
		for _, total := range bill.Totals {
			usd.Add(usd, rat(t, total.USD))
		}
		if short, err := l.Totals(clock.Wall, func(string) Pace { return Pace{} }); err != nil || short["aws"].USDMonth.Cmp(usd) != 0 {
			t.Errorf("%s: in short $%s, want $%s, %v", c.name, Dollars(short["aws"].USDMonth), Dollars(usd), err)
		}
	}
}

// One that has gone goes by the unit and, where its account and region has one, the price
// list of before, and is a part of what the month has cost.
func TestOneThatHasGoneIsComparedAsItWas(t *testing.T) {
	spool, clock := newMemory(), &wallClock{}
	clock.set("2026-11-20 13:10")
	was := in("eu-central-1", "111122223333")
	was.Unit = decimalUnit
	m := started(t, spool, clock, map[string]Options{"aws": was})
	var b bridge.Batch
	for range 1000 {
		m.Delivered(&b, "aws", stored("pump", "dt/line/a", 5_000), bridge.Outcome{Wire: 5_100})
	}
	spool.Commit(&b, nil)
	now := map[string]Options{"cloud": in("eu-central-1", "111122223333")}
	send(started(t, spool, clock, now), spool, "cloud", 7)
	l := newLedger(t, spool, now)
	bill, err := l.Bill(Month(clock.Wall))
	if err != nil || !slices.Equal(shown(bill), []string{"aws 2000+0 $0.002400", "cloud 7+0 $0.000008"}) || !bill.Totals[0].Gone {
		t.Errorf("%q, %v", shown(bill), err)
	}
	all, err := l.Reconcile(report(t, "EUC1-Messages,2007,0.0024084"))
	if err != nil || len(all) != 2 || all[0].Item != cur.Messages || all[0].Here != 2007 || len(all[0].Causes) > 0 ||
		!slices.Equal(all[1].Causes, []string{"2000 metered messages here are those of aws, which the configuration does not have any more"}) {
		t.Errorf("%+v, %v", all, err)
	}
	all, err = l.Reconcile(report(t, "EUC1-Messages,3007,0.0036084"))
	if err != nil || len(all) != 2 || len(all[0].Causes) != 2 || !strings.HasPrefix(all[0].Causes[0], "1000 at least: what this gateway did not send") {
		t.Errorf("%+v, %v", all, err)
	}
	short, err := l.Totals(clock.Wall, func(string) Pace { return Pace{} })
	if err != nil || short["aws"].UnitsMonth != 2000 || !short["aws"].Gone || short["cloud"].Gone || Dollars(short["aws"].USDMonth) != "0.002400" {
		t.Errorf("%+v, %v", short, err)
	}
}

// Whatever moves, however often, by whichever hours: the parts add up to what was metered,
// each place has what it was given, and a part is the sum of its lines.
func TestThePartsAddUpToWhatWasMetered(t *testing.T) {
	for seed := range uint64(40) {
		rnd := rand.New(rand.NewPCG(seed, 15))
		spool, clock := newMemory(), &wallClock{}
		clock.set("2026-11-03 00:10")
		regions, accounts := []string{"us-east-1", "eu-central-1", "eu-west-1"}, []string{"1", "2"}
		given := map[[3]string]int64{}
		var of map[string]Options
		for range 30 {
			clock.Wall = clock.Wall.Add(time.Duration(rnd.IntN(20*60)) * time.Minute)
			clock.Synced = rnd.IntN(3) > 0
			of = map[string]Options{}
			for _, name := range []string{"a", "b"} {
				if rnd.IntN(4) > 0 {
					of[name] = in(regions[rnd.IntN(3)], accounts[rnd.IntN(2)])
				}
			}
			m := started(t, spool, clock, of)
			for name, o := range of {
				n := rnd.IntN(50)
				send(m, spool, name, n)
				given[[3]string{name, o.Region, o.Account}] += int64(n)
			}
			if rnd.IntN(10) == 0 {
				if err := foldOnce(t.Context(), spool, clock.Wall.AddDate(0, 0, rnd.IntN(500))); err != nil {
					t.Fatal(err)
				}
			}
		}
		bill, err := newLedger(t, spool, of).Bill(Month(clock.Wall))
		if err != nil {
			t.Fatal(err)
		}
		names := map[string]bool{}
		for _, total := range bill.Totals {
			if names[total.Upstream] {
				t.Errorf("seed %d: two totals %s", seed, total.Upstream)
			}
			names[total.Upstream] = true
			id, lines := [3]string{total.Name(), total.Region, total.Account}, int64(0)
			for _, n := range bill.Lines {
				if n.Upstream == total.Upstream {
					lines += n.Units
				}
			}
			if total.Units != given[id] || lines != total.Units {
				t.Errorf("seed %d: %s has %d, its lines %d, want %d", seed, total.Upstream, total.Units, lines, given[id])
			}
			delete(given, id)
		}
		for id, n := range given {
			if n > 0 {
				t.Errorf("seed %d: %d of %v are not on the bill", seed, n, id)
			}
		}
	}
}

// A place that was left has the upstream's own price list, where that has the region, or
// that of another there, the same account's first; else the built-in one.
func TestThePricesOfAPlaceThatWasLeft(t *testing.T) {
	file := filepath.Join(t.TempDir(), "prices.json")
	text := `{"schema": "aws-iot-core-prices/1", "currency": "USD", "as_of": "2026-11-22", "regions": {"eu-central-1": {
  "connectivity_per_million_minutes": {"usd": 0.1, "status": "sourced"},
  "messages_per_million_tiers": [{"usd": 5, "status": "sourced"}],
  "shadow_registry_per_million_ops": {"usd": 1.57, "status": "sourced"},
  "rules_triggered_per_million": {"usd": 0.19, "status": "sourced"},
  "rule_actions_per_million": {"usd": 0.19, "status": "sourced"}}}}`
	dear := filepath.Join(t.TempDir(), "dear.json")
	for name, text := range map[string]string{file: text, dear: strings.Replace(text, `"usd": 5`, `"usd": 7`, 1)} {
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	by := func(list, region, account string) Options {
		o := in(region, account)
		o.PriceList = list
		return o
	}
	own := func(region, account string) Options { return by(file, region, account) }
	us, eu := in("us-east-1", "1"), in("eu-central-1", "1")
	for _, c := range []struct {
		name string
		was  Options
		now  map[string]Options
		want string // of 1,000,000 messages
	}{
		{"its own has the region", eu, map[string]Options{"aws": own("eu-central-1", "2")}, "5.000000"},
		{"its own goes before another's of the account", eu, map[string]Options{"aws": own("eu-central-1", "2"), "cloud": by(dear, "eu-central-1", "1")}, "5.000000"},
		{"its own goes before another's of the region", eu, map[string]Options{"a": by(dear, "eu-central-1", "3"), "aws": own("us-east-1", "2")}, "5.000000"},
		{"its own does not have it", us, map[string]Options{"aws": own("eu-central-1", "1")}, "1.000000"},
		{"another of the account has one", eu, map[string]Options{"a": in("eu-central-1", "2"), "cloud": own("eu-central-1", "1")}, "5.000000"},
		{"another of the account goes first", eu, map[string]Options{"a": own("eu-central-1", "2"), "cloud": eu}, "1.200000"},
		{"another of the region has one", eu, map[string]Options{"cloud": own("eu-central-1", "2")}, "5.000000"},
		{"nobody is there", eu, map[string]Options{"cloud": own("us-east-1", "1")}, "1.200000"},
	} {
		spool, clock := newMemory(), &wallClock{}
		clock.set("2026-11-20 13:10")
		give(started(t, spool, clock, map[string]Options{"aws": c.was}), spool, "aws", 1_000_000)
		bill, err := newLedger(t, spool, c.now).Bill(Month(clock.Wall))
		if err != nil {
			t.Fatal(err)
		}
		for _, total := range bill.Totals {
			if total.Name() == "aws" && total.Units > 0 && total.USD != c.want {
				t.Errorf("%s: %s costs $%s, want $%s", c.name, total.Upstream, total.USD, c.want)
			}
		}
	}
}

// What looks at an upstream as a whole takes all its places together: what would be
// otherwise, and how its lines are explained.
func TestAFleetIsAllPlacesOfAnUpstream(t *testing.T) {
	spool, clock := newMemory(), &wallClock{}
	clock.set("2026-11-20 13:10")
	us, eu := map[string]Options{"aws": in("us-east-1", "")}, map[string]Options{"aws": in("eu-central-1", "")}
	last := started(t, spool, clock, map[string]Options{"a": eu["aws"], "aws": us["aws"]})
	send(last, spool, "a", 500) // gone since
	send(last, spool, "aws", 1000)
	last.writeSizes(nil)
	clock.set("2026-11-20 14:10")
	last = started(t, spool, clock, map[string]Options{"aws": eu["aws"], "aa": us["aws"]})
	send(last, spool, "aa", 40)
	clock.set("2026-11-20 15:10")
	now := map[string]Options{"aws": eu["aws"], "aa": eu["aws"]} // it moved, too
	last = started(t, spool, clock, now)
	send(last, spool, "aws", 200)
	last.writeSizes(nil)
	l := newLedger(t, spool, now)
	from, to := Today(clock.Wall)
	f, err := l.Fleet("aws", from, to, clock.Wall)
	if err != nil {
		t.Fatal(err)
	}
	if !f.Covered.Whole() || f.Covered.Messages != 1200 || f.Region != "eu-central-1" || !slices.Equal(f.Elsewhere, []string{"aws (us-east-1)"}) {
		t.Errorf("%+v of %s, %q", f.Covered, f.Region, f.Elsewhere)
	}
	if f.Span != 2*time.Hour+10*time.Minute || f.Traffic[0].Hours != 2 {
		t.Errorf("in %v, %d hours", f.Span, f.Traffic[0].Hours)
	}
	if want := (Usage{Messages: 40}).scaled(monthOf, f.Span); f.Before != want { // where it is now; what has gone uses no more
		t.Errorf("beside it %+v, want %+v", f.Before, want)
	}
	bill, err := l.Bill(from, to)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ part, want string }{{"aws", "where 1000 were billed that are not of aws"}, {"aws (us-east-1)", "where 200 were billed that are not of aws (us-east-1)"}} {
		lines := slices.DeleteFunc(slices.Clone(bill.Lines), func(n Line) bool { return n.Upstream != c.part })
		steps, err := l.Explain(bill, c.part, lines)
		if all := fmt.Sprint(steps); err != nil || !strings.Contains(all, "1200 of about") || !strings.Contains(all, c.want) || strings.Contains(all, "not recorded") || strings.Contains(all, "other hours") {
			t.Errorf("%s: %s, %v", c.part, all, err)
		}
	}
}
