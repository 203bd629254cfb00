package billing

import (
	"maps"
	"math/big"
	"strings"
	"testing"
	"time"

	"github.com/ebbgate/ebbgate/bridge"
)

// What a message is for batches is recorded with its size, by what it is and by what its route
// does when it is sent.
func TestKindsAreRecorded(t *testing.T) {
	batches := Does{Made: "json/0/0/0/10s/none/none", Type: BatchType("json")}
	sparkplug := batches
	sparkplug.Sparkplug = true
	for name, c := range map[string]struct {
		does   Does
		change func(*bridge.Stored)
		kind   Kind
	}{
		"a reading":                     {batches, func(*bridge.Stored) {}, Single},
		"a request":                     {batches, func(s *bridge.Stored) { s.ResponseTopic, s.ContentType = "answer", "application/json" }, Alone},
		"another":                       {batches, func(s *bridge.Stored) { s.CorrelationData = []byte("1") }, Alone},
		"a pointer to a file":           {batches, func(s *bridge.Stored) { s.ContentType = bridge.TypeFile }, Alone},
		"a part":                        {batches, func(s *bridge.Stored) { s.ContentType = typePart }, Alone},
		"a batch":                       {batches, func(s *bridge.Stored) { s.ContentType = "application/json" }, Batched},
		"JSON of a route without":       {Does{}, func(s *bridge.Stored) { s.ContentType = "application/json" }, Single},
		"Sparkplug under another topic": {batches, func(s *bridge.Stored) { s.Topic, s.ContentType = "spBv1.0/g/DDATA/e", "application/json" }, Sparkplug},
		"a batch of Sparkplug":          {sparkplug, func(s *bridge.Stored) { s.Topic, s.ContentType = "spBv1.0/g/DDATA/e", "application/json" }, Batched},
		"a birth":                       {sparkplug, func(s *bridge.Stored) { s.Topic = "spBv1.0/g/NBIRTH/e" }, Alone},
		"a state":                       {sparkplug, func(s *bridge.Stored) { s.Topic = "spBv1.0/STATE/host" }, Alone},
		"data that is to be batched":    {sparkplug, func(s *bridge.Stored) { s.Topic = "spBv1.0/g/DDATA/e" }, Single},
		"no topic of Sparkplug's":       {batches, func(s *bridge.Stored) { s.Topic = "spBv1.0x/g" }, Single},
	} {
		spool, clock := newMemory(), &wallClock{}
		clock.set("2026-11-20 13:00")
		m := newMeter(t, spool, frankfurt(), clock)
		m.Routes(map[string]Does{"telemetry": c.does})
		s := to("dt/a", 240)
		c.change(s)
		s.Receiver.Topic = "plant/a"
		var b bridge.Batch
		m.Delivered(&b, "aws", s, bridge.Outcome{})
		m.Delivered(&b, "aws", s, bridge.Outcome{HTTP: true})
		spool.Commit(&b, nil)
		m.writeSizes(nil)
		from, to := Today(clock.Wall)
		all, err := newLedger(t, spool, map[string]Options{"aws": frankfurt()}).Traffic("aws", from, to)
		if err != nil || len(all) != 2 {
			t.Fatalf("%s: %+v, %v", name, all, err)
		}
		for _, got := range all {
			want := ""
			if c.kind == Batched {
				want = c.does.Made
			}
			if got.Kind != c.kind || got.Made != want || got.Topic != "plant/a" || got.Route != "telemetry" || got.share != 0.5 {
				t.Errorf("%s: %+v", name, got)
			}
		}
		if all[0].HTTP || !all[1].HTTP {
			t.Errorf("%s: what went over HTTP is not told apart", name)
		}
	}
}

