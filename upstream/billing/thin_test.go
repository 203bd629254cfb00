package billing

import (
	"testing"
	"time"

	"github.com/ebbgate/ebbgate/bridge"
	"github.com/ebbgate/ebbgate/upstream/billing/sizes"
)

// times is a histogram of so many messages of one size.
func times(n int64, payload, topic, rest int) (out sizes.Histogram) {
	var power sizes.Histogram
	power.Add(payload, topic, rest, false)
	for ; n > 0; n >>= 1 {
		if n&1 == 1 {
			out.Merge(power)
		}
		var twice sizes.Histogram
		twice.Merge(power)
		twice.Merge(power)
		power = twice
	}
	return out
}

// sensors is a day of devices with so many messages an hour, of 240 B under a topic
// of 32.
func sensors(devices int, anHour int64) Traffic {
	t := Traffic{Route: "telemetry", Topic: "dt/line", Days: 1, Hours: 24}
	for d := range devices {
		for h := range 24 {
			t.stretches = append(t.stretches, stretch{device: string(rune('A' + d)), start: time.Date(2026, 11, 20, h, 0, 0, 0, time.UTC), messages: anHour})
		}
	}
	t.Sizes = times(int64(devices)*24*anHour, 240, 32, 0)
	return t
}

// The fleet of G08, a day of it, through steps that leave messages out.
func TestWhatSamplesAndWindowsLeave(t *testing.T) {
	g08 := sensors(40, 3600)
	for _, c := range []struct {
		id    string
		t     Traffic
		thin  Thinning
		batch Batch
		want  int64 // metered messages of the day
	}{
		{"G08 as it is", g08, Thinning{}, Batch{}, 3_456_000},
		{"one in 10", g08, Thinning{OneIn: 10}, Batch{}, 345_600},
		{"one in 7: a part is a whole message", g08, Thinning{OneIn: 7}, Batch{}, 493_715},
		{"one in 5 of what was one in 10", g08, Thinning{OneIn: 5, WasIn: 10}, Batch{}, 6_912_000},
		{"no sample of what was one in 10", g08, Thinning{WasIn: 10}, Batch{}, 34_560_000},
		{"one a minute", g08, Thinning{Every: time.Minute}, Batch{}, 57_600},
		{"windows of a minute", g08, Thinning{Window: time.Minute, WindowSize: 200}, Batch{}, 57_600},
		{"windows of a second, as long as its messages take", g08, Thinning{Window: time.Second, WindowSize: 200}, Batch{}, 3_456_000},
		{"windows of six hours", g08, Thinning{Window: 6 * time.Hour, WindowSize: 200}, Batch{}, 160},
		{"windows of a day", g08, Thinning{Window: 24 * time.Hour, WindowSize: 200}, Batch{}, 40},
		{"windows that take two metered messages", g08, Thinning{Window: time.Minute, WindowSize: 5200}, Batch{}, 115_200},
		{"one in 10, then windows of a minute", g08, Thinning{OneIn: 10, Window: time.Minute, WindowSize: 200}, Batch{}, 57_600},
		{"one in 100, then windows of a minute", g08, Thinning{OneIn: 100, Window: time.Minute, WindowSize: 200}, Batch{}, 34_560},
		{"few messages: windows of one each", sensors(40, 10), Thinning{Window: time.Minute, WindowSize: 200}, Batch{}, 9_600},
		// 200 B and a content type of 16 B: floor((5,120 − 48)/200) = 25 windows
		{"windows of a minute in batches", g08, Thinning{Window: time.Minute, WindowSize: 200}, Batch{Limit: 5120}, 2_304},
		// two in three seconds: seven are there when the first is ten seconds old
		{"and no older than ten seconds", g08, Thinning{Window: time.Minute, WindowSize: 200}, Batch{Limit: 5120, Age: 10 * time.Second}, 8_229},
		{"one in 10 in batches of G09", g08, Thinning{OneIn: 10}, Batch{Limit: 5120}, 16_458},
		// 829 GB times 346 M messages is more than 64 bits hold
		{"of a thousand such fleets", sensors(40, 3_600_000), Thinning{OneIn: 10}, Batch{Limit: 5120}, 16_457_143},
	} {
		t.Run(c.id, func(t *testing.T) {
			u := c.t.Usage(Treatment{Thin: c.thin, Batch: c.batch}, DefaultUnit, []DeclaredRule{{Topic: "#", Rules: 1, QoS: "0"}})
			if u.Messages != c.want || u.Rules != c.want {
				t.Errorf("%d metered messages and %d rules, want %d of each", u.Messages, u.Rules, c.want)
			}
		})
	}
}

