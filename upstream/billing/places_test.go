package billing

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ebbgate/ebbgate/bridge"
)

// in is how an upstream bills in a region and account.
func in(region, account string) Options {
	o := DefaultOptions()
	o.Region, o.Account = region, account
	return o
}

// started is a meter of a start with a configuration.
func started(t *testing.T, spool bridge.Spool, c *wallClock, upstreams map[string]Options) *Meter {
	t.Helper()
	m, err := NewMeter(spool, upstreams, c.now)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// send meters messages of one unit.
func send(m *Meter, spool bridge.Spool, upstream string, messages int) {
	var b bridge.Batch
	for range messages {
		m.Delivered(&b, upstream, stored("pump", "dt/line/a", 100), bridge.Outcome{Wire: 160})
	}
	spool.Commit(&b, nil)
}

// give meters so many units at once.
func give(m *Meter, spool bridge.Spool, upstream string, units int64) {
	var b bridge.Batch
	b.Add(Namespace, m.count(series{upstream: upstream, direction: Up, device: "pump", prefix: "dt/a"}, m.options(upstream), 0, nil).units, units)
	spool.Commit(&b, nil)
}

// shown is what a bill has of each total that it prices or has units of: "name units $usd".
func shown(b *Bill) (out []string) {
	for _, t := range b.Totals {
		if t.Units+t.Uncertain > 0 {
			out = append(out, strings.TrimSpace(fmt.Sprintf("%s %d+%d $%s", t.Upstream, t.Units, t.Uncertain, t.USD)))
		}
	}
	return out
}

// What was metered in a place stays there, whatever the configuration says later.
func TestWhatWasMeteredStaysWhereItWas(t *testing.T) {
	aws := func(o Options) map[string]Options { return map[string]Options{"aws": o} }
	type step struct {
		of   map[string]Options
		name string
		n    int
	}
	us, eu := in("us-east-1", ""), in("eu-central-1", "")
	local := in("", "")
	local.Endpoint = "10.0.0.1:8883"
	said := us
	said.Endpoint = local.Endpoint
	other := us
	other.Endpoint = "iot.example.com:8883"
	asNow := eu
	asNow.Past = PastAsNow
	for _, c := range []struct {
		name  string
		steps []step
		want  []string
	}{
		{"it stays", []step{{aws(us), "aws", 1}, {aws(us), "aws", 2}}, []string{"aws 3+0 $0.000003"}},
		{"another region", []step{{aws(us), "aws", 10}, {aws(eu), "aws", 20}}, []string{"aws 20+0 $0.000024", "aws (us-east-1) 10+0 $0.000010"}},
		{"nothing is sent yet", []step{{aws(us), "aws", 10}, {aws(eu), "aws", 0}}, []string{"aws (us-east-1) 10+0 $0.000010"}},
		{"and back", []step{{aws(us), "aws", 10}, {aws(eu), "aws", 20}, {aws(us), "aws", 5}}, []string{"aws 15+0 $0.000015", "aws (eu-central-1) 20+0 $0.000024"}},
		{"another account", []step{{aws(in("us-east-1", "1")), "aws", 10}, {aws(in("us-east-1", "2")), "aws", 20}}, []string{"aws 20+0 $0.000020", "aws (us-east-1, account 1) 10+0 $0.000010"}},
		{"two accounts of another region", []step{{aws(in("us-east-1", "1")), "aws", 10}, {aws(in("us-east-1", "2")), "aws", 20}, {aws(eu), "aws", 1}},
			[]string{"aws 1+0 $0.000001", "aws (us-east-1, account 1) 10+0 $0.000010", "aws (us-east-1, account 2) 20+0 $0.000020"}},
		{"the account is named later", []step{{aws(us), "aws", 10}, {aws(in("us-east-1", "1")), "aws", 20}}, []string{"aws 30+0 $0.000030"}},
		{"then it is another", []step{{aws(us), "aws", 10}, {aws(in("us-east-1", "1")), "aws", 20}, {aws(in("us-east-1", "2")), "aws", 1}},
			[]string{"aws 1+0 $0.000001", "aws (us-east-1, account 1) 30+0 $0.000030"}},
		{"it is not named any more", []step{{aws(in("us-east-1", "1")), "aws", 10}, {aws(us), "aws", 20}}, []string{"aws 30+0 $0.000030"}},
		{"it is not named for a while", []step{{aws(in("us-east-1", "1")), "aws", 10}, {aws(us), "aws", 20}, {aws(in("us-east-1", "2")), "aws", 1}},
			[]string{"aws 1+0 $0.000001", "aws (us-east-1, account 1) 30+0 $0.000030"}},
		{"the region is said later, and is that of before", []step{{aws(us), "aws", 10}, {aws(local), "aws", 20}, {aws(said), "aws", 5}}, []string{"aws 35+0 $0.000035"}},
		{"and then it moves", []step{{aws(us), "aws", 10}, {aws(local), "aws", 20}, {aws(said), "aws", 5}, {aws(eu), "aws", 1}}, []string{"aws 1+0 $0.000001", "aws (us-east-1) 35+0 $0.000035"}},
		{"the region is not said for a while", []step{{aws(said), "aws", 1}, {aws(local), "aws", 2}, {aws(said), "aws", 4}}, []string{"aws 7+0 $0.000007"}},
		{"the region is not said any more", []step{{aws(said), "aws", 1}, {aws(local), "aws", 2}}, []string{"aws 3+0 $"}},
		{"it is not said, and then another", []step{{aws(said), "aws", 1}, {aws(local), "aws", 2}, {aws(eu), "aws", 4}}, []string{"aws 4+0 $0.000005", "aws (us-east-1) 3+0 $0.000003"}},
		{"the account is not said for a while, after another", []step{{aws(in("us-east-1", "1")), "aws", 1}, {aws(in("us-east-1", "2")), "aws", 2}, {aws(in("us-east-1", "1")), "aws", 4}, {aws(us), "aws", 8}, {aws(in("us-east-1", "1")), "aws", 16}},
			[]string{"aws 29+0 $0.000029", "aws (us-east-1, account 2) 2+0 $0.000002"}},
		{"the account is not said any more, after two and another region", []step{{aws(in("us-east-1", "1")), "aws", 1}, {aws(in("us-east-1", "2")), "aws", 2}, {aws(eu), "aws", 4}, {aws(us), "aws", 8}},
			[]string{"aws 10+0 $0.000010", "aws (eu-central-1) 4+0 $0.000005", "aws (us-east-1, account 1) 1+0 $0.000001"}},
		{"the account is named after a move", []step{{aws(us), "aws", 10}, {aws(eu), "aws", 20}, {aws(in("eu-central-1", "1")), "aws", 0}, {aws(in("us-east-1", "1")), "aws", 1}},
			[]string{"aws 11+0 $0.000011", "aws (eu-central-1) 20+0 $0.000024"}},
		{"and then it is another", []step{{aws(us), "aws", 10}, {aws(eu), "aws", 20}, {aws(in("eu-central-1", "1")), "aws", 0}, {aws(in("us-east-1", "2")), "aws", 1}},
			[]string{"aws 1+0 $0.000001", "aws (eu-central-1) 20+0 $0.000024", "aws (us-east-1, account 1) 10+0 $0.000010"}},
		{"the region is said later", []step{{aws(local), "aws", 10}, {aws(said), "aws", 20}}, []string{"aws 30+0 $0.000030"}},
		{"without endpoints", []step{{aws(in("", "")), "aws", 10}, {aws(us), "aws", 20}}, []string{"aws 20+0 $0.000020", "aws (no region) 10+0 $"}},
		{"from what is no AWS", []step{{aws(local), "aws", 10}, {aws(other), "aws", 20}}, []string{"aws 20+0 $0.000020", "aws (no region) 10+0 $"}},
		{"to what is no AWS", []step{{aws(us), "aws", 10}, {aws(local), "aws", 20}}, []string{"aws 20+0 $", "aws (us-east-1) 10+0 $0.000010"}},
		{"it was a mistake", []step{{aws(us), "aws", 10}, {aws(asNow), "aws", 20}}, []string{"aws 30+0 $0.000036"}},
		{"a mistake that is over", []step{{aws(us), "aws", 10}, {aws(asNow), "aws", 20}, {aws(eu), "aws", 0}}, []string{"aws 20+0 $0.000024", "aws (us-east-1) 10+0 $0.000010"}},
		{"another name", []step{{aws(us), "aws", 10}, {map[string]Options{"cloud": eu}, "cloud", 20}}, []string{"aws 10+0 $0.000010", "cloud 20+0 $0.000024"}},
		{"another name, after a move", []step{{aws(us), "aws", 10}, {aws(eu), "aws", 5}, {map[string]Options{"cloud": eu}, "cloud", 20}},
			[]string{"aws (eu-central-1) 5+0 $0.000006", "aws (us-east-1) 10+0 $0.000010", "cloud 20+0 $0.000024"}},
		{"another's name", []step{{aws(us), "aws", 10}, {map[string]Options{"cloud": us}, "cloud", 1}, {map[string]Options{"aws": eu, "cloud": us}, "aws", 20}},
			[]string{"aws 20+0 $0.000024", "aws (us-east-1) 10+0 $0.000010", "cloud 1+0 $0.000001"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			spool, clock := newMemory(), &wallClock{}
			clock.set("2026-11-20 13:10") // all within an hour
			all := 0
			for i, s := range c.steps {
				clock.Wall = clock.Wall.Add(time.Minute)
				clock.Synced = i%2 == 0
				send(started(t, spool, clock, s.of), spool, s.name, s.n)
				all += s.n
			}
			of := c.steps[len(c.steps)-1].of
			check := func(when string) {
				t.Helper()
				bill, err := newLedger(t, spool, of).Bill(Month(clock.Wall))
				if err != nil {
					t.Fatal(err)
				}
				if got := shown(bill); !slices.Equal(got, c.want) {
					t.Errorf("%s: %q, want %q", when, got, c.want)
				}
				n := int64(0)
				for _, t := range bill.Totals {
					n += t.Units
				}
				if n != int64(all) {
					t.Errorf("%s: %d metered messages, want %d", when, n, all)
				}
			}
			check("in hours")
			for _, later := range []int{70, 500} {
				if err := foldOnce(t.Context(), spool, clock.Wall.AddDate(0, 0, later)); err != nil {
					t.Fatal(err)
				}
				check(fmt.Sprintf("%d days later", later))
			}
		})
	}
}

// What a run that was killed had on its way went to where the upstream was then.
func TestWhatAKillLeftWentToThePlaceOfItsRun(t *testing.T) {
	spool, clock := newMemory(), &wallClock{}
	clock.set("2026-11-20 13:10")
	first := started(t, spool, clock, map[string]Options{"aws": in("us-east-1", "")})
	second := started(t, spool, clock, map[string]Options{"aws": in("eu-central-1", "")})
	there := bridge.Billed{Place: 1}
	if first.Place("aws") != (bridge.Billed{}) || second.Place("aws") != there || second.Place("other") != (bridge.Billed{}) {
		t.Fatalf("places %v and %v", first.Place("aws"), second.Place("aws"))
	}
	var b bridge.Batch
	for _, o := range []bridge.Outcome{{Before: &bridge.Billed{}}, {Before: &bridge.Billed{}}, {Before: &there}, {}, {Wire: 3}, {Before: &bridge.Billed{Place: -3}}, {Before: &bridge.Billed{Place: 9999}}} {
		second.Uncertain(&b, "aws", stored("pump", "dt/a", 100), o)
	}
	spool.Commit(&b, nil)
	bill, err := newLedger(t, spool, map[string]Options{"aws": in("eu-central-1", "")}).Bill(Month(clock.Wall))
	if want := []string{"aws 0+3 $0.000000", "aws (place 64) 0+1 $", "aws (us-east-1) 0+3 $0.000000"}; err != nil || !slices.Equal(shown(bill), want) {
		t.Errorf("%q, want %q, %v", shown(bill), want, err)
	}
}

// A ledger of an earlier version is that of the place which the first start finds; of an
// upstream that had gone by then nobody knows where it was. No key of it changes.
func TestALedgerOfBeforeThereWerePlaces(t *testing.T) {
	spool, clock := newMemory(), &wallClock{}
	write(spool, "2026112005", "pump", 1_000_000)
	spool.counters[series{upstream: "lost", direction: Up, device: "pump", prefix: "dt/a"}.key("2026112005")+string(kindUnits)] = 7
	before := maps.Clone(spool.counters)
	clock.set("2026-11-20 13:10")
	eu := map[string]Options{"aws": in("eu-central-1", "")}
	check := func(when string, of map[string]Options, want ...string) {
		t.Helper()
		bill, err := newLedger(t, spool, of).Bill(Month(clock.Wall))
		if err != nil || !slices.Equal(shown(bill), want) {
			t.Errorf("%s: %q, want %q, %v", when, shown(bill), want, err)
		}
	}
	check("before a start", eu, "aws 1000000+0 $1.200000", "lost 7+0 $")
	started(t, spool, clock, eu)
	if !maps.Equal(spool.counters, before) {
		t.Errorf("counters %v, were %v", spool.counters, before)
	}
	check("after", eu, "aws 1000000+0 $1.200000", "lost 7+0 $")
	us := map[string]Options{"aws": in("us-east-1", "")}
	started(t, spool, clock, us)
	check("moved", us, "aws (eu-central-1) 1000000+0 $1.200000", "lost 7+0 $")
	named := map[string]Options{"aws": in("eu-central-1", "1")}
	started(t, spool, clock, named)
	check("another account, before a start", map[string]Options{"aws": in("eu-central-1", "2")}, "aws (eu-central-1, account 1) 1000000+0 $1.200000", "lost 7+0 $")
	check("gone", nil, "aws (eu-central-1) 1000000+0 $1.200000", "lost 7+0 $")
}

// Every part of the meter counts in the place of today: connections, minutes, sockets,
// refusals, what comes down, what is proved late, and an hour that is put right keeps it.
func TestAllThatIsMeteredIsOfThePlace(t *testing.T) {
	spool, clock := newMemory(), &wallClock{}
	clock.set("2026-11-20 13:10")
	started(t, spool, clock, map[string]Options{"aws": in("us-east-1", "")})
	eu := map[string]Options{"aws": in("eu-central-1", "")}
	clock.Synced = false
	m := started(t, spool, clock, eu)
	m.Connecting("aws", "plant7", Connection{})
	c := m.Opened("aws", "plant7", Connection{})
	c.Subscribing([]string{"cmd/#"}, nil)()
	m.Carrier("aws")(10_000)
	var b bridge.Batch
	proof := new(laterProof)
	m.Delivered(&b, "aws", stored("pump", "dt/a", 100), bridge.Outcome{Wire: 160, Proof: proof})
	m.Refused(&b, "aws", stored("pump", "dt/a", 100), bridge.Outcome{Wire: 160})
	m.Received(&b, "aws", &bridge.Message{Topic: "cmd/a", Payload: []byte("x"), QoS: 1}, 30)
	m.Requested("aws", "PutObject")
	spool.Commit(&b, nil)
	proof.then(true)
	m.countMinutes()
	clock.Wall, clock.Mono = clock.Wall.AddDate(0, 0, -3), clock.Mono+time.Hour // it stood ahead
	m.correct(t.Context())
	for key := range spool.counters {
		if key == keyMoves || spool.counters[key] == 0 {
			continue
		}
		if _, s, _, ok := parseKey(key); !ok || s.upstream != placed("aws", 1) || !strings.HasPrefix(key, unsynced+"20261117") {
			t.Errorf("key %q", key)
		}
	}
	bill, err := newLedger(t, spool, eu).Bill(Month(clock.Wall))
	if err != nil || len(bill.Totals) != 1 {
		t.Fatalf("%+v, %v", bill, err)
	}
	got := bill.Totals[0]
	if got.Units != 5 || got.Uncertain != 0 || got.Minutes != 1 || got.Throttled != 1 || got.Socket != 10_000 || got.Requests == nil {
		t.Errorf("%+v", got)
	}
}

// Requests to a store of files are of their line's upstream, wherever that is.
func TestRequestsAreOfAllPlaces(t *testing.T) {
	spool, clock := newMemory(), &wallClock{}
	clock.set("2026-11-20 13:10")
	eu := map[string]Options{"aws": in("eu-central-1", "")}
	for _, of := range []map[string]Options{{"aws": in("us-east-1", "")}, eu} {
		m := started(t, spool, clock, of)
		for range 1000 {
			m.Requested("aws", "PutObject")
		}
	}
	l := newLedger(t, spool, eu)
	l.PriceStore("aws", Store{Region: "us-east-1"})
	bill, err := l.Bill(Month(clock.Wall))
	if err != nil || len(bill.Totals) != 2 || bill.Totals[0].USDRequests != "0.005000" || bill.Totals[1].USDRequests != "0.005000" {
		t.Errorf("%+v, %v", bill.Totals, err)
	}
}

// laterProof is a proof that a test gives.
type laterProof struct{ then func(bool) }

func (p *laterProof) Then(f func(bool)) { p.then = f }

// A disk that does not take a table now takes it later; until then the numbers are the
// same.
func TestATableThatTheDiskRefusesIsWrittenLater(t *testing.T) {
	spool, clock := newMemory(), &wallClock{}
	clock.set("2026-11-20 13:10")
	us, eu := map[string]Options{"aws": in("us-east-1", "")}, map[string]Options{"aws": in("eu-central-1", "")}
	send(started(t, spool, clock, us), spool, "aws", 1)
	spool.fails = errors.New("full")
	m := started(t, spool, clock, eu)
	spool.fails = nil
	l := newLedger(t, spool, eu)
	send(m, spool, "aws", 2)
	want := []string{"aws 2+0 $0.000002", "aws (us-east-1) 1+0 $0.000001"}
	for _, when := range []string{"before", "after"} {
		for _, l := range []*Ledger{l, newLedger(t, spool, eu)} {
			if bill, err := l.Bill(Month(clock.Wall)); err != nil || !slices.Equal(shown(bill), want) {
				t.Errorf("%s it is written: %q, %v", when, shown(bill), err)
			}
		}
		if when == "before" {
			synctest.Test(t, func(t *testing.T) {
				ctx, end := context.WithTimeout(t.Context(), correctEvery+time.Second)
				defer end()
				if err := m.Run(ctx); err != nil {
					t.Error(err)
				}
			})
		}
	}
	if all, err := readPlaces(spool); err != nil || len(all["aws"]) != 2 {
		t.Errorf("%+v, %v", all, err)
	}
}

// The places of an upstream are bounded: all beyond are one, with today's prices.
func TestPlacesAreBounded(t *testing.T) {
	spool, clock := newMemory(), &wallClock{}
	clock.set("2026-11-20 13:10")
	var of map[string]Options
	for i := range maxPlaces + 2 {
		of = map[string]Options{"aws": in("us-east-1", fmt.Sprint(i))}
		m := started(t, spool, clock, of)
		if got := len(m.Crowded()) > 0; got != (i >= maxPlaces) {
			t.Errorf("place %d: crowded %v", i, got)
		}
		send(m, spool, "aws", 1)
	}
	bill, err := newLedger(t, spool, of).Bill(Month(clock.Wall))
	if err != nil || len(bill.Totals) != maxPlaces+1 || bill.Totals[0].Units != 2 || bill.Totals[0].USD != "0.000002" {
		t.Errorf("%d totals, %+v, %v", len(bill.Totals), bill.Totals[0], err)
	}
	if all, err := readPlaces(spool); err != nil || len(all["aws"]) != maxPlaces {
		t.Errorf("%d places are written, %v", len(all["aws"]), err)
	}
	// Back at the first, what was beyond is where the upstream is, or was last.
	of = map[string]Options{"aws": in("us-east-1", "0")}
	send(started(t, spool, clock, of), spool, "aws", 1)
	asNow := in("us-east-1", "0")
	asNow.Past = PastAsNow
	for name, c := range map[string]struct {
		of     map[string]Options
		totals int
		units  int64 // of the first
		last   int64
	}{
		"back":   {of, maxPlaces, 4, 1},
		"as now": {map[string]Options{"aws": asNow}, 1, maxPlaces + 3, maxPlaces + 3},
		"gone":   {map[string]Options{}, maxPlaces, 2, 3},
	} {
		l := newLedger(t, spool, c.of)
		bill, err := l.Bill(Month(clock.Wall))
		if err != nil || len(bill.Totals) != c.totals || bill.Totals[0].Units != c.units {
			t.Errorf("%s: %d totals, %+v, %v", name, len(bill.Totals), bill.Totals[0], err)
			continue
		}
		sum, last := int64(0), int64(0)
		for _, x := range bill.Totals {
			if sum += x.Units; x.USD == "" {
				t.Errorf("%s: %+v", name, x)
			}
			if c.totals == 1 || strings.HasSuffix(x.Upstream, fmt.Sprintf("account %d)", maxPlaces-1)) {
				last = x.Units
			}
		}
		short, err := l.Totals(clock.Wall, func(string) Pace { return Pace{} })
		if sum != maxPlaces+3 || last != c.last || err != nil || short["aws"].UnitsMonth != sum {
			t.Errorf("%s: %d in all, %d at the last, in short %+v, %v", name, sum, last, short["aws"], err)
		}
	}
}
