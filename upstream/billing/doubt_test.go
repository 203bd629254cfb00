package billing

import (
	"errors"
	"maps"
	"math/big"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ebbgate/ebbgate/bridge"
)

// doubted is a meter whose clock a test sets, as somebody sets that of a machine.
type doubted struct {
	*Meter
	t     *testing.T
	clock *wallClock
	spool *memory
	each  int64 // metered messages of a delivery
}

func newDoubted(t *testing.T, wall string, synced bool) *doubted {
	t.Helper()
	d := &doubted{t: t, clock: new(wallClock), spool: newMemory()}
	d.turn(wall, synced)
	var err error
	if d.Meter, err = NewMeter(d.spool, map[string]Options{"aws": in("us-east-1", "")}, d.clock.now); err != nil {
		t.Fatal(err)
	}
	return d
}

func (d *doubted) turn(wall string, synced bool) {
	d.clock.set(wall)
	d.clock.Synced = synced
}

// pass lets time go by.
func (d *doubted) pass(by time.Duration) {
	d.clock.Wall, d.clock.Mono = d.clock.Wall.Add(by), d.clock.Mono+by
}

// deliver sends n messages to the cloud.
func (d *doubted) deliver(n int) {
	for range n {
		var b bridge.Batch
		d.Delivered(&b, "aws", stored("pump", "dt/pump", 10), bridge.Outcome{Wire: 20})
		d.spool.Commit(&b, nil)
	}
}

// hours are the metered messages by hour of the ledger, without those that have none.
func (d *doubted) hours() map[string]int64 {
	out := map[string]int64{}
	for key, n := range d.spool.counters {
		if hour, _, kind, ok := parseKey(key); ok && kind == kindUnits && n != 0 {
			out[hour] += n
		}
	}
	return out
}

func (d *doubted) want(what string, want map[string]int64) {
	d.t.Helper()
	d.correct(d.t.Context())
	if got := d.hours(); !maps.Equal(got, want) {
		d.t.Errorf("%s: %v, want %v", what, got, want)
	}
}

// A clock that stood years ahead has its hours in the month that it was, once it is
// put right: by a time server or by hand. Nothing is in both, or in neither.
func TestHoursOfAClockThatStoodAhead(t *testing.T) {
	for _, synced := range []bool{true, false} {
		d := newDoubted(t, "2026-11-20 10:50", true)
		d.deliver(2)
		d.turn("2031-01-05 03:50", false)
		d.deliver(3)
		d.pass(20 * time.Minute)
		d.deliver(4) // and an hour later
		d.want("ahead", map[string]int64{"2026112010": 2, "~2031010503": 3, "~2031010504": 4})
		d.turn("2026-11-20 11:11", synced)
		d.want("put right", map[string]int64{"2026112010": 2, "~2026112010": 3, "~2026112011": 4})
		var late bridge.Batch // of before, committed only now
		late.Add(Namespace, series{upstream: "aws", direction: Up, device: "pump", prefix: "dt"}.key("~2031010503")+string(kindUnits), 5)
		d.spool.Commit(&late, nil)
		d.pass(correctEvery)
		d.want("what came late", map[string]int64{"2026112010": 2, "~2026112010": 8, "~2026112011": 4})
		for range doubtLasts/correctEvery - 2 {
			d.pass(correctEvery)
			d.correct(t.Context())
		}
		late.Adds[0].Delta = 6
		d.spool.Commit(&late, nil)
		d.want("what came last", map[string]int64{"2026112010": 2, "~2026112010": 14, "~2026112011": 4})
		d.deliver(1)
		hour := "2026112011"
		if !synced {
			hour = "~2026112011"
		}
		want := map[string]int64{"2026112010": 2, "~2026112010": 14, "~2026112011": 4}
		want[hour]++
		for range 100 {
			d.pass(correctEvery)
			d.want("later", want)
		}
		if synced && len(d.doubts) > 0 {
			t.Errorf("doubts stay: %+v", d.doubts)
		}
	}
}

// Hours are moved only when something tells that they are wrong.
func TestHoursThatStay(t *testing.T) {
	for _, c := range []struct {
		name         string
		from, to     string
		was, is      bool // synchronised
		hour, wanted string
	}{
		{"a clock that was vouched for", "2026-12-20 10:50", "2026-11-20 10:50", true, true, "2026122010", "2026122010"},
		{"somebody puts a clock ahead that nobody vouches for", "2026-11-20 10:50", "2031-11-20 10:50", false, false, "~2026112010", "~2026112010"},
		{"a time server puts it ahead", "2026-01-20 10:50", "2026-11-20 10:50", false, true, "~2026012010", "~2026112010"},
		{"a time server finds it a minute off", "2026-11-20 10:59", "2026-11-20 11:00", false, true, "~2026112010", "~2026112010"},
		{"hours of no day", "1970-01-01 00:10", "2026-11-20 11:00", false, true, hourUnknown, hourUnknown},
		{"put back to no day", "2026-11-20 11:00", "1970-01-01 00:10", false, false, "~2026112011", "~2026112011"},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := newDoubted(t, c.from, c.was)
			d.deliver(1)
			d.want("before", map[string]int64{c.hour: 1})
			d.turn(c.to, c.is)
			d.want("after", map[string]int64{c.wanted: 1})
		})
	}
}

