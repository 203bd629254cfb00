package billing

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/ebbgate/ebbgate/bridge"
)

// Whoever sets the other reading of "5 KB", as reconcile advises, has the whole month
// by it: what was metered before is what it would have been, to the message, however
// often it was changed, also after a move to other hours and after summing up.
func TestTheUnitMayBeChanged(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 1))
	spool, clock := newMemory(), &wallClock{}
	clock.set("2026-11-20 13:00")
	by := map[int64]int64{DefaultUnit: 0, decimalUnit: 0}
	count := func(of func(unit int64) int64) {
		for unit := range by {
			by[unit] += of(unit)
		}
	}
	o := frankfurt()
	for range 40 { // starts
		o.Unit = []bridge.Size{DefaultUnit, decimalUnit}[random.IntN(2)]
		if random.IntN(3) == 0 {
			clock.Wall = clock.Wall.Add(time.Hour)
		}
		m := newMeter(t, spool, o, clock)
		size := func() int { return random.IntN(4)*5000 + random.IntN(200) }
		for range 20 {
			var b bridge.Batch
			switch s := to("dt/a", size()); random.IntN(5) {
			case 0:
				s.Receiver.Retain = true
				m.Delivered(&b, "aws", s, bridge.Outcome{})
				count(func(unit int64) int64 { return Publish(bridge.Outgoing(s), unit) })
			case 1:
				out := bridge.Outcome{HTTP: true, Body: size()}
				m.Delivered(&b, "aws", s, out)
				count(func(unit int64) int64 {
					return HTTPRequest(bridge.Outgoing(s), unit) + HTTPResponse(out.Body, unit)
				})
			case 2:
				out := bridge.Outcome{Result: bridge.ResultRetry, HTTP: true, Wire: 1, Body: size()}
				m.Refused(&b, "aws", s, out)
				count(func(unit int64) int64 { return HTTPResponse(out.Body, unit) })
			case 3:
				m.Received(&b, "aws", &s.Message, 0)
				count(func(unit int64) int64 { return Deliver(&s.Message, unit) })
			case 4:
				filters, packet := []string{string(make([]byte, size()))}, Connection{Properties: size()}
				c := m.Opened("aws", "gw", packet)
				c.Subscribing(filters, nil)()
				c.Closed()
				count(func(unit int64) int64 { return Connect(packet, unit) + Subscribe(filters, nil, unit) })
			}
			spool.Commit(&b, nil)
		}
	}
	check := func(when string) {
		t.Helper()
		for unit, want := range by {
			o.Unit = bridge.Size(unit)
			l := newLedger(t, spool, map[string]Options{"aws": o})
			b, err := l.Bill(Month(clock.Wall))
			if err != nil {
				t.Fatal(err)
			}
			got := b.Totals[0]
			other := by[otherReading(unit)] - want
			if got.Units != want || got.Other != other || got.Unit != unit {
				t.Errorf("%s, by %d bytes: %d, and %+d by the other; want %d and %+d", when, unit, got.Units, got.Other, want, other)
			}
			short, err := l.Totals(clock.Wall, func(string) Pace { return Pace{} })
			if err != nil || short["aws"].UnitsMonth != want {
				t.Errorf("%s, by %d bytes: %d in short, want %d (%v)", when, unit, short["aws"].UnitsMonth, want, err)
			}
		}
	}
	if by[decimalUnit]-by[DefaultUnit] < 50 {
		t.Fatalf("%v: the readings hardly differ", by)
	}
	check("at once")
	m := newMeter(t, spool, o, clock)
	if err := m.move(t.Context(), "2026112013", "2026112012"); err != nil {
		t.Fatal(err)
	}
	check("moved to another hour")
	if err := foldOnce(t.Context(), spool, clock.Wall.AddDate(3, 0, 0)); err != nil {
		t.Fatal(err)
	}
	check("summed up")
}