// What versions before have recorded is read, beside what is recorded now, and of it no batches
// are promised: nobody knows what of it are requests, or batches.
func TestSizesOfBeforeAreRead(t *testing.T) {
	spool, clock := newMemory(), &wallClock{}
	clock.set("2026-11-20 13:00")
	m := newMeter(t, spool, frankfurt(), clock)
	var b bridge.Batch
	for range 500 {
		m.Delivered(&b, "aws", to("dt/a", 240), bridge.Outcome{})
	}
	spool.Commit(&b, nil)
	m.writeSizes(nil)
	for key, value := range maps.Clone(spool.sizes) { // as it was written
		now, ok := strings.CutSuffix(key, sep+kindWords[Single])
		if !ok {
			t.Fatalf("%q", key)
		}
		delete(spool.sizes, key)
		spool.sizes[now] = value
		spool.sizes[now+sep+overHTTP] = value
	}
	l := newLedger(t, spool, map[string]Options{"aws": frankfurt()})
	from, end := Today(clock.Wall)
	all, err := l.Traffic("aws", from, end)
	if err != nil || len(all) != 2 || all[0].Kind != Untold || all[1].Kind != Untold || all[0].HTTP || !all[1].HTTP || all[0].Sizes.Messages() != 500 {
		t.Fatalf("%+v, %v", all, err)
	}
	delete(spool.sizes, "20261120"+sep+"aws"+sep+"telemetry"+sep+"dt/a"+sep+overHTTP)
	f, err := l.Fleet("aws", from, end, clock.Wall.Add(time.Hour))
	if err != nil || f.Covered.Untold != 500 {
		t.Fatalf("%+v, %v", f, err)
	}
	advice, _, _ := f.Advise(new(big.Rat))
	for _, a := range advice {
		if strings.HasPrefix(a.Name, "batch") {
			t.Errorf("%s saves $%s", a.Name, a.PerYear)
		}
	}
	if maybe := f.Maybe(new(big.Rat)); len(maybe) != 1 || !strings.HasPrefix(maybe[0].Name, "batch up to") || !strings.Contains(maybe[0].Unknown, "an earlier version") {
		t.Errorf("%+v", maybe)
	}
	// The gateway goes on with the day, and what it records is advised of.
	m, b = newMeter(t, spool, frankfurt(), clock), bridge.Batch{}
	for range 500 {
		m.Delivered(&b, "aws", to("dt/a", 240), bridge.Outcome{})
	}
	spool.Commit(&b, nil)
	m.writeSizes(nil)
	if f, err = l.Fleet("aws", from, end, clock.Wall.Add(time.Hour)); err != nil || f.Covered.Recorded != 1000 || f.Covered.Untold != 500 {
		t.Fatalf("%+v, %v", f, err)
	}
	batched := Usage{}
	for _, m := range f.Measures() {
		if strings.HasPrefix(m.Name, "batch up to") && !strings.Contains(m.Name, "without") {
			batched = f.Counted(f.Plan([]Measure{m}))
		}
	}
	if all := f.Counted(f.Plan(nil)).Messages; batched.Messages < all/2 || batched.Messages > all*6/10 {
		t.Errorf("%d metered messages with batches, of %d", batched.Messages, all)
	}
}

// Keys of recorded sizes that nobody has written are none.
func TestKeysOfSizes(t *testing.T) {
	for _, p := range []pile{
		{upstream: "aws", route: "r", prefix: "dt/a"}, {upstream: "aws", route: "r", prefix: "dt/a", http: true, kind: Alone},
		{upstream: "aws", route: "r", prefix: "dt/a", kind: Sparkplug}, {upstream: "aws", prefix: "dt/a", http: true, kind: Batched, made: "json/0/0/0/10s/none/none"},
	} {
		if _, got, ok := parseSizesKey(p.key("20261120")); !ok || got != p {
			t.Errorf("%+v came back as %+v, %v", p, got, ok)
		}
	}
	day := strings.Join([]string{"20261120", "aws", "r", "dt/a"}, sep)
	for _, key := range []string{"20261120" + sep + "aws" + sep + "r", day + sep + "else", day + sep + "one" + sep + "else", day + sep + "one" + sep + overHTTP + sep + overHTTP, day + sep + overHTTP + sep + "one"} {
		if _, p, ok := parseSizesKey(key); ok {
			t.Errorf("%q is taken for %+v", key, p)
		}
	}
}

// Batches as the configuration makes them stay what they are, whatever they look like, also
// where some topics fill them and others wait for their age.
func TestBatchesAsTheyAreMadeStay(t *testing.T) {
	const made = "json/0/0/0/1m0s/none/none"
	tr := traffic("telemetry", "dt/line", 30*60*19, 9, false, 4_900, 300, 4_900, 4_900, 4_900, 350, 4_900)
	tr.Kind, tr.Made, tr.Hours = Batched, made, 30
	for _, topic := range []string{"a", "b", "c"} {
		tr.Sizes.Named("dt/line/" + topic)
	}
	for name, c := range map[string]struct {
		made  string
		stays bool
	}{"as they were made": {made, true}, "in another way": {"json/0/0/2/1m0s/none/none", false}} {
		f := oneRoute(tr)
		b := fullBatch(false)
		b.Limit = 2 * decimalUnit
		f.Routes = map[string]Does{"telemetry": {Batch: b, Made: c.made, Type: BatchType("json")}}
		now, _ := f.Cost(f.Plan(nil))
		if got, _ := f.Cost(f.Taken()); got.Rat().Cmp(now.Rat()) == 0 != c.stays {
			t.Errorf("%s: $%s a month, and it cost $%s", name, got, now)
		}
	}
}