// Who sets a clock that runs fast every hour, and tells the kernel nothing, has moved no
// hour, though in six weeks it comes to a quarter of one.
func TestHoursOfAClockThatDrifts(t *testing.T) {
	d := newDoubted(t, "2026-11-01 00:00", false)
	want := map[string]int64{}
	for range maxDoubts {
		d.deliver(1)
		want[d.clock.Wall.Format("~2006010215")]++
		d.pass(time.Hour)
		d.clock.Mono += time.Second // it was set back by one
		d.correct(t.Context())
	}
	d.want("six weeks later", want)
	d.clock.Synced = true
	d.want("synchronised", want)
}

// A clock that is put back wrongly, by hand, and then set by a time server: what was
// moved is moved once more.
func TestHoursThatArePutRightTwice(t *testing.T) {
	for _, between := range []int{0, 2} { // what is sent until then does not matter
		d := newDoubted(t, "2026-11-20 10:50", false)
		d.deliver(3)
		d.turn("2026-03-20 10:50", false)
		d.deliver(between)
		d.want("put back", map[string]int64{"~2026032010": int64(3 + between)})
		d.turn("2026-11-20 10:51", true)
		d.want("set", map[string]int64{"~2026112010": int64(3 + between)})
	}
}

// Hours that may be wrong are remembered up to a bound: older ones stay as they were told.
func TestTheOldestDoubtsAreForgotten(t *testing.T) {
	const more = 3
	d := newDoubted(t, "2031-01-05 00:00", false)
	for range maxDoubts + more {
		d.deliver(1)
		d.pass(time.Hour)
	}
	first, last := d.clock.Wall.Add(-maxDoubts*time.Hour), d.clock.Wall.Add(-time.Hour)
	if n := len(d.doubts); n != maxDoubts || d.doubts[0].hour != hourOf(first, false) || d.doubts[n-1].hour != hourOf(last, false) {
		t.Errorf("%d are remembered, want the last %d", n, maxDoubts)
	}
}

// A disk that takes nothing leaves the hours as they are, and they are moved later.
func TestHoursAreMovedWhenTheDiskTakesIt(t *testing.T) {
	d := newDoubted(t, "2031-01-05 03:50", false)
	d.deliver(300)
	d.turn("2026-11-20 10:50", true)
	d.spool.fails = errors.New("full")
	d.want("full", map[string]int64{"~2031010503": 300})
	d.spool.fails = nil
	d.want("not full", map[string]int64{"~2026112010": 300})
}

// Many series are moved whole, and each of their counters.
func TestAllCountersOfAnHourMove(t *testing.T) {
	d := newDoubted(t, "2031-01-05 03:50", false)
	for i := range 700 {
		var b bridge.Batch
		d.Delivered(&b, "aws", stored("pump"+strings.Repeat("x", i%100), "dt/"+strings.Repeat("y", i/100), 6000), bridge.Outcome{Wire: 20})
		d.spool.Commit(&b, nil)
	}
	before := map[string]int64{}
	for key, n := range d.spool.counters {
		before[strings.Replace(key, "~2031010503", "~2026112010", 1)] = n
	}
	d.turn("2026-11-20 10:50", true)
	d.correct(t.Context())
	got := map[string]int64{}
	for key, n := range d.spool.counters {
		if n != 0 && key != keyMoves {
			got[key] = n
		}
	}
	if !maps.Equal(got, before) || len(got) < 700 {
		t.Errorf("%d counters, want %d: %v", len(got), len(before), slices.Sorted(maps.Keys(got))[:3])
	}
	if most := 2*foldBatch + 1; d.spool.largest > most {
		t.Errorf("%d changes in a commit, want %d at most", d.spool.largest, most)
	}
}

// A CONNECT that is answered after the clock was put right is uncertain in neither hour.
func TestWhatIsTakenBackMoves(t *testing.T) {
	d := newDoubted(t, "2031-01-05 03:50", false)
	d.Connecting("aws", "plant7", Connection{})
	d.turn("2026-11-20 10:50", true)
	d.correct(t.Context())
	d.Opened("aws", "plant7", Connection{})
	d.correct(t.Context())
	uncertain := map[string]int64{}
	for key, n := range d.spool.counters {
		if hour, _, kind, ok := parseKey(key); ok && kind == kindUncertain {
			uncertain[hour] += n
		}
	}
	if want := map[string]int64{"~2031010503": 0, "~2026112010": 0}; !maps.Equal(uncertain, want) {
		t.Errorf("%v, want %v", uncertain, want)
	}
}

// Sums that a status page keeps are made anew when hours move, and the bill of the
// right month has them.
func TestTotalsAfterHoursAreMoved(t *testing.T) {
	d := newDoubted(t, "2031-01-05 03:50", false)
	o := DefaultOptions()
	o.Region = "us-east-1"
	l := newLedger(t, d.spool, map[string]Options{"aws": o})
	total := func() (int64, *big.Rat) {
		t.Helper()
		all, err := l.Totals(d.clock.Wall, d.Pace)
		if err != nil {
			t.Fatal(err)
		}
		return all["aws"].UnitsMonth, all["aws"].USDMonth
	}
	d.deliver(7)
	d.pass(3 * time.Hour)
	d.turn("2026-11-20 10:50", true)
	if n, _ := total(); n != 0 {
		t.Errorf("%d before they are moved", n)
	}
	d.correct(t.Context())
	if n, usd := total(); n != 7 || usd.Sign() <= 0 {
		t.Errorf("%d metered messages for %v, want 7", n, usd)
	}
	if b := d.spool.bill(t, o, d.clock.Wall); len(b.Totals) != 1 || b.Totals[0].Units != 7 || b.Totals[0].Unsynchronised != 7 {
		t.Errorf("%+v", b.Totals)
	}
	d.clock.set("2031-01-05 03:50")
	if n, _ := total(); n != 0 {
		t.Errorf("%d are in 2031 as well", n)
	}
}
