package billing

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ebbgate/ebbgate/bridge"
	"github.com/ebbgate/ebbgate/upstream/billing/cur"
)

// A table that is longer than any that is written, of another version or damaged, is cut
// where it is read: the number of a place has a bound.
func TestATableThatIsTooLong(t *testing.T) {
	spool, clock := newMemory(), &wallClock{}
	clock.set("2026-11-20 13:10")
	table := make([]place, maxPlaces+6)
	for i := range table {
		table[i] = place{Region: "us-east-1", Account: fmt.Sprint(i), Unit: DefaultUnit}
	}
	table[maxPlaces+2].Last = true
	text, err := json.Marshal(table)
	if err != nil {
		t.Fatal(err)
	}
	spool.tables[keyPlaces+"aws"] = text
	of := map[string]Options{"aws": in("us-east-1", fmt.Sprint(maxPlaces+2))}
	m := started(t, spool, clock, of)
	if n := m.Place("aws").Place; n != maxPlaces || len(m.Crowded()) != 1 {
		t.Errorf("at place %d, crowded %q; want %d", n, m.Crowded(), maxPlaces)
	}
	send(m, spool, "aws", 3)
	l := newLedger(t, spool, of)
	bill, err := l.Bill(Month(clock.Wall))
	if err != nil || !slices.Equal(shown(bill), []string{"aws 3+0 $0.000003"}) || len(l.parts.shown) != maxPlaces+1 {
		t.Errorf("%q of %d parts, %v", shown(bill), len(l.parts.shown), err)
	}
}

// Nor is one written that is longer than what is read of it.
func TestATableIsNotWrittenBeyondItsBound(t *testing.T) {
	spool, clock := newMemory(), &wallClock{}
	clock.set("2026-11-20 13:10")
	for i := range maxPlaces + 2 {
		started(t, spool, clock, map[string]Options{"aws": in("us-east-1", fmt.Sprint(i))})
	}
	var written []place
	if err := json.Unmarshal(spool.tables[keyPlaces+"aws"], &written); err != nil || len(written) != maxPlaces {
		t.Errorf("%d places are written, %v", len(written), err)
	}
}

// A table that is damaged is as good as none, those beside it are read, and what was metered
// by a number of it is shown by that.
func TestATableThatIsDamaged(t *testing.T) {
	us, eu := in("us-east-1", ""), in("eu-central-1", "")
	for _, text := range []string{`[{"region":"us-east-1"},{"region":7}]`, `[{"region":"us-east-1"}`, `{}`, ""} {
		spool, clock := newMemory(), &wallClock{}
		clock.set("2026-11-20 13:10")
		var of map[string]Options
		for i, o := range []Options{us, eu} {
			of = map[string]Options{"aws": o, "cloud": o}
			m := started(t, spool, clock, of)
			send(m, spool, "aws", 1<<i)
			send(m, spool, "cloud", 4<<i)
		}
		spool.tables[keyPlaces+"aws"] = []byte(text)
		bill, err := newLedger(t, spool, of).Bill(Month(clock.Wall))
		want := []string{"aws 1+0 $0.000001", "aws (place 1) 2+0 $", "cloud 8+0 $0.000010", "cloud (us-east-1) 4+0 $0.000004"}
		if err != nil || !slices.Equal(shown(bill), want) {
			t.Errorf("%s: %q, want %q, %v", text, shown(bill), want, err)
			continue
		}
		if total := bill.Totals[1]; total.Of != "aws" || total.Name() != "aws" {
			t.Errorf("%s is of %q", total.Upstream, total.Of)
		}
	}
}

// overtaken is a spool that has more to do while it refuses a commit, which it owns.
type overtaken struct {
	*memory
	meanwhile func()
}

func (o *overtaken) Commit(b *bridge.Batch, done func(bridge.Seq, error)) {
	if o.meanwhile == nil {
		o.memory.Commit(b, done)
		return
	}
	meanwhile := o.meanwhile
	o.meanwhile = nil
	meanwhile()
	clear(b.Puts)
	done(0, errors.New("full"))
}