// G08's month, sampled and summed up by the minute, in dollars.
func TestWhatThinnedTrafficCosts(t *testing.T) {
	g08 := sensors(40, 3600)
	for want, how := range map[string]Treatment{
		"103.680000": {}, "10.368000": {Thin: Thinning{OneIn: 10}}, "1.728000": {Thin: Thinning{Window: time.Minute, WindowSize: 200}},
	} {
		u := g08.Usage(how, DefaultUnit, nil)
		if got := cost(t, "us-east-1", Usage{Messages: 30 * u.Messages}); got != want {
			t.Errorf("%+v: $%s, want $%s", how.Thin, got, want)
		}
	}
}

// What is left of retained messages of many sizes has its copies, though there are fewer of
// each size than one in so many.
func TestASampleLeavesRetainedCopies(t *testing.T) {
	var all sizes.Histogram
	for i := range 340 {
		all.Add(100+20*(i%68), 20, 9, true)
		all.Add(100+20*(i%68), 20, 9, false)
	}
	tr := sensors(1, 10)
	tr.Sizes = all
	for oneIn, want := range map[int]int64{1: 1_020, 2: 510, 10: 102, 100: 11} {
		if got := tr.Usage(Treatment{Thin: Thinning{OneIn: oneIn}}, DefaultUnit, nil).Messages; got != want {
			t.Errorf("one in %d: %d metered messages and copies, want %d", oneIn, got, want)
		}
	}
}

// What the ledger tells of the hours is what is thinned out, and topics that it
// knows only as (other) are counted as they were sent.
func TestThinningGoesByTheLedger(t *testing.T) {
	spool, clock := newMemory(), &wallClock{}
	clock.set("2026-11-20 08:10")
	options := map[string]Options{"aws": withRegion(DefaultOptions(), "us-east-1")}
	m, err := NewMeter(spool, options, clock.now)
	if err != nil {
		t.Fatal(err)
	}
	link := m.Opened("aws", "gw", Connection{})
	for _, at := range []string{"2026-11-20 08:20", "2026-11-20 09:20"} {
		clock.set(at)
		for _, device := range []string{"a", "b"} {
			for range 120 {
				var b bridge.Batch
				m.Delivered(&b, "aws", stored(device, "dt/line", 240), bridge.Outcome{Wire: 300})
				spool.Commit(&b, nil)
			}
		}
	}
	clock.Mono += 2 * time.Hour
	link.Closed()
	m.writeSizes(nil)
	now := clock.Wall.Add(time.Hour)
	f, err := newLedger(t, spool, options).Fleet("aws", now.Add(-12*time.Hour), now, now)
	if err != nil {
		t.Fatal(err)
	}
	was, units := f.Counted(f.Plan(nil)), func(thin Thinning) int64 {
		p := f.Plan(nil)
		p.Treatments[0].Thin = thin
		return f.Counted(p).Messages
	}
	if was.Messages != 481 || was.Minutes != 121 || f.Links != (Usage{Messages: 1, Minutes: 121}) {
		t.Fatalf("%+v, of it %+v for connections", was, f.Links)
	}
	if got := units(Thinning{Every: time.Minute}); got != 241 {
		t.Errorf("one a minute: %d, want 2 hours of 2 devices and a CONNECT", got)
	}
	if got := units(Thinning{Window: 24 * time.Hour, WindowSize: 100}); got != 3 {
		t.Errorf("one a day: %d, want 2 and a CONNECT", got)
	}
	f.Traffic[0].stretches = nil
	if got := units(Thinning{OneIn: 2}); got != 481 {
		t.Errorf("of topics that the ledger does not tell: %d", got)
	}
}

func withRegion(o Options, region string) Options {
	o.Region = region
	return o
}

// HTTPS has neither CONNECTs nor minutes, but an answer to each request (M18).
func TestHTTPSHasNoConnections(t *testing.T) {
	g08 := sensors(1, 60)
	f := &Fleet{
		Upstream: "aws", Traffic: []Traffic{g08}, Rules: [][]DeclaredRule{nil}, Span: 24 * time.Hour, Region: "us-east-1", Prices: BuiltIn(),
		Options: withRegion(DefaultOptions(), "us-east-1"), Fixed: Usage{Messages: 5, Minutes: 1440, Shadow: 7}, Links: Usage{Messages: 5, Minutes: 1440},
	}
	if got, want := f.Counted(f.Plan(nil)), (Usage{Messages: 1445, Minutes: 1440, Shadow: 7}); got != want {
		t.Errorf("as it is: %+v, want %+v", got, want)
	}
	p := f.Plan(nil)
	p.Treatments[0].Protocol, p.Connections = ProtocolHTTPS, -1
	if got, want := f.Counted(p), (Usage{Messages: 2880, Shadow: 7}); got != want {
		t.Errorf("over HTTPS: %+v, want %+v", got, want)
	}
	f.Fixed, f.Links = Usage{Shadow: 7}, Usage{}
	p.Treatments[0].Protocol, p.Connections = ProtocolMQTT5, 3
	if got, want := f.Counted(p), (Usage{Messages: 1443, Minutes: 3 * 1440, Shadow: 7}); got != want {
		t.Errorf("from HTTPS to three connections: %+v, want %+v", got, want)
	}
}
