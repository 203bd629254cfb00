package billing

import (
	"fmt"
	"testing"
	"time"

	"github.com/ebbgate/ebbgate/bridge"
)

func TestCovers(t *testing.T) {
	for _, c := range []struct {
		filter, prefix string
		want           cover
	}{
		{"dt/#", "dt/a", coversAll},
		{"#", "dt/a", coversAll},
		{"dt/+", "dt/a", coversSome}, // dt/a, and not dt/a/b
		{"dt/+/temp", "dt/a", coversSome},
		{"dt/+/#", "dt/a", coversAll},
		{"dt/a/#", "dt/a", coversAll},
		{"dt/b/#", "dt/a", coversNone},
		{"dt", "dt", coversAll}, // fewer levels than the ledger keeps: the whole topic
		{"dt/x", "dt", coversNone},
		{"dt/#", "dt", coversAll},
		{"#", "$aws/rules/store/dt", coversNone},
		{"$aws/rules/store/#", "$aws/rules/store/dt/a", coversAll},
		{"dt/a", other, coversSome},
	} {
		if got := covers(c.filter, c.prefix, 2); got != c.want {
			t.Errorf("%s on %s: %d, want %d", c.filter, c.prefix, got, c.want)
		}
	}
	for filter, want := range map[string]bool{"dt/#": true, "+/a": true, "": false, "dt/#/a": false, "dt/a+": false, "a#": false} {
		if validFilter(filter) != want {
			t.Errorf("%q valid: %v", filter, !want)
		}
	}
}

// G10 as a bill: what is metered here, and what was declared.
func TestG10AsABill(t *testing.T) {
	const messages = 103_680_000
	o := frankfurt()
	o.Region = "us-east-1"
	o.DeclaredRules = []DeclaredRule{{Topic: "dt/#", Rules: 1, Actions: 1}}
	at := time.Date(2026, 11, 20, 0, 0, 0, 0, time.UTC)
	spool := newMemory()
	write(spool, "2026112013", "pump", messages)
	plain := spool.bill(t, o, at).Totals[0]
	if plain.USD != "103.680000" || plain.Estimated != "31.104000" || plain.EstimateStatus != Unverified {
		t.Errorf("plain: %s and %s (%s)", plain.USD, plain.Estimated, plain.EstimateStatus)
	}
	if plain.EstimatedRange != "31.104000 to 37.324800" { // rules elsewhere cost 0.18
		t.Errorf("range of what no source says: %s", plain.EstimatedRange)
	}
	basic := newMemory()
	s := series{upstream: "aws", direction: Up, device: "pump", prefix: "$aws/rules/store/dt/a"}
	basic.counters[s.key("2026112013")+string(kindBasic)] = messages
	o.DeclaredRules = nil
	if got := basic.bill(t, o, at).Totals[0]; got.USD != "0.000000" || got.Estimated != "31.104000" {
		t.Errorf("Basic Ingest: %s and %s", got.USD, got.Estimated)
	}
}

// G05 and G06 with declared subscribers.
func TestDeclaredSubscribers(t *testing.T) {
	at := time.Date(2026, 11, 20, 0, 0, 0, 0, time.UTC)
	o := frankfurt()
	for _, c := range []struct {
		rule DeclaredRule
		want int64
	}{
		{DeclaredRule{Topic: "dt/#", Subscribers: 2, QoS: "1"}, 4},
		{DeclaredRule{Topic: "dt/#", Subscribers: 2, QoS: "0"}, 2},
		{DeclaredRule{Topic: "cmd/#", Subscribers: 2, QoS: "0"}, 0},
	} {
		o.DeclaredRules = []DeclaredRule{c.rule}
		spool, clock := newMemory(), &wallClock{}
		clock.set("2026-11-20 13:00")
		m := newMeter(t, spool, o, clock)
		var b bridge.Batch
		m.Delivered(&b, "aws", to("dt/a", 1<<10), bridge.Outcome{})
		spool.Commit(&b, nil)
		if got := spool.bill(t, o, at).Totals[0].EstimatedUsage; got.Messages != c.want || got.Rules != 0 {
			t.Errorf("%+v: %+v, want %d messages", c.rule, got, c.want)
		}
	}
}