// Of two tables of one upstream the later holds, also when the disk has refused the earlier
// while the later was on its way.
func TestTheLastTableHolds(t *testing.T) {
	at := func(endpoint string, names ...string) map[string]Options {
		all := map[string]Options{}
		for _, name := range names {
			o := in("us-east-1", "")
			o.Endpoint = endpoint
			all[name] = o
		}
		return all
	}
	spool, clock := &overtaken{memory: newMemory()}, &wallClock{}
	clock.set("2026-11-20 13:10")
	m := started(t, spool, clock, at("h:1", "aws", "cloud"))
	ended := make(chan struct{})
	spool.meanwhile = func() {
		go func() {
			defer close(ended)
			m.Reached(at("h:3", "aws"))
		}()
		for noted := false; !noted; runtime.Gosched() {
			m.mu.Lock()
			noted = len(m.unplaced) > 0
			m.mu.Unlock()
		}
	}
	m.Reached(at("h:2", "aws", "cloud"))
	<-ended
	m.writePlaces()
	all, err := readPlaces(spool)
	if err != nil || len(all["aws"]) != 1 || len(all["cloud"]) != 1 || len(m.unplaced) > 0 {
		t.Fatalf("%+v, %d are not written, %v", all, len(m.unplaced), err)
	}
	if aws, cloud := all["aws"][0].Endpoint, all["cloud"][0].Endpoint; aws != "h:3" || cloud != "h:2" {
		t.Errorf("reached at %s and %s, want h:3 and h:2", aws, cloud)
	}
}

// Two parts never have one name, whatever regions and accounts are called: one that had
// another's would hide what it was metered.
func TestPartsThatWouldHaveOneName(t *testing.T) {
	spool, clock := newMemory(), &wallClock{}
	clock.set("2026-11-20 13:10")
	var of map[string]Options
	for i, at := range [][2]string{{"", "1"}, {"", "2"}, {"no region", "1"}, {"no region", "2"}, {"no region, account 1", ""}, {"us-east-1", ""}} {
		of = map[string]Options{"aws": in(at[0], at[1])}
		send(started(t, spool, clock, of), spool, "aws", 1<<i)
	}
	bill, err := newLedger(t, spool, of).Bill(Month(clock.Wall))
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]int64{}
	for _, total := range bill.Totals {
		got[total.Upstream] += total.Units
	}
	if want := map[string]int64{
		"aws": 32, "aws (no region, account 1)": 1, "aws (no region, account 2)": 2,
		"aws (no region, account 1, 2)": 4, "aws (no region, account 2, 2)": 8, "aws (no region, account 1, 3)": 16,
	}; !maps.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
}

// The configuration's last word of a place holds when it has gone, of its free tier, too.
func TestWhatWasSaidLastOfOneThatHasGone(t *testing.T) {
	free := in("us-east-1", "1")
	free.FreeTier = true
	paid := in("us-east-1", "1")
	for _, c := range []struct {
		name  string
		steps []Options
		want  string
	}{
		{"free all the time", []Options{free, free}, "aws 200000+0 $0.000000"},
		{"not free any more", []Options{free, paid}, "aws 200000+0 $0.200000"},
		{"free since", []Options{paid, free}, "aws 200000+0 $0.000000"},
	} {
		spool, clock := newMemory(), &wallClock{}
		clock.set("2026-11-20 13:10")
		for _, o := range c.steps {
			give(started(t, spool, clock, map[string]Options{"aws": o}), spool, "aws", 100_000)
		}
		bill, err := newLedger(t, spool, map[string]Options{}).Bill(Month(clock.Wall))
		if err != nil || !slices.Equal(shown(bill), []string{c.want}) {
			t.Errorf("%s: %q, want %s, %v", c.name, shown(bill), c.want, err)
		}
	}
}

// So does its unit: all of it goes by the size that was set last.
func TestTheUnitThatWasSaidLastOfOneThatHasGone(t *testing.T) {
	spool, clock := newMemory(), &wallClock{}
	clock.set("2026-11-20 13:10")
	o := in("us-east-1", "1")
	m := started(t, spool, clock, map[string]Options{"aws": o})
	var b bridge.Batch
	for range 1000 {
		m.Delivered(&b, "aws", stored("pump", "dt/line/a", 5_000), bridge.Outcome{Wire: 5_100})
	}
	spool.Commit(&b, nil)
	for _, c := range []struct {
		unit bridge.Size
		want string
	}{{DefaultUnit, "aws 1000+0 $0.001000"}, {decimalUnit, "aws 2000+0 $0.002000"}, {DefaultUnit, "aws 1000+0 $0.001000"}} {
		o.Unit = c.unit
		started(t, spool, clock, map[string]Options{"aws": o})
		bill, err := newLedger(t, spool, map[string]Options{}).Bill(Month(clock.Wall))
		if err != nil || !slices.Equal(shown(bill), []string{c.want}) {
			t.Errorf("%d bytes: %q, want %s, %v", c.unit, shown(bill), c.want, err)
		}
	}
}