func TestWhatIsNotKnownIsARange(t *testing.T) {
	at := time.Date(2026, 11, 20, 0, 0, 0, 0, time.UTC)
	spool := newMemory()
	write(spool, "2026112013", "pump", 1_000_000)
	s := series{upstream: "aws", direction: Up, device: "pump", prefix: "dt/a"}
	spool.counters[s.key("2026112013")+string(kindOther)] = 500_000
	if got := spool.bill(t, frankfurt(), at).Totals[0]; got.USD != "1.200000" || got.USDRange != "1.200000 to 1.800000" || got.PriceStatus != Sourced {
		t.Errorf("5,120 or 5,000: %s (%s)", got.USD, got.USDRange)
	}
	singapore := frankfurt()
	singapore.Region = "ap-southeast-1"
	if got := spool.bill(t, singapore, at).Totals[0]; got.USDRange != "1.000000 to 1.800000" || got.PriceStatus != Unverified {
		t.Errorf("unverified: %s (%s, %s)", got.USD, got.USDRange, got.PriceStatus)
	}
}

// Another gateway of the account has used the free tier and all of the first
// tier: what ours adds costs the second tier's price (M28).
func TestOtherUsageOfTheAccount(t *testing.T) {
	at := time.Date(2026, 11, 20, 0, 0, 0, 0, time.UTC)
	spool := newMemory()
	write(spool, "2026112013", "pump", 1_000_000)
	o := frankfurt()
	o.FreeTier = true
	if got := spool.bill(t, o, at).Totals[0].USD; got != "0.600000" {
		t.Errorf("alone, half is free: $%s", got)
	}
	o.OtherUsage.Messages = 500_000
	if got := spool.bill(t, o, at).Totals[0].USD; got != "1.200000" {
		t.Errorf("the free tier is used up: $%s", got)
	}
	o.OtherUsage.Messages = 2_000_000_000
	if got := spool.bill(t, o, at).Totals[0].USD; got != "0.960000" {
		t.Errorf("in the second tier: $%s", got)
	}
	o.FreeTier = true
	if a, _ := (&PriceList{Free: Usage{Messages: 10}, Regions: map[string]Region{"us-gov-west-1": BuiltIn().Regions["us-east-1"]}}).Cost("us-gov-west-1", Usage{Messages: 1_000_000}, true); a.String() != "1.000000" {
		t.Errorf("GovCloud has a free tier: %s", a)
	}
}

func TestLinkPriceByWireBytes(t *testing.T) {
	spool := newMemory()
	s := series{upstream: "site", direction: Up, device: "pump", prefix: "dt/a"}
	spool.counters[s.key("2026112013")+string(kindWire)] = 12_500_000
	o := DefaultOptions()
	o.LinkPrice = "0.02"
	l := newLedger(t, spool, map[string]Options{"site": o})
	b, err := l.Bill(Today(time.Date(2026, 11, 20, 0, 0, 0, 0, time.UTC)))
	if err != nil || b.Totals[0].LinkUSD != "0.250000" || b.Totals[0].USD != "" {
		t.Errorf("%+v, %v", b.Totals, err)
	}
}

// What goes by Basic Ingest takes no answers of subscribers from what does not, however
// large it is and however lines are put together.
func TestAnswersBesideBasicIngest(t *testing.T) {
	for _, most := range []int{1, 100} { // with one, all is (other)
		spool, clock := newMemory(), &wallClock{}
		clock.set("2026-11-20 13:10")
		o := frankfurt()
		o.MaxDevices, o.MaxPrefixes = most, most
		o.DeclaredRules = []DeclaredRule{{Topic: "#", Subscribers: 1, QoS: "1"}}
		m := newMeter(t, spool, o, clock)
		for i := range 12 {
			topic, payload := "dt/a", 10
			if i%3 == 0 {
				topic, payload = "$aws/rules/store/dt/a", 11_000 // three units
			}
			var b bridge.Batch
			m.Delivered(&b, "aws", stored(fmt.Sprint("pump-", i%5), topic, payload), bridge.Outcome{Wire: 100})
			spool.Commit(&b, nil)
		}
		l := newLedger(t, spool, map[string]Options{"aws": o})
		from, to := Month(clock.Wall)
		for name, read := range map[string]func(time.Time, time.Time, time.Duration) (*Bill, error){"by device": l.Detail, "together": l.Course} {
			for _, step := range []time.Duration{0, time.Hour} {
				b, err := read(from, to, step)
				if err != nil || b.Totals[0].Units != 8 || b.Totals[0].Basic != 12 || b.Totals[0].EstimatedUsage.Messages != 8+8 {
					t.Errorf("%s, %v, %d names: %+v, %v", name, step, most, b.Totals, err)
				}
			}
		}
	}
}