// A place that several have left lends none of them another's own prices: those of who is
// there now hold for all, and the built-in ones where nobody is.
func TestAPlaceThatSeveralHaveLeft(t *testing.T) {
	file := filepath.Join(t.TempDir(), "prices.json")
	prices, err := os.ReadFile("prices.json")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, bytes.ReplaceAll(prices, []byte("1.2"), []byte("5.2")), 0o600); err != nil {
		t.Fatal(err)
	}
	spool, clock := newMemory(), &wallClock{}
	clock.set("2026-11-20 13:10")
	was := map[string]Options{}
	for i := range 8 {
		was[fmt.Sprintf("u%d", i)] = in("eu-central-1", "1")
	}
	o := in("us-east-1", "1") // the others have gone
	o.PriceList = file
	now := map[string]Options{"u3": o}
	m := started(t, spool, clock, was)
	for name := range was {
		send(m, spool, name, 10)
	}
	for range 20 { // which of them is priced first is a matter of chance
		bill, err := newLedger(t, spool, now).Bill(Month(clock.Wall))
		if err != nil {
			t.Fatal(err)
		}
		for _, total := range bill.Totals {
			want := "0.000012"
			if total.Name() == "u3" {
				want = "0.000052"
			}
			if total.Units > 0 && total.USD != want {
				t.Fatalf("%s costs $%s, want $%s", total.Upstream, total.USD, want)
			}
		}
	}
}

// In short as on the bill: an upstream that has gone is there while there is something of
// it, were it only uncertain, and of today.
func TestOneThatHasGoneInShort(t *testing.T) {
	at := time.Date(2026, 11, 20, 13, 10, 0, 0, time.UTC)
	for _, c := range []struct {
		name, hour string
		kind       byte
		want       Totals
		shown      bool
	}{
		{"uncertain in this hour", "2026112013", kindUncertain, Totals{UncertainToday: 5, Gone: true}, true},
		{"uncertain this morning", "2026112005", kindUncertain, Totals{UncertainToday: 5, Gone: true}, true},
		{"uncertain yesterday", "2026111905", kindUncertain, Totals{}, false},
		{"metered yesterday", "2026111905", kindUnits, Totals{UnitsMonth: 5, Gone: true}, true},
		{"connected yesterday", "2026111905", kindMinutes, Totals{Gone: true}, true},
		{"metered last month", "2026103105", kindUnits, Totals{}, false},
	} {
		spool, clock := newMemory(), &wallClock{}
		clock.set("2026-10-30 13:10")
		started(t, spool, clock, map[string]Options{"aws": in("us-east-1", "")})
		spool.counters[series{upstream: "aws", direction: Up, device: "pump", prefix: "dt/a"}.key(c.hour)+string(c.kind)] = 5
		l := newLedger(t, spool, map[string]Options{"cloud": in("us-east-1", "")})
		for _, when := range []string{"read", "remembered"} {
			all, err := l.Totals(at, func(string) Pace { return Pace{} })
			if err != nil {
				t.Fatal(err)
			}
			got, ok := all["aws"]
			if ok != c.shown || got.UnitsToday != 0 || got.UnitsMonth != c.want.UnitsMonth || got.UncertainToday != c.want.UncertainToday || got.Gone != c.want.Gone || all["cloud"].Gone {
				t.Errorf("%s, %s: %v %+v, want %v %+v", c.name, when, ok, got, c.shown, c.want)
			}
		}
	}
}

// What has gone is told of beside the account that it was of, and of no other.
func TestReconcileTellsOfOneThatHasGoneWhereItWas(t *testing.T) {
	spool, clock := newMemory(), &wallClock{}
	clock.set("2026-11-20 13:10")
	was := started(t, spool, clock, map[string]Options{"old": in("eu-central-1", "1"), "lost": in("eu-central-1", "1")})
	send(was, spool, "old", 5)
	spool.counters[series{upstream: "lost", direction: Up, device: "pump", prefix: "dt/a"}.key("2026112013")+string(kindUncertain)] = 9
	now := map[string]Options{"cloud": in("us-east-1", "2"), "near": in("us-east-1", "1")}
	m := started(t, spool, clock, now)
	send(m, spool, "cloud", 7)
	send(m, spool, "near", 3)
	const month = "Usage,2026-11-01T00:00:00Z,2026-12-01T00:00:00Z,AWSIoT,"
	all, err := newLedger(t, spool, now).Reconcile(report(t, month+"1,EUC1-Messages,5,0.000006", month+"1,USE1-Messages,3,0.000003", month+"2,USE1-Messages,7,0.000007"))
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, c := range all {
		got = append(got, fmt.Sprintf("%s %s %s %d %d: %s", c.Account, c.Region, c.Item, c.AWS, c.Here, strings.Join(c.Causes, "; ")))
	}
	if want := []string{
		"1 eu-central-1 " + cur.Messages + " 5 5: ",
		"1 eu-central-1 " + Besides + " 0 0: 5 metered messages here are those of old, which the configuration does not have any more",
		"1 us-east-1 " + cur.Messages + " 3 3: ",
		"2 us-east-1 " + cur.Messages + " 7 7: ",
	}; !slices.Equal(got, want) {
		t.Errorf("%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}
